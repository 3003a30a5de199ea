public import Checkpoints
internal import SafeTensors
public import TensorCore

/// The formats that are known, and how a path becomes a checkpoint.
public enum FormatRegistry {
    /// The formats of one file, in the order in which they are asked.
    public static let fileFormats: [any FileFormat] = [
        GGUFFormat(),
        NPYFormat(),
        NPZFormat(),
        ONNXFormat(),
        HDF5Format(),
        KerasFormat(),
        NeMoFormat(),
        PyTorchFormat(),
        SafeTensorsFormat(),
        FlaxFormat(),
    ]
    /// The formats of a whole directory, in the order in which they are asked; a directory of none of them is
    /// one of the hub's layout.
    public static let directoryFormats: [any DirectoryFormat] = [
        MLXFormat(),
        DCPFormat(),
        HubShardsFormat(),
        DeepSpeedFormat(),
        MetaFormat(),
        OrbaxFormat(),
        GGUFFormat(),
    ]
    /// Every format.
    public static var formats: [any CheckpointFormat] {
        var known: Set<String> = []
        return (directoryFormats + fileFormats).filter { known.insert($0.name).inserted }
    }

    /// Opens a weights file or a model directory, reading headers only.
    public static func open(
        path: String, options: ReadOptions = ReadOptions()
    ) throws(CheckpointError) -> OpenedModel {
        let model = try openAsStored(path: path, options: options)
        guard case .scheme(let scheme) = options.names else { return model }
        return try model.renamed(to: scheme, path: path, options: options)
    }

    private static func openAsStored(
        path: String, options: ReadOptions
    ) throws(CheckpointError) -> OpenedModel {
        let kind: FileSystem.Kind?
        do { kind = try FileSystem.kind(of: path) } catch { throw CheckpointError(error) }
        switch kind {
        case nil:
            throw CheckpointError(.io, "not-found", "\(escapedForDisplay(path)) does not exist", file: path)
        case .directory:
            let listing = try DirectoryListing(path: path)
            for format in directoryFormats where try format.recognizes(listing) {
                let model = try format.read(listing, options: options)
                try checkTotals(model.checkpoint, path: path)
                return model
            }
            var directory = try ModelDirectory(listing)
            var checkpoint = try readWeights(of: directory, options: options)
            try TrainerFiles.add(from: listing, to: &checkpoint)
            if case .file = directory.weights, checkpoint.files.count > 1 {
                // The file refers to others, which are weights too.
                directory = ModelDirectory(listing, weights: .parts(checkpoint.files.map(\.path)))
            }
            try checkTotals(checkpoint, path: path)
            return OpenedModel(checkpoint: checkpoint, directory: directory)
        default:
            let checkpoint = try readFile(at: path, name: Path.name(of: path), options: options)
            try checkTotals(checkpoint, path: path)
            return OpenedModel(checkpoint: checkpoint, directory: nil)
        }
    }

    /// Refuses what no disk holds, so that sums over all tensors and files need no further care.
    private static func checkTotals(_ checkpoint: Checkpoint, path: String) throws(CheckpointError) {
        var total: UInt64 = 0
        func add(_ size: UInt64) throws(CheckpointError) {
            let (sum, overflow) = total.addingReportingOverflow(size)
            guard !overflow, sum <= UInt64(Int64.max) else {
                throw CheckpointError(
                    .malformed, "size-overflow", "its tensors and files add up to more than 2^63 bytes",
                    file: path)
            }
            total = sum
        }
        if !checkpoint.tensors.isPartition {
            for tensor in checkpoint.tensors {
                try add(tensor.byteCount)
                try add(tensor.elementCount)
            }
        }
        for file in checkpoint.files { try add(file.source.byteCount) }
    }

    private static func readFile(
        at path: String, name: String, options: ReadOptions
    ) throws(CheckpointError) -> Checkpoint {
        let file: InputFile
        do { file = try InputFile(path: path) } catch { throw CheckpointError(error) }
        return try read(WeightsFile(file, name: name, directory: Path.parent(of: path)), options: options)
    }

    /// Reads the headers of one weights file that may be anywhere.
    ///
    /// - Parameters:
    ///   - source: the file; it is read by ranges, and only as far as the headers go.
    ///   - name: its name, which is what says that a file without a signature is meant to be of a format.
    ///   - options: the caller's choices.
    public static func open(
        source: any ByteSource, name: String, options: ReadOptions = ReadOptions()
    ) throws(CheckpointError) -> OpenedModel {
        let checkpoint = try read(WeightsFile(source, name: name), options: options)
        try checkTotals(checkpoint, path: source.name)
        return OpenedModel(checkpoint: checkpoint, directory: nil)
    }

    /// Reads a file by the first format that recognises it.
    static func read(_ file: WeightsFile, options: ReadOptions) throws(CheckpointError) -> Checkpoint {
        for format in fileFormats where format.recognizes(file) {
            return try format.read(file, options: options)
        }
        throw FileKind.refusal(head: file.head, file: file.source.name)
    }

    static func readWeights(
        of directory: ModelDirectory, options: ReadOptions
    ) throws(CheckpointError) -> Checkpoint {
        switch directory.weights {
        case .file(let name):
            return try readFile(at: Path.join(directory.path, name), name: name, options: options)
        case .shards(let indexName, let files):
            var index: ShardIndex?
            var indexFile: SourceFile?
            if let indexName {
                (index, indexFile) = try readIndex(Path.join(directory.path, indexName), name: indexName)
            }
            if let index { try checkLeftover(files, index: index, directory: directory.path) }
            var parts: [(file: String, checkpoint: Checkpoint)] = []
            for file in (index?.files ?? files).sorted(by: { $0.utf8.lexicographicallyPrecedes($1.utf8) }) {
                let path = Path.join(directory.path, file)
                let kind: FileSystem.Kind?
                do throws(IOError) { kind = try FileSystem.kind(of: path) } catch {
                    throw CheckpointError(error)
                }
                guard kind != nil else {
                    throw CheckpointError(
                        .malformed, "shard-missing",
                        "the index lists \(escapedForDisplay(file)), which is not there", file: directory.path
                    )
                }
                parts.append((file, try readFile(at: path, name: file, options: options)))
            }
            var whole = try Checkpoint.merging(
                parts, weightMap: index?.entries.map { (name: $0.tensor, file: $0.file) },
                directory: directory.path)
            if let indexFile { whole.files.append(indexFile) }
            for file in files where !parts.contains(where: { $0.file.utf8.elementsEqual(file.utf8) }) {
                whole.skipped.append(SkippedItem(name: file, reason: "weights that the index does not list"))
                whole.warnings.append(
                    CheckpointWarning("unreferencedShard", "the index does not list it", file: file))
            }
            return whole
        case .parts:
            throw CheckpointError(
                .unsupported, "unknown-format", "the directory is of no format that is read",
                file: directory.path)
        }
    }

    /// Refuses an index that lists some files of a numbered set and leaves out others that are there.
    private static func checkLeftover(
        _ files: [String], index: ShardIndex, directory: String
    ) throws(CheckpointError) {
        let listed = Set(index.files.map { ByteKey($0) })
        let sets = Set(index.files.compactMap { ShardName($0)?.set })
        for file in files where !listed.contains(ByteKey(file)) {
            guard let name = ShardName(file), sets.contains(name.set) else { continue }
            throw CheckpointError(
                .malformed, "index-incomplete",
                "\(escapedForDisplay(file)) belongs to the same set of shards as those that the index lists, "
                    + "but the index leaves it out", file: directory)
        }
    }

    private static func readIndex(
        _ path: String, name: String
    ) throws(CheckpointError) -> (ShardIndex, SourceFile) {
        let file: InputFile
        let contents: [UInt8]
        do {
            file = try InputFile(path: path)
            contents = try FileSystem.contents(of: path, limit: ShardIndex.byteCountLimit)
        } catch {
            throw CheckpointError(error)
        }
        do {
            let fileExtension = name.contains(".bin.") ? "bin" : "safetensors"
            let index = try ShardIndex(parsing: contents, fileExtension: fileExtension)
            return (index, SourceFile(path: name, source: file))
        } catch {
            throw CheckpointError(error, file: path)
        }
    }
}
