public import Checkpoints
public import TensorCore

/// Reads the files that `torch.save` writes (`.pt`, `.pth`, `.bin`, `.ckpt`) without running anything in them.
public enum PyTorchReader {
    /// The name of the format.
    public static let formatName = "pytorch"

    /// Whether a file is one for this reader: by its first bytes, or by its name where they say nothing.
    ///
    /// A file with a name of PyTorch's and the content of another format is accepted too, so that reading it
    /// says what it really is.
    ///
    /// - Parameters:
    ///   - firstBytes: the first bytes of the file; 512 are enough.
    ///   - path: its path.
    public static func recognizes(firstBytes: [UInt8], path: String) -> Bool {
        FileContent.isPyTorch(firstBytes) || hasFamiliarName(path)
    }

    private static func hasFamiliarName(_ path: String) -> Bool {
        let name = Path.name(of: path)
        return [".pt", ".pth", ".bin", ".ckpt", ".pkl"].contains { name.hasSuffix($0) }
    }

    /// Reads the table of a file.
    ///
    /// - Parameters:
    ///   - path: the file.
    ///   - displayName: what it is called in the table and in errors; its last path component where nil.
    ///   - root: the path of the nested dictionary that holds the weights, its keys joined by dots; empty for
    ///     the whole file; nil to find it by the keys that trainers use.
    /// - Throws: where the file asks for code to be run, is damaged, or is of a kind that is not supported.
    public static func readFile(
        path: String, displayName: String? = nil, root: String? = nil
    ) throws(CheckpointError) -> Checkpoint {
        let file: InputFile
        do { file = try InputFile(path: path) } catch { throw CheckpointError(error) }
        return try read(file, displayName: displayName ?? Path.name(of: path), root: root)
    }

    /// Reads the table of a file that is a source already.
    public static func read(
        _ source: any ByteSource, displayName: String, root: String? = nil
    ) throws(CheckpointError) -> Checkpoint {
        let firstBytes: [UInt8]
        do {
            firstBytes = try source.bytes(at: 0, count: Int(min(512, source.byteCount)))
        } catch {
            throw CheckpointError(error)
        }
        switch FileContent(firstBytes) {
        case .zip:
            return try ArchiveCheckpoint(source, displayName: displayName).read(root: root)
        case .legacyPyTorch:
            return try LegacyCheckpoint(source, displayName: displayName).read(root: root)
        case .pickle:
            try LegacyCheckpoint.refuseBarePickle(source, displayName: displayName)
        case .other(let description):
            throw CheckpointError(
                .unsupported, "not-pytorch", "this is not a PyTorch file but \(description)",
                file: displayName)
        case .unknown:
            throw CheckpointError(
                .malformed, "not-pytorch",
                "this is neither a zip archive nor a pickle, so PyTorch did not write it or it is damaged",
                file: displayName)
        }
    }
}

/// Builds a checkpoint from a pickle's result and its storages, the same for all containers.
struct PickledState {
    var heap: PickleHeap
    var top: PickleValue
    var storages: StorageTable
    var opensRecords = false

    /// The checkpoint without its checksums.
    func checkpoint(
        root: String?, displayName: String, member: String?
    ) throws(CheckpointError) -> Checkpoint {
        let nesting = CheckpointError(
            .malformed, "nesting-limit", "containers are nested more than 1000 deep", file: displayName,
            member: member)
        let tree = try StateTree(
            heap, root: top, opensRecords: opensRecords, limit: 1000, onNesting: nesting)
        let selection =
            if let root {
                try RootSelection(at: root, in: top, of: tree, file: displayName)
            } else {
                try RootSelection(choosingIn: top, of: tree, file: displayName)
            }
        let builder = TensorBuilder(heap: heap, storages: storages, file: displayName)
        var table = TableBuilder(tree: tree, builder: builder, file: displayName)
        try table.add(selection)
        return Checkpoint(
            format: PyTorchReader.formatName, tensors: table.tensors,
            files: [SourceFile(path: displayName, source: storages.source)],
            skipped: selection.skipped + table.skipped + summary(of: tree), root: selection.path)
    }

    /// One line for all values that are not tensors.
    private func summary(of tree: StateTree) -> [SkippedItem] {
        let leaves = tree.count(top).leaves
        guard leaves > 0 else { return [] }
        let arrays = heap.calls.count {
            if case .array = heap.globals[Int($0.global)].role { true } else { false }
        }
        let note = arrays > 0 ? ", among them \(arrays) NumPy arrays or scalars" : ""
        return [SkippedItem(name: "(\(leaves) values)", reason: "not tensors\(note)")]
    }
}
