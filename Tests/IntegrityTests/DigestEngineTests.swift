import Foundation
import Synchronization
import TensorCore
import TestSupport
import Testing

@testable import Integrity

/// A source of bytes by a rule that is slow, wrong or short on request.
private struct RuleSource: ByteSource {
    var name = "rule"
    var byteCount: UInt64
    var failsAt: UInt64 = .max

    static func byte(_ offset: UInt64) -> UInt8 { UInt8(truncatingIfNeeded: offset &* 31 ^ offset >> 8) }

    func read(at offset: UInt64, into buffer: inout MutableRawSpan) throws(IOError) {
        if offset + UInt64(buffer.byteCount) > failsAt {
            throw IOError(.unexpectedEnd, path: name, operation: "read", offset: max(offset, failsAt))
        }
        buffer.withUnsafeMutableBytes { bytes in
            for index in 0..<bytes.count { bytes[index] = Self.byte(offset + UInt64(index)) }
        }
    }
}

@Suite("The digest engine")
struct DigestEngineTests {
    @Test(arguments: [1, 2, 5])
    func `lanes are digested, cut into segments and written, whatever the number of threads`(jobs: Int) throws
    {
        let directory = try TemporaryDirectory()
        var generator = SeededGenerator(seed: UInt64(jobs))
        var lanes: [DigestLane] = []
        let sizes: [UInt64] = [0, 1, 63, 5 << 20, (9 << 20) + 17, 100_000]
        for (number, size) in sizes.enumerated() {
            var cuts = (0..<20).map { _ in UInt64.random(in: 0...size, using: &generator) }.sorted()
            if number == 3 { cuts = [0, 0, size] }
            var segments: [DigestLane.Segment] = []
            for (low, high) in zip(cuts, cuts.dropFirst()) where Bool.random(using: &generator) || number == 3
            {
                segments.append(.init(low..<high, DigestLane.Algorithms(rawValue: UInt8(segments.count % 4))))
            }
            let sink = try OutputFile(creating: directory.file("\(number)"))
            lanes.append(DigestLane(source: RuleSource(byteCount: size), segments: segments, sink: sink))
        }
        let done = Mutex(0)
        let engine = DigestEngine(
            jobs: jobs, stopsAtFirstError: true, progress: { count in done.withLock { $0 += count } })
        let outcomes = engine.run(lanes)
        #expect(done.withLock { UInt64($0) } == sizes.reduce(0, +))
        for (number, outcome) in outcomes.enumerated() {
            let written = try bytes(of: directory.file("\(number)"))
            #expect(outcome.error == nil)
            #expect(written.count == Int(sizes[number]))
            #expect(try RuleSource(byteCount: sizes[number]).bytes(at: 0, count: written.count) == written)
            #expect(outcome.sha256 == SHA256Digest.of(written.raw))
            #expect(outcome.segments.count == lanes[number].segments.count)
            for (segment, digest) in zip(lanes[number].segments, outcome.segments) {
                let part = written.raw.extracting(
                    Int(segment.range.lowerBound)..<Int(segment.range.upperBound))
                let wanted = segment.algorithms
                #expect(digest.sha256 == (wanted.contains(.sha256) ? SHA256Digest.of(part) : nil))
                #expect(digest.crc32 == (wanted.contains(.crc32) ? CRC32.update(0, with: part) : nil))
            }
        }
    }

    @Test func `pieces cover a lane once and do not cut a segment but at whole pieces from its start`() {
        var generator = SeededGenerator(seed: 9)
        let piece: UInt64 = 1 << 20
        for _ in 0..<50 {
            let size = UInt64.random(in: 0...10 << 20, using: &generator)
            let cuts = (0..<12).map { _ in UInt64.random(in: 0...size, using: &generator) }.sorted()
            let segments = zip(cuts, cuts.dropFirst()).map { DigestLane.Segment($0..<$1, .sha256) }
            let lane = DigestLane(source: RuleSource(byteCount: size), segments: segments)
            let pieces = Array(PieceCursor(lane, pieceByteCount: Int(piece)))
            #expect(pieces.reduce(0) { $0 + $1.upperBound - $1.lowerBound } == size)
            #expect(zip(pieces, pieces.dropFirst()).allSatisfy { $0.upperBound == $1.lowerBound })
            #expect(pieces.allSatisfy { !$0.isEmpty && $0.upperBound - $0.lowerBound <= piece })
            for cut in pieces.map(\.lowerBound) {
                for segment in segments where segment.range.contains(cut) {
                    #expect((cut - segment.range.lowerBound) % piece == 0)
                }
            }
        }
    }

    @Test(arguments: [1, 2, 4])
    func `a lane that cannot be read fails alone where the run goes on`(jobs: Int) {
        let good = DigestLane(source: RuleSource(byteCount: 9 << 20))
        let bad = DigestLane(source: RuleSource(byteCount: 9 << 20, failsAt: 6 << 20))
        let outcomes = DigestEngine(jobs: jobs, stopsAtFirstError: false).run([bad, good, bad])
        #expect(outcomes.map { $0.error?.offset } == [6 << 20, nil, 6 << 20])
        #expect(outcomes.map { $0.sha256 != nil } == [false, true, false])
    }

    @Test(arguments: [1, 3])
    func `the first failure ends the run where that is asked for`(jobs: Int) {
        let bad = DigestLane(source: RuleSource(byteCount: 4 << 20, failsAt: 10))
        let endless = DigestLane(source: RuleSource(byteCount: 1 << 50))
        let outcomes = DigestEngine(jobs: jobs, stopsAtFirstError: true).run([bad, endless])
        #expect(outcomes[0].error?.code == .unexpectedEnd && outcomes[1].sha256 == nil)
    }

    @Test func `a run that is called off says so`() {
        let calls = Mutex(0)
        let engine = DigestEngine(
            jobs: 2, stopsAtFirstError: true,
            isCancelled: {
                calls.withLock {
                    $0 += 1
                    return $0 > 5
                }
            })
        let outcomes = engine.run([DigestLane(source: RuleSource(byteCount: 1 << 50))])
        #expect(outcomes[0].error?.code == .cancelled)
    }

    /// A lane of random segments over bytes by a rule.
    private static func lane(using generator: inout SeededGenerator, whole: Bool) -> DigestLane {
        let size = UInt64.random(in: 0...3 << 20, using: &generator)
        let cuts = (0..<12).map { _ in UInt64.random(in: 0...size, using: &generator) }.sorted()
        let segments = zip(cuts, cuts.dropFirst()).filter { _ in Bool.random(using: &generator) }.map {
            DigestLane.Segment($0..<$1, [.sha256, .crc32])
        }
        return DigestLane(source: RuleSource(byteCount: size), segments: segments, digestsWhole: whole)
    }

    @Test(arguments: [true, false])
    func `a lane goes on from any point that was recorded and comes to the same end`(whole: Bool) {
        var generator = SeededGenerator(seed: whole ? 21 : 22)
        for _ in 0..<15 {
            let lane = Self.lane(using: &generator, whole: whole)
            let kept = Mutex<[LaneProgress]>([])
            var engine = DigestEngine(jobs: 2, memory: 2 << 20, stopsAtFirstError: true)
            engine.record = { (_, progress) in kept.withLock { $0.append(progress) } }
            engine.recordInterval = .zero
            engine.recordByteCount = 0
            let expected = engine.run([lane])[0]
            let points = kept.withLock { $0 }
            #expect(points.last?.position == lane.source.byteCount)
            for progress in points {
                var rest = lane
                rest.resumption = progress
                let done = Mutex<UInt64>(0)
                let again = DigestEngine(
                    jobs: 3, stopsAtFirstError: true,
                    progress: { count in done.withLock { $0 += UInt64(count) } })
                let outcome = again.run([rest])[0]
                #expect(outcome.sha256 == expected.sha256 && outcome.segments == expected.segments)
                #expect(done.withLock { $0 } == rest.workByteCount)
                #expect(rest.workByteCount <= lane.workByteCount)
            }
        }
    }

    @Test func `a segment that wishes for large pieces gets them where memory allows, the others do not`() {
        let wish = 32 << 20
        let lane = DigestLane(
            source: RuleSource(byteCount: 200 << 20),
            segments: [
                .init(0..<50 << 20, .sha256), .init(50 << 20..<150 << 20, .sha256, pieceByteCount: wish),
                .init(150 << 20..<200 << 20, .sha256),
            ])
        let large = PieceBudget(memory: 512_000_000, jobs: 2, wish: lane.largestWish)
        let pieces = Array(PieceCursor(lane, pieceByteCount: large.pieceByteCount, largest: large.largest))
        #expect(Set(pieces.map(\.count).prefix(12)) == [4 << 20])
        #expect(pieces.filter { $0.count == wish }.count == 3)
        #expect(pieces.reduce(0) { $0 + $1.count } == 200 << 20)
        let small = PieceBudget(memory: 64 << 20, jobs: 2, wish: lane.largestWish)
        #expect(small.largest < wish && small.count * small.largest <= 64 << 20)
    }

    @Test func `a lane without a digest of the whole and without a sink reads its segments only`() {
        let lane = DigestLane(
            source: RuleSource(byteCount: 1 << 50),
            segments: [.init(5..<9, .crc32), .init(1 << 49..<(1 << 49) + 3_000_000, .sha256)],
            digestsWhole: false)
        let outcome = DigestEngine(jobs: 2, stopsAtFirstError: true).run([lane])[0]
        #expect(outcome.segments.count == 2 && outcome.sha256 == nil && lane.workByteCount == 3_000_004)
    }

    @Test(arguments: [1, 3])
    func `a sink gets its bytes in order, each once, one call at a time`(jobs: Int) throws {
        let sink = OrderedSink()
        let lane = DigestLane(
            source: RuleSource(byteCount: 5_000_001), segments: [.init(17..<4_000_017, .sha256)], sink: sink)
        let outcome = DigestEngine(jobs: jobs, memory: 1 << 20, stopsAtFirstError: true).run([lane])[0]
        let written = sink.bytes.withLock { $0 }
        #expect(outcome.error == nil && outcome.sha256 == SHA256Digest.of(written.raw))
        #expect(try RuleSource(byteCount: 5_000_001).bytes(at: 0, count: 5_000_001) == written)
    }

    @Test func `bytes that nobody looks at are copied from file to file by the system`() throws {
        let directory = try TemporaryDirectory()
        let content = try RuleSource(byteCount: 9_000_001).bytes(at: 0, count: 9_000_001)
        try FileSystem.create(directory.file("in"), contents: content)
        let source = try InputFile(path: directory.file("in"))
        let sink = try OutputFile(creating: directory.file("out"))
        #expect(try sink.copy(0..<9_000_001, of: source, to: 0) == 9_000_001)
        let again = try OutputFile(creating: directory.file("again"))
        let lane = DigestLane(source: source, sink: again, digestsWhole: false)
        let outcome = DigestEngine(jobs: 2, stopsAtFirstError: true).run([lane])[0]
        #expect(outcome.error == nil && outcome.sha256 == nil)
        #expect(try bytes(of: directory.file("out")) == content)
        #expect(try bytes(of: directory.file("again")) == content)
    }

    @Test func `a file that shrinks while the system copies it is an error`() throws {
        let directory = try TemporaryDirectory()
        try FileSystem.create(directory.file("in"), contents: Array(repeating: 7, count: 100_000))
        let source = try InputFile(path: directory.file("in"))
        try OutputFile(resuming: directory.file("in")).truncate(to: 60_000)
        let sink = try OutputFile(creating: directory.file("out"))
        let lane = DigestLane(source: source, sink: sink, digestsWhole: false)
        let outcome = DigestEngine(jobs: 1, stopsAtFirstError: true).run([lane])[0]
        #expect(outcome.error?.code == .unexpectedEnd)
    }

    @Test(arguments: [1 << 20, 64 << 20, 512_000_000, 1 << 40], [1, 2, 16, 256])
    func `pieces and what sources take to compute them stay within the memory that is given`(
        memory: Int, jobs: Int
    ) {
        let budget = PieceBudget(memory: memory, jobs: jobs)
        #expect(budget.count >= 2 && budget.pieceByteCount >= 64 << 10)
        let scratch = min(jobs * PieceBudget.scratchByteCount, memory / 2)
        #expect(budget.count * budget.pieceByteCount + scratch <= memory || budget.count == 2)
    }
}

/// A sink that takes bytes in order only.
private final class OrderedSink: ByteSink {
    let name = "sink"
    let bytes = Mutex<[UInt8]>([])

    func write(_ bytes: RawSpan, at offset: UInt64) throws(IOError) {
        let isNext = self.bytes.withLock { kept in
            guard offset == UInt64(kept.count) else { return false }
            kept += bytes.array()
            return true
        }
        guard isNext else { throw IOError(.unreadable, path: name, operation: "write", offset: offset) }
    }

    func synchronize() {}
}
