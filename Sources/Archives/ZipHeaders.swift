internal import TensorCore

/// The headers of members: the central directory's and the ones before the data.
extension ZipArchive {
    private static let centralSignature: UInt32 = 0x0201_4B50
    private static let centralByteCount = 46
    private static let localSignature: UInt32 = 0x0403_4B50
    private static let localByteCount = 30
    /// Encryption, patch data, strong encryption and masked headers.
    private static let refusedFlags: UInt16 = 1 | 1 << 5 | 1 << 6 | 1 << 13
    /// Sizes and CRC-32 follow the data.
    private static let descriptorFlag: UInt16 = 1 << 3

    /// The members as the central directory states them, without the place of their data.
    static func readEntries(
        _ directory: ZipDirectory, in window: ZipWindow, limits: ZipLimits
    ) throws(ArchiveError) -> [ZipEntry] {
        let place = window.base + directory.start
        guard directory.entryCount <= limits.memberCount, directory.byteCount <= limits.directoryByteCount
        else {
            throw ArchiveError(
                .malformed, "member-limit",
                "the archive has \(directory.entryCount) members in \(directory.byteCount) bytes of "
                    + "directory, more than \(limits.memberCount) members or \(limits.directoryByteCount) "
                    + "bytes", offset: place)
        }
        let array = try window.bytes(at: directory.start, count: Int(directory.byteCount))
        let bytes = array.span.bytesView
        guard directory.entryCount <= UInt64(bytes.byteCount / centralByteCount) else {
            throw damagedDirectory(at: place)
        }
        var entries: [ZipEntry] = []
        entries.reserveCapacity(Int(directory.entryCount))
        var position = 0
        for _ in 0..<directory.entryCount {
            entries.append(try centralEntry(in: bytes, at: &position, window: window, place: place))
        }
        guard position == bytes.byteCount else { throw damagedDirectory(at: place + UInt64(position)) }
        return entries
    }

    private static func damagedDirectory(at offset: UInt64) -> ArchiveError {
        ArchiveError(.malformed, "central-directory", "the central directory is damaged", offset: offset)
    }

    private static func centralEntry(
        in bytes: RawSpan, at position: inout Int, window: ZipWindow, place: UInt64
    ) throws(ArchiveError) -> ZipEntry {
        let offset = place + UInt64(position)
        guard bytes.byteCount - position >= centralByteCount,
            bytes.load(littleEndian: UInt32.self, at: position) == centralSignature
        else { throw damagedDirectory(at: offset) }
        let header = bytes.extracting(position..<position + centralByteCount)
        let nameCount = Int(header.load(littleEndian: UInt16.self, at: 28))
        let extraCount = Int(header.load(littleEndian: UInt16.self, at: 30))
        let commentCount = Int(header.load(littleEndian: UInt16.self, at: 32))
        let nameStart = position + centralByteCount
        let extraStart = nameStart + nameCount
        guard bytes.byteCount - extraStart >= extraCount + commentCount else {
            throw damagedDirectory(at: offset)
        }
        position = extraStart + extraCount + commentCount
        let name = bytes.extracting(nameStart..<extraStart).array()
        let extra = bytes.extracting(extraStart..<extraStart + extraCount)
        return try entry(header, name: name, extra: extra, window: window, offset: offset)
    }

    private static func entry(
        _ header: RawSpan, name: [UInt8], extra: RawSpan, window: ZipWindow, offset: UInt64
    ) throws(ArchiveError) -> ZipEntry {
        let text = String(decoding: name, as: UTF8.self)
        func error(_ class: ArchiveError.Class, _ code: String, _ message: String) -> ArchiveError {
            ArchiveError(`class`, code, message, member: text, offset: offset)
        }
        let flags = header.load(littleEndian: UInt16.self, at: 8)
        let methodNumber = header.load(littleEndian: UInt16.self, at: 10)
        guard !name.isEmpty, !name.contains(0) else {
            throw error(.unsafe, "entry-name", "the member's name is empty or has a NUL byte in it")
        }
        let parts = name.split(separator: 0x2F, omittingEmptySubsequences: false)
        guard name.first != 0x2F, !parts.contains(where: { $0.elementsEqual("..".utf8) }) else {
            throw error(.unsafe, "path-escape", "the member's name leads out of the archive")
        }
        guard flags & refusedFlags == 0 else {
            throw error(.unsupported, "encrypted-entry", "the member is encrypted: decrypt the archive first")
        }
        guard let method = ZipEntry.Method(rawValue: methodNumber) else {
            throw error(
                .unsupported, "compression-method",
                "compression method \(methodNumber) is neither stored nor deflate")
        }
        guard let sizes = Sizes(header, extra: extra) else {
            throw error(.malformed, "zip64-extra", "the sizes of a member are damaged")
        }
        guard header.load(littleEndian: UInt16.self, at: 34) == 0 else {
            throw ArchiveError.severalDisks(at: offset)
        }
        guard sizes.headerOffset < window.byteCount else {
            throw error(.malformed, "entry-out-of-bounds", "the member lies beyond the end of the archive")
        }
        guard method != .stored || sizes.compressed == sizes.uncompressed else {
            throw error(.malformed, "entry-sizes", "a stored member has two different sizes")
        }
        return ZipEntry(
            name: name, method: method, flags: flags,
            crc32: header.load(littleEndian: UInt32.self, at: 16), compressedByteCount: sizes.compressed,
            byteCount: sizes.uncompressed, headerOffset: window.base + sizes.headerOffset)
    }

    /// Sizes and offset, from the header or, where it is saturated, from its zip64 field.
    private struct Sizes {
        var uncompressed, compressed, headerOffset: UInt64

        init?(_ header: RawSpan, extra: RawSpan) {
            compressed = UInt64(header.load(littleEndian: UInt32.self, at: 20))
            uncompressed = UInt64(header.load(littleEndian: UInt32.self, at: 24))
            headerOffset = UInt64(header.load(littleEndian: UInt32.self, at: 42))
            let saturated = UInt64(UInt32.max)
            guard uncompressed == saturated || compressed == saturated || headerOffset == saturated else {
                return
            }
            guard let field = Self.zip64Field(of: extra) else { return nil }
            var position = 0
            func next(_ value: UInt64) -> UInt64? {
                guard value == saturated else { return value }
                guard field.byteCount - position >= 8 else { return nil }
                defer { position += 8 }
                return field.load(littleEndian: UInt64.self, at: position)
            }
            guard let a = next(uncompressed), let b = next(compressed), let c = next(headerOffset) else {
                return nil
            }
            (uncompressed, compressed, headerOffset) = (a, b, c)
        }

        /// The zip64 field among extra fields.
        @_lifetime(copy extra)
        private static func zip64Field(of extra: RawSpan) -> RawSpan? {
            var position = 0
            while extra.byteCount - position >= 4 {
                let identifier = extra.load(littleEndian: UInt16.self, at: position)
                let count = Int(extra.load(littleEndian: UInt16.self, at: position + 2))
                guard extra.byteCount - position - 4 >= count else { return nil }
                if identifier == 1 { return extra.extracting(position + 4..<position + 4 + count) }
                position += 4 + count
            }
            return nil
        }
    }

    /// Where a member's data starts in the source, from its local header, which must agree with the directory.
    ///
    /// Extra fields are skipped, not read: PyTorch pads with them, and writes zip64 ones that are not standard.
    static func dataOffset(of entry: ZipEntry, in window: ZipWindow) throws(ArchiveError) -> UInt64 {
        let start = entry.headerOffset - window.base
        let array = try window.bytes(
            at: start, count: localByteCount + entry.name.count, member: entry.text)
        let header = array.span.bytesView
        guard header.load(littleEndian: UInt32.self, at: 0) == localSignature else {
            throw entry.error(.malformed, "local-header", "no member starts where the directory says")
        }
        let nameCount = Int(header.load(littleEndian: UInt16.self, at: 26))
        let flags = header.load(littleEndian: UInt16.self, at: 6)
        guard nameCount == entry.name.count, array[localByteCount...].elementsEqual(entry.name),
            flags == entry.flags,
            header.load(littleEndian: UInt16.self, at: 8) == entry.method.rawValue,
            flags & descriptorFlag != 0 || agree(header, entry)
        else {
            throw entry.error(
                .unsafe, "local/central-mismatch",
                "the header before the data and the central directory describe different members")
        }
        let extraCount = UInt64(header.load(littleEndian: UInt16.self, at: 28))
        let dataStart = start + UInt64(localByteCount + nameCount) + extraCount
        guard dataStart <= window.byteCount, entry.compressedByteCount <= window.byteCount - dataStart else {
            throw entry.error(
                .malformed, "entry-out-of-bounds", "the member's data goes beyond the end of the archive")
        }
        return window.base + dataStart
    }

    /// Whether the CRC-32 and sizes of a local header, where it states them, are those of the directory.
    private static func agree(_ header: RawSpan, _ entry: ZipEntry) -> Bool {
        func agrees(_ offset: Int, _ value: UInt64) -> Bool {
            let stated = header.load(littleEndian: UInt32.self, at: offset)
            return stated == 0 || stated == .max || UInt64(stated) == value
        }
        let crc = header.load(littleEndian: UInt32.self, at: 14)
        return (crc == 0 || crc == entry.crc32) && agrees(18, entry.compressedByteCount)
            && agrees(22, entry.byteCount)
    }

    /// Checks that no member shares a byte with another or with the directory.
    static func checkDisjoint(_ entries: [ZipEntry], before directory: UInt64) throws(ArchiveError) {
        let order = entries.indices.sorted { entries[$0].headerOffset < entries[$1].headerOffset }
        var end: UInt64 = 0
        for index in order {
            let entry = entries[index]
            guard entry.headerOffset >= end, entry.dataRange.upperBound <= directory else {
                throw entry.error(
                    .unsafe, "overlapping-entries", "the member shares bytes with another or the directory")
            }
            end = entry.dataRange.upperBound
        }
    }
}
