internal import Archives
internal import Checkpoints
internal import TensorCore

/// Collects the arrays of an archive.
struct NPZReader {
    let archive: ZipArchive
    let file: WeightsFile
    let options: ReadOptions
    private var tensors: [TensorRecord] = []
    private var names: Set<TensorName> = []
    private var checksums: [RangeChecksum] = []
    private var skipped: [SkippedItem] = []
    private var warnings: [CheckpointWarning] = []
    private var lacksChecksum = false

    init(archive: ZipArchive, file: WeightsFile, options: ReadOptions) {
        self.archive = archive
        self.file = file
        self.options = options
    }

    /// Adds the array that a member holds, or lists it as left out.
    mutating func add(_ entry: ZipEntry) throws(CheckpointError) {
        guard entry.name.suffix(4).elementsEqual(".npy".utf8) else {
            if entry.name.last != 0x2F {
                skipped.append(SkippedItem(name: entry.text, reason: "a member that is no array"))
            }
            return
        }
        guard String(validating: entry.name, as: UTF8.self) != nil else {
            throw CheckpointError(
                .malformed, "entry-name", "the member's name is not UTF-8", file: file.name,
                member: entry.text,
                offset: entry.headerOffset)
        }
        guard let array = try array(in: entry) else { return }
        let name = TensorName(utf8: Array(entry.name.dropLast(4)))
        guard names.insert(name).inserted else {
            throw CheckpointError(
                .malformed, "duplicate-name", "two members have this name", file: file.name,
                member: entry.text, tensor: name)
        }
        tensors.append(TensorRecord(name: name, array.tensor))
        lacksChecksum = lacksChecksum || entry.lacksChecksum
        if entry.method == .stored, entry.byteCount > 0, !entry.lacksChecksum {
            checksums.append(RangeChecksum(range: entry.dataRange, crc32: entry.crc32, label: entry.text))
        }
        if array.trailingByteCount > 0 {
            warnings.append(
                CheckpointWarning(
                    "trailing-bytes",
                    "\(array.trailingByteCount) bytes follow the array in its member; they were not used",
                    file: file.name, tensor: name))
        }
    }

    /// The array, or nil where it cannot be represented and such are to be left out.
    private mutating func array(in entry: ZipEntry) throws(CheckpointError) -> NPYArray? {
        let (source, range): (any ByteSource, Range<UInt64>)
        do {
            (source, range) = try archive.data(of: entry, name: file.source.name + "!" + entry.text)
        } catch {
            throw CheckpointError(error, file: file.name)
        }
        do {
            return try NPYArray(
                reading: source, range: range, options: options, file: file.name, member: entry.text)
        } catch {
            // Objects are no danger where they are left out: they are never looked at.
            guard options.skipsUnsupported, error.class == .unsupported || error.code == "object-dtype" else {
                throw error
            }
            skipped.append(SkippedItem(name: entry.text, reason: error.message, tensorCount: 1))
            return nil
        }
    }

    /// The checkpoint of all that was added.
    func checkpoint(format: String) -> Checkpoint {
        var source = SourceFile(path: file.name, source: file.source)
        source.checksums = checksums.sorted { $0.range.lowerBound < $1.range.lowerBound }
        var warnings = warnings
        if lacksChecksum {
            warnings.append(
                CheckpointWarning(
                    "crc-absent",
                    "the archive states no CRC-32, so damage since it was written cannot be noticed",
                    file: file.name))
        }
        return Checkpoint(
            format: format, tensors: tensors, files: [source], skipped: skipped, warnings: warnings)
    }
}
