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
                segments.append(.init(low..<high, segments.count % 3 == 2 ? .crc32 : .sha256))
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
                switch digest {
                case .sha256(let digest): #expect(digest == SHA256Digest.of(part))
                case .crc32(let digest): #expect(digest == CRC32.update(0, with: part))
                }
            }
        }
    }

    @Test func `pieces cover a lane once and do not cut a segment but at whole pieces from its start`() {
        var generator = SeededGenerator(seed: 9)
        let piece = UInt64(PieceCursor.pieceByteCount)
        for _ in 0..<50 {
            let size = UInt64.random(in: 0...40 << 20, using: &generator)
            let cuts = (0..<12).map { _ in UInt64.random(in: 0...size, using: &generator) }.sorted()
            let segments = zip(cuts, cuts.dropFirst()).map { DigestLane.Segment($0..<$1, .sha256) }
            let lane = DigestLane(source: RuleSource(byteCount: size), segments: segments)
            let pieces = Array(PieceCursor(lane))
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
}
