public import Checkpoints
internal import TensorCore

/// GGUF files, whole or split, as llama.cpp and what stands on it write them.
public struct GGUFFormat: FileFormat, DirectoryFormat {
    /// Makes the format.
    public init() {}

    /// The identifier.
    public var name: String { "gguf" }
    /// One line for people.
    public var summary: String { "GGUF (llama.cpp, Ollama, Unsloth), whole or split, quantised or not" }
    /// The usual file names.
    public var patterns: String { "*.gguf" }

    /// The signature, or the extension.
    public func recognizes(_ file: WeightsFile) -> Bool {
        file.head.starts(with: "GGUF".utf8) || file.name.hasSuffix(".gguf")
    }

    /// Reads the headers of a file, and of the others that it was split into.
    public func read(_ file: WeightsFile, options: ReadOptions) throws(CheckpointError) -> Checkpoint {
        try GGUFReader(options).read(GGUFShardSet(file))
    }

    /// Whether the only weights of the directory are the files that one GGUF was split into.
    ///
    /// A directory with a single GGUF file is one of the hub's layout.
    public func recognizes(_ listing: DirectoryListing) throws(CheckpointError) -> Bool {
        let others = [".safetensors", ".bin", ".pt", ".pth", ".ckpt"]
        guard !listing.files.contains(where: { name in others.contains { name.hasSuffix($0) } }) else {
            return false
        }
        let files = listing.files.filter { $0.hasSuffix(".gguf") }
        let sets = Set(files.map { ShardName($0)?.set })
        return files.count > 1 && sets.count == 1 && sets.first != .some(nil)
    }

    /// Reads the headers of the files.
    public func read(_ listing: DirectoryListing, options: ReadOptions) throws(CheckpointError) -> OpenedModel
    {
        let files = listing.files.filter { $0.hasSuffix(".gguf") }
        let first = try WeightsFile(listing.open(files[0]), name: files[0], directory: listing.path)
        return OpenedModel(
            checkpoint: try read(first, options: options),
            directory: ModelDirectory(listing, weights: .parts(files)))
    }
}
