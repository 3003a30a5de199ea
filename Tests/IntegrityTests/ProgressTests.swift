import Integrity
import TensorCore
import Testing

@Suite("Progress and cost of work")
struct ProgressTests {
    @Test func `a meter goes through its phases, and its first end counts`() {
        let meter = ProgressMeter()
        #expect(meter.snapshot.phase == .opening && meter.snapshot.secondsLeft == nil)
        meter.expect(10)
        #expect(meter.snapshot.phase == .running && meter.snapshot.fraction == 0)
        meter.advance(4)
        #expect(meter.snapshot.fraction == 0.4)
        meter.advance(6)
        #expect(meter.snapshot.phase == .finishing)
        #expect(meter.finish(isComplete: true) && !meter.finish(isComplete: false))
        let end = meter.snapshot
        #expect(end.phase == .done && end.secondsLeft == 0 && end.doneByteCount == 10)
        #expect(meter.snapshot == end)
    }

    @Test func `a meter that ends early has failed and knows no time left`() {
        let meter = ProgressMeter()
        meter.expect(10)
        meter.finish(isComplete: false)
        #expect(meter.snapshot.phase == .failed && meter.snapshot.secondsLeft == nil)
    }

    @Test func `the rate leaves out the time before the total is known`() async throws {
        let meter = ProgressMeter()
        try await Task.sleep(for: .milliseconds(400))
        meter.expect(2_000_000)
        for _ in 0..<10 {
            try await Task.sleep(for: .milliseconds(30))
            meter.advance(100_000)
        }
        let snapshot = meter.snapshot
        let mean = Double(snapshot.doneByteCount) / snapshot.elapsedSeconds
        #expect(snapshot.bytesPerSecond > 1.2 * mean)
        let left = try #require(snapshot.secondsLeft)
        #expect(abs(left - 1_000_000 / snapshot.bytesPerSecond) < 0.01 * left)
    }

    @Test func `counters add up from many threads`() {
        let counters = WorkCounters()
        Workers.run(count: 8) { _ in
            for _ in 0..<1000 {
                counters.didRead(1)
                counters.didWrite(2)
                counters.didHash(3)
                counters.didFinishItem()
            }
        }
        #expect(counters.readByteCount == 8000 && counters.writtenByteCount == 16000)
        #expect(counters.hashedByteCount == 24000 && counters.doneItemCount == 8000)
    }

    @Test func `a summary measures time and the most memory`() {
        let start = RunSummary.Start()
        var memory = [UInt8](repeating: 1, count: 200 << 20)
        for index in stride(from: 0, to: memory.count, by: 4096) { memory[index] &+= memory[index / 2] }
        let count = UInt64(memory.count)
        memory = []
        let summary = RunSummary(since: start, counters: WorkCounters())
        #expect(summary.peakMemoryByteCount >= count)
        #expect(summary.wallSeconds > 0 && summary.cpuSeconds > 0)
    }
}
