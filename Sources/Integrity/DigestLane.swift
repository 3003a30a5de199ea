public import TensorCore

/// A stream of bytes to read once from start to end, digesting it and its segments and, where there is a sink,
/// writing it.
public struct DigestLane: Sendable {
    /// The bytes.
    public var source: any ByteSource
    /// Ranges that get digests of their own: ascending, not overlapping, within the source.
    public var segments: [Segment]
    /// Where the bytes go, at the offsets they come from; nil to only read.
    public var sink: OutputFile?
    /// Whether the lane as a whole gets a digest.
    public var digestsWhole: Bool

    /// Makes a lane.
    public init(
        source: any ByteSource, segments: [Segment] = [], sink: OutputFile? = nil, digestsWhole: Bool = true
    ) {
        self.source = source
        self.segments = segments
        self.sink = sink
        self.digestsWhole = digestsWhole
    }

    /// A range with a digest of its own.
    public struct Segment: Sendable {
        /// The bytes.
        public var range: Range<UInt64>
        /// The digest that is wanted.
        public var algorithm: Algorithm

        /// Makes a segment.
        public init(_ range: Range<UInt64>, _ algorithm: Algorithm) {
            self.range = range
            self.algorithm = algorithm
        }
    }

    /// A way to digest a segment.
    public enum Algorithm: Sendable { case sha256, crc32 }

    /// The digest of a segment.
    public enum SegmentDigest: Sendable, Equatable {
        /// A SHA-256.
        case sha256(SHA256Digest)
        /// A CRC-32.
        case crc32(UInt32)
    }

    /// What came of a lane.
    public struct Outcome: Sendable {
        /// The SHA-256 of all bytes; nil where reading or writing failed or it was not asked for.
        public var sha256: SHA256Digest?
        /// The digests of the segments, in order; none where the lane failed.
        public var segments: [SegmentDigest]
        /// Why the lane stopped.
        public var error: IOError?
    }
}

/// Cuts a lane into pieces, one at a time: small segments share a piece, large ones are cut at multiples from
/// their own start, so that no piece splits an element.
struct PieceCursor: Sequence, IteratorProtocol {
    /// Bytes handled at once.
    static var pieceByteCount: Int { 4 << 20 }

    private let segments: [DigestLane.Segment]
    private let byteCount: UInt64
    /// Where the next piece starts.
    private var start: UInt64 = 0
    /// The segment or gap that is being laid out.
    private var part: Range<UInt64>?
    private var position: UInt64 = 0
    private var nextSegment = 0

    init(_ lane: DigestLane) {
        segments = lane.segments
        byteCount = lane.source.byteCount
    }

    mutating func next() -> Range<UInt64>? {
        let limit = UInt64(Self.pieceByteCount)
        while let part = part ?? nextPart() {
            if part.upperBound - start <= limit {
                // It still fits beside what is pending.
                self.part = nil
            } else if part.lowerBound > start {
                self.part = part
                return cut(at: part.lowerBound)
            } else {
                self.part = start + limit..<part.upperBound
                return cut(at: start + limit)
            }
        }
        return start < byteCount ? cut(at: byteCount) : nil
    }

    private mutating func cut(at end: UInt64) -> Range<UInt64> {
        defer { start = end }
        return start..<end
    }

    /// The next segment, or the gap before it or after the last.
    private mutating func nextPart() -> Range<UInt64>? {
        guard nextSegment < segments.count else {
            guard position < byteCount else { return nil }
            defer { position = byteCount }
            return position..<byteCount
        }
        let segment = segments[nextSegment].range
        if segment.lowerBound > position {
            defer { position = segment.lowerBound }
            return position..<segment.lowerBound
        }
        nextSegment += 1
        position = segment.upperBound
        return segment
    }
}

/// The running digests of one lane.
///
/// Used by one thread at a time.
final class LaneHasher: @unchecked Sendable {
    private let whole: SHA256Hasher?
    private let part = SHA256Hasher()
    private var crc: UInt32 = 0
    private let segments: [DigestLane.Segment]
    private(set) var finished: [DigestLane.SegmentDigest] = []

    init(_ lane: DigestLane) {
        segments = lane.segments
        whole = lane.digestsWhole ? SHA256Hasher() : nil
    }

    /// Takes the next bytes of the lane, which start at `offset`.
    func update(_ bytes: RawSpan, at offset: UInt64) {
        let end = offset + UInt64(bytes.byteCount)
        var position = offset
        while finished.count < segments.count {
            let segment = segments[finished.count]
            let low = max(segment.range.lowerBound, position)
            let high = min(segment.range.upperBound, end)
            if low < high {
                whole?.update(bytes.extracting(Int(position - offset)..<Int(low - offset)))
                add(bytes.extracting(Int(low - offset)..<Int(high - offset)), segment.algorithm)
                position = high
            }
            if segment.range.upperBound > end { break }
            close(segment.algorithm)
        }
        whole?.update(bytes.extracting(Int(position - offset)..<bytes.byteCount))
    }

    /// Ends the lane.
    func finish() -> SHA256Digest? {
        // Empty segments of an empty lane.
        while finished.count < segments.count { close(segments[finished.count].algorithm) }
        return whole?.finish()
    }

    /// Adds bytes of the current segment to its digest and to the whole's.
    private func add(_ bytes: RawSpan, _ algorithm: DigestLane.Algorithm) {
        switch (algorithm, whole) {
        case (.sha256, let whole?): SHA256Hasher.update(whole, part, bytes)
        case (.sha256, nil): part.update(bytes)
        case (.crc32, _):
            crc = CRC32.update(crc, with: bytes)
            whole?.update(bytes)
        }
    }

    private func close(_ algorithm: DigestLane.Algorithm) {
        switch algorithm {
        case .sha256: finished.append(.sha256(part.finish()))
        case .crc32: finished.append(.crc32(crc))
        }
        crc = 0
    }
}
