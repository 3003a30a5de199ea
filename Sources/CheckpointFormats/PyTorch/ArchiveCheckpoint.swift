internal import Archives
internal import Checkpoints
internal import TensorCore

/// A zip archive of PyTorch: one folder with `data.pkl` and a member for each storage under `data/`.
struct ArchiveCheckpoint {
    let archive: ZipArchive
    let folder: String
    let displayName: String
    let limits = PickleLimits()

    /// - Parameter range: the part of the source that is the archive; all of it where nil.
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

    func read(root: String?) throws(CheckpointError) -> Checkpoint {
        try checkVersion()
        guard let pickle = archive.entry(named: folder + "data.pkl") else {
            throw CheckpointError(
                .malformed, "entry-name", "the folder's name is not UTF-8", file: displayName)
        }
        let bytes = try contents(of: pickle, limit: limits.byteCount)
        var globals = PickleGlobals.weights
        globals.allowsTorchScript = archive.entry(named: folder + "constants.pkl") != nil
        var machine = PickleMachine(bytes, file: displayName, member: pickle.text, globals: globals)
        let top = try machine.run()
        var warnings = try trailingPickles(bytes, after: machine.position, member: pickle.text)
        let (storages, checksums, lacksChecksum) = try storageTable()
        if lacksChecksum || pickle.lacksChecksum {
            warnings.append(
                CheckpointWarning(
                    "crc-absent",
                    "the archive states no CRC-32, so damage since it was written cannot be noticed",
                    file: displayName))
        }
        let state = PickledState(
            heap: machine.heap, top: top, storages: storages, opensRecords: globals.allowsTorchScript)
        var checkpoint = try state.checkpoint(root: root, displayName: displayName, member: pickle.text)
        checkpoint.files[0].checksums = checksums
        checkpoint.warnings += warnings
        return checkpoint
    }

    /// Bytes after the first pickle are never loaded; what they ask for is looked at all the same.
    private func trailingPickles(
        _ bytes: [UInt8], after position: Int, member: String
    ) throws(CheckpointError) -> [CheckpointWarning] {
        guard position < bytes.count else { return [] }
        var position = position
        while position < bytes.count {
            var machine = PickleMachine(bytes, at: position, file: displayName, member: member)
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

    /// The storages, and the checksums of their members in order of place.
    func storageTable() throws(CheckpointError) -> (StorageTable, [RangeChecksum], Bool) {
        var table = StorageTable(source: archive.source)
        table.isBigEndian = try isBigEndian()
        var checksums: [RangeChecksum] = []
        var lacksChecksum = false
        let prefix = Array((folder + "data/").utf8)
        for entry in archive.entries where entry.name.starts(with: prefix) {
            let isDeflated = entry.method == .deflated
            table.items[ByteKey(Array(entry.name.dropFirst(prefix.count)))] = StorageTable.Item(
                range: entry.dataRange, member: entry.text, isDeflated: isDeflated)
            if entry.lacksChecksum {
                lacksChecksum = true
            } else if entry.byteCount > 0, !isDeflated {
                checksums.append(
                    RangeChecksum(range: entry.dataRange, crc32: entry.crc32, label: entry.text))
            }
        }
        checksums.sort { $0.range.lowerBound < $1.range.lowerBound }
        return (table, checksums, lacksChecksum)
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
