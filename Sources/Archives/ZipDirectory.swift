internal import TensorCore

/// A part of a source that is read as a file of its own; offsets within start at zero.
struct ZipWindow {
    let source: any ByteSource
    let base: UInt64
    let byteCount: UInt64

    /// The `count` bytes from `offset`.
    func bytes(at offset: UInt64, count: Int, member: String? = nil) throws(ArchiveError) -> [UInt8] {
        guard offset <= byteCount, UInt64(count) <= byteCount - offset else {
            throw ArchiveError(
                .malformed, "truncated", "the archive ends before byte \(count) of a record",
                member: member, offset: base + offset)
        }
        do {
            return try source.bytes(at: base + offset, count: count)
        } catch {
            throw ArchiveError(error, member: member)
        }
    }
}

/// Where the central directory stands, from the records at the end of an archive.
struct ZipDirectory: Equatable {
    /// The first byte, in the window.
    var start: UInt64
    var byteCount: UInt64
    var entryCount: UInt64

    private static let endSignature: UInt32 = 0x0605_4B50
    private static let endByteCount = 22
    private static let locatorSignature: UInt32 = 0x0706_4B50
    private static let locatorByteCount = 20
    private static let end64Signature: UInt32 = 0x0606_4B50
    private static let end64ByteCount = 56

    /// Finds the directory by the last end record within the last 64 KiB, the one that PyTorch takes too.
    static func find(in window: ZipWindow) throws(ArchiveError) -> ZipDirectory {
        // Without a comment, the record is the very end, and little else need be read.
        let tailCount = Int(
            min(window.byteCount, UInt64(try endsWithRecord(window) ? endByteCount : endByteCount + 0xFFFF)))
        let tailStart = window.byteCount - UInt64(tailCount)
        let tail = try window.bytes(at: tailStart, count: tailCount)
        guard let found = lastEndRecord(in: tail) else {
            throw ArchiveError(
                .malformed, "no-central-directory",
                "no zip end record: the file is truncated or not a zip archive", offset: window.base)
        }
        let position = tailStart + UInt64(found)
        let end = EndRecord(tail.span.bytesView.extracting(found..<found + endByteCount))
        var directoryEnd = position
        var directory = end.directory
        if let record = try Zip64Record.find(before: position, in: window) {
            directory = try record.directory(agreeingWith: end, at: window.base + position)
            directoryEnd = record.position
        } else {
            try end.checkSingleDisk(at: window.base + position)
        }
        // Readers that shift a directory which is not where it says it is would see other members.
        let (reach, overflow) = directory.start.addingReportingOverflow(directory.byteCount)
        guard !overflow, reach == directoryEnd else {
            throw ArchiveError(
                .malformed, "no-central-directory",
                "the central directory does not end where the end record begins",
                offset: window.base + position)
        }
        return directory
    }

    private static func endsWithRecord(_ window: ZipWindow) throws(ArchiveError) -> Bool {
        guard window.byteCount >= UInt64(endByteCount) else { return false }
        let end = try window.bytes(at: window.byteCount - UInt64(endByteCount), count: endByteCount)
        return end.span.bytesView.load(littleEndian: UInt32.self, at: 0) == endSignature
    }

    private static func lastEndRecord(in tail: [UInt8]) -> Int? {
        let bytes = tail.span.bytesView
        var index = tail.count - endByteCount
        while index >= 0 {
            if bytes.load(littleEndian: UInt32.self, at: index) == endSignature { return index }
            index -= 1
        }
        return nil
    }

    /// The end record, whose fields saturate where a zip64 record holds them.
    private struct EndRecord {
        let disk, directoryDisk, diskEntryCount, entryCount: UInt16
        let byteCount, start: UInt32

        init(_ bytes: RawSpan) {
            disk = bytes.load(littleEndian: UInt16.self, at: 4)
            directoryDisk = bytes.load(littleEndian: UInt16.self, at: 6)
            diskEntryCount = bytes.load(littleEndian: UInt16.self, at: 8)
            entryCount = bytes.load(littleEndian: UInt16.self, at: 10)
            byteCount = bytes.load(littleEndian: UInt32.self, at: 12)
            start = bytes.load(littleEndian: UInt32.self, at: 16)
        }

        var directory: ZipDirectory {
            ZipDirectory(
                start: UInt64(start), byteCount: UInt64(byteCount), entryCount: UInt64(entryCount))
        }

        func checkSingleDisk(at offset: UInt64) throws(ArchiveError) {
            guard disk == 0, directoryDisk == 0, diskEntryCount == entryCount else {
                throw .severalDisks(at: offset)
            }
        }
    }

    /// The zip64 end record, found through its locator.
    private struct Zip64Record {
        let position: UInt64
        let disk, directoryDisk: UInt32
        let diskEntryCount, entryCount, byteCount, start: UInt64

        static func find(before end: UInt64, in window: ZipWindow) throws(ArchiveError) -> Zip64Record? {
            guard end >= UInt64(locatorByteCount) else { return nil }
            let locatorStart = end - UInt64(locatorByteCount)
            let locator = try window.bytes(at: locatorStart, count: locatorByteCount)
            let fields = locator.span.bytesView
            guard fields.load(littleEndian: UInt32.self, at: 0) == locatorSignature else { return nil }
            guard fields.load(littleEndian: UInt32.self, at: 4) == 0,
                fields.load(littleEndian: UInt32.self, at: 16) <= 1
            else { throw .severalDisks(at: window.base + locatorStart) }
            let position = fields.load(littleEndian: UInt64.self, at: 8)
            let bytes = try window.bytes(at: position, count: end64ByteCount)
            let record = Zip64Record(bytes.span.bytesView, position: position)
            let size = bytes.span.bytesView.load(littleEndian: UInt64.self, at: 4)
            let isSigned = bytes.span.bytesView.load(littleEndian: UInt32.self, at: 0) == end64Signature
            guard isSigned, size >= 44, position <= locatorStart, locatorStart - position >= 12,
                size == locatorStart - position - 12
            else {
                throw ArchiveError(
                    .malformed, "zip64-record", "the zip64 end record is not where its locator says",
                    offset: window.base + locatorStart)
            }
            return record
        }

        init(_ bytes: RawSpan, position: UInt64) {
            self.position = position
            disk = bytes.load(littleEndian: UInt32.self, at: 16)
            directoryDisk = bytes.load(littleEndian: UInt32.self, at: 20)
            diskEntryCount = bytes.load(littleEndian: UInt64.self, at: 24)
            entryCount = bytes.load(littleEndian: UInt64.self, at: 32)
            byteCount = bytes.load(littleEndian: UInt64.self, at: 40)
            start = bytes.load(littleEndian: UInt64.self, at: 48)
        }

        /// The directory, where the end record says the same or leaves it to this record.
        func directory(agreeingWith end: EndRecord, at offset: UInt64) throws(ArchiveError) -> ZipDirectory {
            guard disk == 0, directoryDisk == 0, diskEntryCount == entryCount else {
                throw .severalDisks(at: offset)
            }
            guard end.start == .max || UInt64(end.start) == start,
                end.byteCount == .max || UInt64(end.byteCount) == byteCount,
                end.entryCount == .max || UInt64(end.entryCount) == entryCount
            else {
                throw ArchiveError(
                    .unsafe, "zip64-mismatch", "the two end records describe different directories",
                    offset: offset)
            }
            return ZipDirectory(start: start, byteCount: byteCount, entryCount: entryCount)
        }
    }
}

extension ArchiveError {
    static func severalDisks(at offset: UInt64) -> ArchiveError {
        ArchiveError(
            .unsupported, "multi-disk", "the archive is one part of several: join them first", offset: offset)
    }
}
