internal import Checkpoints
internal import StrictJSON
internal import TensorCore

/// Reads the table of a `torch.distributed.checkpoint` from its metadata and the headers of its items.
struct DCPReader {
    /// The name of the format.
    static let formatName = "dcp"
    /// The name of the metadata file.
    static let metadataName = ".metadata"

    private let files: CheckpointFiles
    /// What stands before file names in the table.
    private let prefix: String
    private let options: ReadOptions
    /// What holds the files, for errors.
    private var place: String { files.location }

    private static let metadataLimit = PickleLimits().byteCount
    private static let tensorLimit = 1_000_000

    init(_ files: CheckpointFiles, prefix: String = "", options: ReadOptions) {
        self.files = files
        self.prefix = prefix
        self.options = options
    }

    /// The weights, without the training state.
    func read() throws(CheckpointError) -> Checkpoint {
        let (metadata, metadataFiles) = try readMetadata()
        let selection = try DCPSelection(metadata.items, root: options.root, file: place)
        guard selection.tensors.count <= Self.tensorLimit else {
            throw CheckpointError(
                .malformed, "tensor-limit", "the metadata describes more than \(Self.tensorLimit) tensors",
                file: place)
        }
        let opened = try open(metadata, selection)
        let reader = DCPSliceReader(files: opened.byName)
        var table = DCPTable(reader: reader, options: options, place: place, files: opened.files)
        try table.add(selection.tensors.map { (metadata.items[$0.index], $0.name) })
        var checkpoint = Checkpoint(
            format: Self.formatName, tensors: table.tensors,
            files: metadataFiles + table.sourceFiles(prefix: prefix),
            skipped: selection.skipped + table.skipped, warnings: table.warnings, root: selection.root)
        var values = DCPValues(reader: reader)
        try values.read(selection.values.map { metadata.items[$0] })
        checkpoint.values = values.members
        checkpoint.skipped += values.skipped + unusedFiles(metadata)
        checkpoint.warnings += values.skipped.filter { $0.tensorCount > 0 }.map { item in
            CheckpointWarning(
                "tensor-in-value",
                "\(item.name) is a pickled value that holds tensors (\(item.tensorCount)), which are not exported: save "
                    + "them as entries of their own", file: place)
        }
        return checkpoint
    }
}

extension DCPReader {
    /// What the one metadata file says, or those of all ranks where each wrote its own.
    private func readMetadata() throws(CheckpointError) -> (DCPMetadata, [SourceFile]) {
        let ranks = files.names.filter(Self.isRankMetadata)
        let names = files.has(Self.metadataName) ? [Self.metadataName] : ranks
        guard !names.isEmpty else { throw incomplete() }
        var metadata = DCPMetadata()
        var sources: [SourceFile] = []
        for name in names {
            let bytes = try files.contents(of: name, limit: Self.metadataLimit)
            for item in try DCPMetadataParser.items(of: bytes, file: prefix + name) {
                guard let name = metadata.merge(item) else { continue }
                throw CheckpointError(
                    .malformed, "metadata-disagrees",
                    "the metadata files of two ranks describe it differently",
                    file: place, tensor: TensorName(utf8: name))
            }
            sources.append(SourceFile(path: prefix + name, source: try files.open(name)))
        }
        try checkRanks(ranks, isUsed: names == ranks)
        return (metadata, sources)
    }

    /// Whether a file is the metadata of one rank: `__3.metadata`.
    static func isRankMetadata(_ name: String) -> Bool {
        name.hasPrefix("__") && name.hasSuffix(".metadata")
            && name.utf8.dropFirst(2).dropLast(9).allSatisfy { 0x30...0x39 ~= $0 } && name.utf8.count > 11
    }

    /// Whether a file holds items: `__3_0.distcp`.
    static func isData(_ name: String) -> Bool { name.hasPrefix("__") && name.hasSuffix(".distcp") }

    /// Refuses a gap in the ranks that wrote their own metadata.
    private func checkRanks(_ names: [String], isUsed: Bool) throws(CheckpointError) {
        guard isUsed else { return }
        let ranks = Set(names.compactMap { Int($0.dropFirst(2).dropLast(9)) })
        guard let missing = (0..<(ranks.max() ?? 0)).first(where: { !ranks.contains($0) }) else { return }
        throw CheckpointError(
            .malformed, "metadata-missing",
            "each rank wrote its own metadata, and __\(missing).metadata is not there: fetch it", file: place)
    }

    private func incomplete() -> CheckpointError {
        let wasBegun = files.names.contains { $0.hasSuffix(".metadata.tmp") }
        return CheckpointError(
            .malformed, "metadata-missing",
            "there is no .metadata, which PyTorch writes last"
                + (wasBegun ? " (.metadata.tmp shows that it was about to)" : "")
                + ": the checkpoint was not saved to its end, or the hidden file was not copied", file: place)
    }

    /// Opens each file that something which is taken lies in.
    private func open(
        _ metadata: DCPMetadata, _ selection: DCPSelection
    ) throws(CheckpointError) -> (
        files: [(name: String, source: any ByteSource)], byName: [ByteKey: any ByteSource]
    ) {
        var opened: [(name: String, source: any ByteSource)] = []
        var byName: [ByteKey: any ByteSource] = [:]
        for index in selection.tensors.map(\.index) + selection.values {
            let item = metadata.items[index]
            for slice in item.slices {
                let key = ByteKey(slice.file)
                guard byName[key] == nil else { continue }
                do throws(CheckpointError) {
                    let source = try files.open(slice.file)
                    byName[key] = source
                    opened.append((slice.file, source))
                } catch {
                    throw error.naming(item.name)
                }
            }
        }
        return (opened, byName)
    }

    /// Files of items that the metadata does not refer to, as an earlier save with more ranks leaves behind.
    private func unusedFiles(_ metadata: DCPMetadata) -> [SkippedItem] {
        var used: Set<ByteKey> = []
        for item in metadata.items {
            for slice in item.slices { used.insert(ByteKey(slice.file)) }
        }
        return files.names.filter { Self.isData($0) && !used.contains(ByteKey($0)) }
            .map { SkippedItem(name: prefix + $0, reason: "the metadata does not refer to it") }
    }
}

extension DCPMetadata.Item {
    /// Where its bytes are.
    var slices: [DCPMetadata.Slice] {
        switch content {
        case .tensor(_, _, let chunks): chunks.map(\.slice)
        case .value(let slice): [slice]
        }
    }
}
