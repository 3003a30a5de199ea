public import TensorCore

/// The members of a tar archive (ustar, GNU or pax), found by walking over their headers; nothing is ever unpacked.
///
/// Only regular files are members. Links, devices, names that lead out of the archive and names that come twice are
/// refused; directories are passed over.
public struct TarArchive: Sendable {
    /// What the archive is read from, decompressed.
    public let source: any ByteSource
    /// The members in order.
    public let entries: [TarEntry]

    /// Reads the headers of an archive.
    ///
    /// - Parameters:
    ///   - source: what to read from; where it is decompressed on the way, headers are asked for in order.
    ///   - limits: bounds on what the archive may ask for.
    public init(reading source: any ByteSource, limits: TarLimits = TarLimits()) throws(ArchiveError) {
        self.source = source
        var walk = TarWalk(source: source, limits: limits)
        try walk.run()
        entries = walk.entries
    }

    /// The member with exactly this name.
    public func entry(named name: String) -> TarEntry? {
        entries.first { $0.name.elementsEqual(name.utf8) }
    }

    /// The data of a small member.
    ///
    /// - Parameter limit: the most bytes that the data may have.
    public func contents(of entry: TarEntry, limit: Int) throws(ArchiveError) -> [UInt8] {
        guard entry.byteCount <= UInt64(limit) else {
            throw ArchiveError(
                .malformed, "member-too-large",
                "the member has \(entry.byteCount) bytes, more than the \(limit) that it may have",
                member: entry.text)
        }
        do { return try source.bytes(at: entry.dataOffset, count: Int(entry.byteCount)) } catch {
            throw ArchiveError(error, member: entry.text)
        }
    }
}

/// A regular file in a tar archive.
public struct TarEntry: Sendable, Hashable {
    /// The name without `./` at its start, as the bytes that are stored.
    public let name: [UInt8]
    /// Where the data stands in the source.
    public let dataOffset: UInt64
    /// The bytes of the data.
    public let byteCount: UInt64

    /// The name as text, for messages and for comparing with names known to be ASCII.
    public var text: String { String(decoding: name, as: UTF8.self) }
    /// The bytes of the source that hold the data.
    public var dataRange: Range<UInt64> { dataOffset..<dataOffset + byteCount }
}

/// Bounds on what a tar archive may ask for.
public struct TarLimits: Sendable {
    /// Headers, of members and of all else.
    public var headerCount = 100_000
    /// Bytes of a long name or of the records about a member.
    public var recordByteCount = 1 << 20

    /// The default bounds.
    public init() {}
}
