internal import Archives
public import Checkpoints
internal import StrictJSON
internal import TensorCore

/// HDF5 files, as Keras writes weights and whole models.
public struct HDF5Format: FileFormat {
    /// Makes the format.
    public init() {}

    /// The identifier.
    public var name: String { "hdf5" }
    /// One line for people.
    public var summary: String { "Keras and other HDF5: datasets by their paths, code never run" }
    /// The usual file names.
    public var patterns: String { "*.h5 *.weights.h5 *.hdf5" }

    /// The signature, or an extension.
    public func recognizes(_ file: WeightsFile) -> Bool {
        file.head.starts(with: HDF5File.magic) || file.name.hasSuffix(".h5") || file.name.hasSuffix(".hdf5")
    }

    /// Reads the structures of a file.
    public func read(_ file: WeightsFile, options: ReadOptions) throws(CheckpointError) -> Checkpoint {
        let hdf5 = try HDF5File(file.source, range: 0..<file.source.byteCount, name: file.name)
        var reader = HDF5Reader(hdf5, of: file, options: options)
        return try reader.read(format: name)
    }
}

/// Whole models of Keras 3: a zip archive of a config and HDF5 weights.
public struct KerasFormat: FileFormat {
    /// Makes the format.
    public init() {}

    /// The identifier.
    public var name: String { "keras" }
    /// One line for people.
    public var summary: String { "Keras 3 archive: weights and config, code never run" }
    /// The usual file names.
    public var patterns: String { "*.keras" }

    private static let weights = "model.weights.h5"
    private static let configLimit = 16 << 20
    /// What of a compressed file can be read in any order.
    private static let inflatedLimit: UInt64 = 16 << 20

    /// A zip archive with weights, or the extension.
    public func recognizes(_ file: WeightsFile) -> Bool {
        if file.name.hasSuffix(".keras") { return true }
        guard file.head.starts(with: [0x50, 0x4B, 3, 4]), file.head.count > 30,
            file.head[30...].starts(with: "metadata.json".utf8)
        else { return false }
        return (try? ZipArchive(reading: file.source))?.entry(named: Self.weights) != nil
    }

    /// Reads the config and the structures of the weights.
    public func read(_ file: WeightsFile, options: ReadOptions) throws(CheckpointError) -> Checkpoint {
        let archive: ZipArchive
        do { archive = try ZipArchive(reading: file.source) } catch {
            throw CheckpointError(error, file: file.name)
        }
        guard let entry = archive.entry(named: Self.weights) else {
            throw CheckpointError(
                .unsupported, "keras-weights", "the archive has no \(Self.weights)", file: file.name)
        }
        guard entry.method == .stored || entry.byteCount <= Self.inflatedLimit else {
            throw CheckpointError(
                .unsupported, "keras-compressed", "its weights are compressed; unpack the archive first",
                file: file.name, member: entry.text)
        }
        let (source, range): (any ByteSource, Range<UInt64>)
        do { (source, range) = try archive.data(of: entry, name: file.source.name + "!" + entry.text) } catch
        {
            throw CheckpointError(error, file: file.name)
        }
        let hdf5 = try HDF5File(source, range: range, name: file.name, member: entry.text)
        var reader = HDF5Reader(hdf5, of: file, options: options)
        var checkpoint = try reader.read(format: name)
        if entry.method == .stored, !entry.lacksChecksum, entry.byteCount > 0 {
            checkpoint.files[0].checksums = [
                RangeChecksum(range: entry.dataRange, crc32: entry.crc32, label: entry.text)
            ]
        }
        try addConfig(of: archive, file: file.name, to: &checkpoint)
        return checkpoint
    }

    private func addConfig(
        of archive: ZipArchive, file: String, to checkpoint: inout Checkpoint
    ) throws(CheckpointError) {
        for entry in archive.entries where !entry.name.elementsEqual(Self.weights.utf8) {
            let key: String? =
                switch entry.text {
                case "config.json": "model_config"
                case "metadata.json": "keras_metadata"
                default: nil
                }
            guard let key else {
                checkpoint.skipped.append(SkippedItem(name: entry.text, reason: "an asset of the model"))
                continue
            }
            let bytes: [UInt8]
            do { bytes = try archive.contents(of: entry, limit: Self.configLimit) } catch {
                throw CheckpointError(error, file: file)
            }
            let json = (try? JSONValue(parsing: bytes)) ?? .string(String(decoding: bytes, as: UTF8.self))
            checkpoint.values.append(JSONMember(key, json))
            if key == "model_config" { checkpoint.warnings += KerasConfig.warnings(json, file: file) }
        }
    }
}
