/// A member of a zip archive, as both its headers state it.
public struct ZipEntry: Sendable, Hashable {
    /// The name, as the bytes that are stored.
    public let name: [UInt8]
    /// How the data is stored.
    public let method: Method
    /// The general-purpose flags.
    public let flags: UInt16
    /// The CRC-32 of the uncompressed data, which some writers leave zero.
    public let crc32: UInt32
    /// The bytes that the data takes in the archive.
    public let compressedByteCount: UInt64
    /// The bytes of the data.
    public let byteCount: UInt64
    /// Where the local header stands in the source.
    public let headerOffset: UInt64
    /// Where the data stands in the source.
    public internal(set) var dataOffset: UInt64 = 0

    /// How the data of a member is stored.
    public enum Method: UInt16, Sendable {
        /// As it is.
        case stored = 0
        /// As a raw deflate stream.
        case deflated = 8
    }

    /// The name as text, for messages and for comparing with names known to be ASCII.
    public var text: String { String(decoding: name, as: UTF8.self) }

    /// The bytes of the source that hold the data.
    public var dataRange: Range<UInt64> { dataOffset..<dataOffset + compressedByteCount }

    /// Whether the archive states no CRC-32 for data that has one.
    public var lacksChecksum: Bool { crc32 == 0 && byteCount > 0 }
}

/// Bounds on what an archive may ask for.
public struct ZipLimits: Sendable {
    /// Members.
    public var memberCount: UInt64 = 1_000_000
    /// Bytes of the central directory.
    public var directoryByteCount: UInt64 = 128 << 20
    /// How many times larger than its compressed form a deflated member may be, beyond one mebibyte.
    public var inflationRatio: UInt64 = 128
    /// Whether two names are the same that differ in the case of ASCII letters only, as PyTorch's reader has it.
    public var ignoresCase = true

    /// The default bounds.
    public init() {}
}
