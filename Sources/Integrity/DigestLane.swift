public import TensorCore

/// A stream of bytes to read once from start to end, digesting it and its segments and, where there is a sink,
/// writing it.
public struct DigestLane: Sendable {
    /// The bytes.
    public var source: any ByteSource
    /// Ranges with digests of their own: ascending, not overlapping, within the source.
    ///
    /// The lane is cut into pieces only between their elements.
    public var segments: [Segment]
    /// Where the bytes go, at the offsets they come from; nil to only read.
    public var sink: (any ByteSink)?
    /// Whether the lane as a whole gets a digest.
    public var digestsWhole: Bool
    /// Places where the CRC-32 of a segment stands, which the source cannot know: ascending, not overlapping.
    public var checksumFields: [ChecksumField]
    /// Where an earlier run stopped; nil to begin at the start.
    public var resumption: LaneProgress?

    /// Makes a lane.
    public init(
        source: any ByteSource, segments: [Segment] = [], checksumFields: [ChecksumField] = [],
        sink: (any ByteSink)? = nil, digestsWhole: Bool = true, resumption: LaneProgress? = nil
    ) {
        self.source = source
        self.segments = segments
        self.checksumFields = checksumFields
        self.sink = sink
        self.digestsWhole = digestsWhole
        self.resumption = resumption
    }

    /// A range with digests of its own.
    public struct Segment: Sendable {
        /// The bytes.
        public var range: Range<UInt64>
        /// The digests that are wanted.
        public var algorithms: Algorithms
        /// How many bytes the source would like to be asked for at once; a hint.
        public var pieceByteCount: Int

        /// Makes a segment.
        public init(_ range: Range<UInt64>, _ algorithms: Algorithms, pieceByteCount: Int = 0) {
            self.range = range
            self.algorithms = algorithms
            self.pieceByteCount = pieceByteCount
        }
    }

    /// Four bytes, little-endian, that are the CRC-32 of a segment before them, as zip archives have them.
    ///
    /// Whatever the source has there is overwritten on the way, once the segment has gone by.
    public struct ChecksumField: Sendable, Hashable {
        /// The first byte.
        public var offset: UInt64
        /// The segment, by its number; it ends before the field and its CRC-32 is asked for.
        public var segment: Int
        /// The CRC-32 of bytes that count too and come before the segment's.
        public var prefix: UInt32

        /// Makes a field.
        public init(offset: UInt64, segment: Int, prefix: UInt32 = 0) {
            self.offset = offset
            self.segment = segment
            self.prefix = prefix
        }
    }

    /// Ways to digest a segment.
    public struct Algorithms: OptionSet, Sendable {
        /// The bits.
        public let rawValue: UInt8
        /// Makes a set.
        public init(rawValue: UInt8) { self.rawValue = rawValue }
        /// SHA-256.
        public static let sha256 = Algorithms(rawValue: 1)
        /// The CRC-32 of zip.
        public static let crc32 = Algorithms(rawValue: 2)
    }

    /// The digests of a segment, those that were asked for.
    public struct SegmentDigest: Sendable, Equatable {
        /// The SHA-256.
        public var sha256: SHA256Digest?
        /// The CRC-32.
        public var crc32: UInt32?

        /// Makes a result.
        public init(sha256: SHA256Digest? = nil, crc32: UInt32? = nil) {
            self.sha256 = sha256
            self.crc32 = crc32
        }
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

    /// True where nothing looks at the bytes, so that the system may copy them by itself.
    var isPlainCopy: Bool {
        sink != nil && !digestsWhole && segments.allSatisfy { $0.algorithms.isEmpty }
    }

    /// The bytes between segments are of interest: they are digested or written.
    private var coversGaps: Bool { digestsWhole || sink != nil }

    /// The bytes that a run will read.
    public var workByteCount: UInt64 {
        let start = resumption?.position ?? 0
        if coversGaps { return source.byteCount - min(start, source.byteCount) }
        return segments.reduce(0) { sum, segment in
            sum + segment.range.upperBound
                - min(max(segment.range.lowerBound, start), segment.range.upperBound)
        }
    }

    /// The parts to read, in order, with whether one may share a piece with its neighbours.
    func part(_ number: Int, from position: UInt64) -> (range: Range<UInt64>, isSegment: Bool, wish: Int)? {
        guard number < segments.count else {
            return coversGaps && position < source.byteCount ? (position..<source.byteCount, false, 0) : nil
        }
        let segment = segments[number].range
        return coversGaps && segment.lowerBound > position
            ? (position..<segment.lowerBound, false, 0) : (segment, true, segments[number].pieceByteCount)
    }

    /// The largest piece that a segment would like, of those that are larger than a usual piece.
    var largestWish: Int {
        segments.reduce(0) { max($0, min($1.pieceByteCount, Int(clamping: $1.range.count))) }
    }
}

/// How far a lane has come, with its running digests: all that a later run needs to go on.
public struct LaneProgress: Sendable {
    /// The bytes before this offset are read, digested and written.
    public var position: UInt64 = 0
    /// The running SHA-256 of the whole.
    public var whole = SHA256State()
    /// The running SHA-256 of the current segment.
    public var part = SHA256State()
    /// The running CRC-32 of the current segment.
    public var crc32: UInt32 = 0
    /// The digests of the segments that have ended.
    public var finished: [DigestLane.SegmentDigest] = []

    /// The progress of a lane that has not begun, or that has come to `position` and digests nothing.
    public init(position: UInt64 = 0) { self.position = position }
}
