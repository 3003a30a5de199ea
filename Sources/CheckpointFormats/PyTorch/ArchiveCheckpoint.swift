internal import Archives
internal import Checkpoints
internal import TensorCore

/// A zip archive of PyTorch: one folder with `data.pkl` and a member for each storage under `data/`.
struct ArchiveCheckpoint {
    let archive: ZipArchive
    let folder: String
    let displayName: String
    let limits = PickleLimits()

    /// Reads the directory of an archive that is a file, or a part of one.
    init(
        _ source: any ByteSource, range: Range<UInt64>? = nil, displayName: String
    ) throws(CheckpointError) {
        do {
            archive = try ZipArchive(reading: source, range: range)
        } catch {
            throw CheckpointError(error, file: displayName)
        }
        self.displayName = displayName
        folder = try Self.folder(of: archive, displayName)
    }

    /// The one folder that all members are in, found by its `data.pkl`.
    private static func folder(of archive: ZipArchive, _ file: String) throws(CheckpointError) -> String {
        let pickle = archive.entries.first { entry in
            entry.name.count > 9 && entry.name.suffix(9).elementsEqual("/data.pkl".utf8)
                && entry.name.count(where: { $0 == 0x2F }) == 1
        }
        guard let pickle else {
            throw CheckpointError(
                .unsupported, "not-pytorch", "this zip archive has no data.pkl, so PyTorch did not write it",
                file: file)
        }
        let folder = pickle.name.dropLast(8)
        if let stray = archive.entries.first(where: { !$0.name.starts(with: folder) }) {
            throw CheckpointError(
                .malformed, "several-folders",
                "a member lies outside the archive's folder '\(escaped(folder))'", file: file,
                member: stray.text, offset: stray.headerOffset)
        }
        return String(decoding: folder, as: UTF8.self)
    }

    func read(_ options: ReadOptions) throws(CheckpointError) -> Checkpoint {
        try checkVersion()
        guard let pickle = archive.entry(named: folder + "data.pkl") else {
            throw CheckpointError(
                .malformed, "entry-name", "the folder's name is not UTF-8", file: displayName)
        }
        // A few compressed bytes may not become a quarter of a gigabyte.
        let bytes = try contents(
            of: pickle, limit: pickle.method == .deflated ? 16 << 20 : limits.byteCount)
        var globals = PickleGlobals.weights
        globals.allowsOpaque = options.allowsOpaque
        globals.allowsTorchScript = archive.entry(named: folder + "constants.pkl") != nil
        var machine = PickleMachine(bytes, file: displayName, member: pickle.text, globals: globals)
        let top = try machine.run()
        var warnings = try trailingPickles(
            bytes, after: machine.position, member: pickle.text, globals: globals)
        let storages = try storageTable()
        if archive.entries.contains(where: { isStorage($0) && $0.lacksChecksum }) || pickle.lacksChecksum {
            warnings.append(
                CheckpointWarning(
                    "crc-absent",
                    "the archive states no CRC-32, so damage since it was written cannot be noticed",
                    file: displayName))
        }
        let state = PickledState(
            heap: machine.heap, top: top, storages: storages, opensRecords: globals.allowsTorchScript)
        var checkpoint = try state.checkpoint(options, displayName: displayName, member: pickle.text)
        addChecksums(to: &checkpoint.files[0])
        checkpoint.warnings += warnings
        return checkpoint
    }

    /// Bytes after the first pickle are never loaded; what they ask for is looked at all the same.
    private func trailingPickles(
        _ bytes: [UInt8], after position: Int, member: String, globals: PickleGlobals
    ) throws(CheckpointError) -> [CheckpointWarning] {
        guard position < bytes.count else { return [] }
        var position = position
        while position < bytes.count {
            var machine = PickleMachine(
                bytes, at: position, file: displayName, member: member, globals: globals)
            do {
                _ = try machine.run()
            } catch {
                if error.class == .unsafe { throw error }
                break
            }
            position = machine.position
        }
        return [
            CheckpointWarning(
                "bytes-after-pickle", "data.pkl goes on after its end; the rest was not used",
                file: displayName)
        ]
    }

    func isStorage(_ entry: ZipEntry) -> Bool { entry.name.starts(with: (folder + "data/").utf8) }

    /// The storages by key.
    func storageTable() throws(CheckpointError) -> StorageTable {
        var table = StorageTable(source: archive.source)
        table.isBigEndian = try isBigEndian()
        let prefixCount = folder.utf8.count + 5
        for entry in archive.entries where isStorage(entry) {
            try checkRatio(of: entry)
            let source = entry.method == .deflated ? inflated(entry, checked: true) : archive.source
            let offset = entry.method == .deflated ? 0 : entry.dataOffset
            table.items[ByteKey(Array(entry.name.dropFirst(prefixCount)))] = StorageTable.Item(
                extent: Extent(source: source, offset: offset, byteCount: entry.byteCount), member: entry.text
            )
        }
        return table
    }

    /// The data of a deflated member.
    ///
    /// - Parameter checked: whether reading it to its end fails where the CRC-32 is not the stated one.
    private func inflated(_ entry: ZipEntry, checked: Bool) -> DecompressedSource {
        DecompressedSource(
            name: archive.source.name + ": " + entry.text, of: archive.source, range: entry.dataRange,
            compression: .deflate, byteCount: entry.byteCount,
            crc32: checked && !entry.lacksChecksum ? entry.crc32 : nil)
    }

    /// Refuses members that claim to hold far more than any numbers are compressed to.
    private func checkRatio(of entry: ZipEntry) throws(CheckpointError) {
        guard entry.method == .deflated else { return }
        let (most, overflow) = entry.compressedByteCount.multipliedReportingOverflow(by: 128)
        guard overflow || entry.byteCount <= most.addingClamped(64 << 20) else {
            throw CheckpointError(
                .malformed, "inflation-limit",
                "\(entry.compressedByteCount) compressed bytes claim to hold \(entry.byteCount)",
                file: displayName, member: entry.text, offset: entry.headerOffset)
        }
    }

    /// The checksums of the storages, in order of place.
    func addChecksums(to file: inout SourceFile) {
        for entry in archive.entries where isStorage(entry) && entry.byteCount > 0 && !entry.lacksChecksum {
            let isStored = entry.method == .stored
            let range = isStored ? entry.dataRange : 0..<entry.byteCount
            let checksum = RangeChecksum(range: range, crc32: entry.crc32, label: entry.text)
            if isStored {
                file.checksums.append(checksum)
            } else {
                let source = inflated(entry, checked: false)
                file.members.append(
                    SourceFile(path: file.path + ": " + entry.text, source: source, checksums: [checksum]))
            }
        }
        file.checksums.sort { $0.range.lowerBound < $1.range.lowerBound }
    }

    func checkVersion() throws(CheckpointError) {
        guard let text = try smallText("version") else { return }
        guard let version = Int(text), 1...10 ~= version else {
            throw CheckpointError(
                .unsupported, "archive-version",
                "the archive has version '\(escaped(text.utf8))', and 1 to 10 are known", file: displayName)
        }
    }

    private func isBigEndian() throws(CheckpointError) -> Bool {
        switch try smallText("byteorder") {
        case nil, "little": return false
        case "big": return true
        case let text?:
            throw CheckpointError(
                .malformed, "byteorder-unknown",
                "the byte order is '\(escaped(text.utf8))', neither little nor big", file: displayName)
        }
    }

    /// The text of a member of a few bytes without the line feed at its end.
    private func smallText(_ name: String) throws(CheckpointError) -> String? {
        guard let entry = archive.entry(named: folder + name) else { return nil }
        var bytes = try contents(of: entry, limit: 64)
        if bytes.last == 0x0A { bytes.removeLast() }
        return String(decoding: bytes, as: UTF8.self)
    }

    func contents(of entry: ZipEntry, limit: Int) throws(CheckpointError) -> [UInt8] {
        do {
            return try archive.contents(of: entry, limit: limit)
        } catch {
            throw CheckpointError(error, file: displayName)
        }
    }
}

extension CheckpointError {
    /// The error of an archive that is a checkpoint's file.
    init(_ error: ArchiveError, file: String) {
        let kind: Class =
            switch error.class {
            case .unsafe: .unsafe
            case .malformed: .malformed
            case .unsupported: .unsupported
            case .io: .io
            }
        self.init(kind, error.code, error.message, file: file, member: error.member, offset: error.offset)
    }
}

extension UInt64 {
    /// The sum, or the largest number where it is beyond that.
    func addingClamped(_ other: UInt64) -> UInt64 {
        let (sum, overflow) = addingReportingOverflow(other)
        return overflow ? .max : sum
    }
}
