public import TensorCore

/// The members of a zip archive, read so that no other reader can see other members than these.
///
/// Every member is checked on opening: both headers agree, data lies in the file and overlaps nothing, and no
/// two names are equal even where case is ignored. Data is read only when asked for.
public struct ZipArchive: Sendable {
    /// What the archive is read from.
    public let source: any ByteSource
    /// The members in the order of the central directory.
    public let entries: [ZipEntry]
    private let indexByName: [ByteKey: Int]
    private let limits: ZipLimits
    private let pool = InflationPool()

    /// Reads the directory of an archive.
    ///
    /// - Parameters:
    ///   - source: what to read from.
    ///   - range: the part of the source that is the archive; all of it where nil.
    ///   - limits: bounds on what the archive may ask for.
    /// - Throws: where the archive is damaged, ambiguous, encrypted, split, or beyond the limits.
    public init(
        reading source: any ByteSource, range: Range<UInt64>? = nil, limits: ZipLimits = ZipLimits()
    ) throws(ArchiveError) {
        let range = range ?? 0..<source.byteCount
        precondition(range.upperBound <= source.byteCount)
        let window = ZipWindow(
            source: source, base: range.lowerBound, byteCount: range.upperBound - range.lowerBound)
        let directory = try ZipDirectory.find(in: window)
        var entries = try Self.readEntries(directory, in: window, limits: limits)
        indexByName = try Self.index(entries, ignoringCase: limits.ignoresCase)
        for index in entries.indices {
            entries[index].dataOffset = try Self.dataOffset(of: entries[index], in: window)
        }
        try Self.checkDisjoint(entries, before: window.base + directory.start)
        self.source = source
        self.entries = entries
        self.limits = limits
    }

    /// The member with exactly this name.
    public func entry(named name: [UInt8]) -> ZipEntry? {
        let key = limits.ignoresCase ? Self.folded(name) : name
        guard let index = indexByName[ByteKey(key)], entries[index].name == name else { return nil }
        return entries[index]
    }

    /// The member with exactly this name.
    public func entry(named name: String) -> ZipEntry? { entry(named: Array(name.utf8)) }

    /// The data of a small member, inflated where it is deflated, with its CRC-32 checked where there is one.
    ///
    /// - Parameter limit: the most bytes that the data may have.
    public func contents(of entry: ZipEntry, limit: Int) throws(ArchiveError) -> [UInt8] {
        guard max(entry.byteCount, entry.compressedByteCount) <= UInt64(min(limit, 1 << 30)) else {
            throw entry.error(
                .malformed, "member-too-large",
                "the member has \(entry.byteCount) bytes, more than the \(limit) that it may have")
        }
        let stored: [UInt8]
        do {
            stored = try source.bytes(at: entry.dataOffset, count: Int(entry.compressedByteCount))
        } catch {
            throw ArchiveError(error, member: entry.text)
        }
        let data = entry.method == .stored ? stored : try inflate(stored, of: entry)
        let actual = crc32(data.span.bytesView)
        guard entry.crc32 == 0 || entry.crc32 == actual else {
            throw entry.error(
                .malformed, "crc-mismatch", "the data does not have the CRC-32 that the archive states")
        }
        return data
    }

    /// Where the data of a member stands: in the archive where it is stored, else in a source of its own that
    /// inflates it as far as it is asked for and checks its CRC-32 at the end.
    ///
    /// - Parameter name: what the inflated data is, for messages.
    public func data(
        of entry: ZipEntry, name: String
    ) throws(ArchiveError) -> (source: any ByteSource, range: Range<UInt64>) {
        guard entry.method == .deflated else { return (source, entry.dataRange) }
        // No deflate stream holds more.
        guard entry.byteCount / 1032 <= entry.compressedByteCount else {
            throw entry.error(
                .malformed, "inflation-limit",
                "\(entry.compressedByteCount) compressed bytes claim to hold \(entry.byteCount)")
        }
        let member = InflatedMember(name: name, entry: entry, archive: source, pool: pool)
        return (member, 0..<entry.byteCount)
    }

    private func inflate(_ stored: [UInt8], of entry: ZipEntry) throws(ArchiveError) -> [UInt8] {
        guard entry.byteCount <= entry.compressedByteCount * limits.inflationRatio + (1 << 20) else {
            throw entry.error(
                .malformed, "inflation-limit",
                "\(entry.compressedByteCount) compressed bytes claim to hold \(entry.byteCount)")
        }
        do {
            return try Inflate.expand(stored, to: Int(entry.byteCount))
        } catch {
            throw entry.error(.malformed, "deflate-corrupt", "the compressed data is damaged (\(error))")
        }
    }

    /// A name with ASCII letters in lower case: names are looked up this way by PyTorch's reader.
    static func folded(_ name: [UInt8]) -> [UInt8] {
        name.map { 0x41...0x5A ~= $0 ? $0 | 0x20 : $0 }
    }

    /// The members by name, folded where case is ignored.
    private static func index(
        _ entries: [ZipEntry], ignoringCase: Bool
    ) throws(ArchiveError) -> [ByteKey: Int] {
        var result: [ByteKey: Int] = [:]
        result.reserveCapacity(entries.count)
        for (index, entry) in entries.enumerated() {
            let key = ByteKey(ignoringCase ? folded(entry.name) : entry.name)
            if let other = result.updateValue(index, forKey: key) {
                throw entry.error(
                    .malformed, "duplicate-entry",
                    "the archive also has a member at byte \(entries[other].headerOffset) that readers "
                        + "take for the same")
            }
        }
        return result
    }
}

extension ZipEntry {
    /// An error about this member.
    func error(_ class: ArchiveError.Class, _ code: String, _ message: String) -> ArchiveError {
        ArchiveError(`class`, code, message, member: text, offset: headerOffset)
    }
}
