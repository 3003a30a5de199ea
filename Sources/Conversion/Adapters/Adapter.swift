internal import CheckpointFormats
public import Checkpoints
internal import StrictJSON
internal import TensorCore

/// A LoRA adapter as it stands in a directory: its settings and its lazy tensors, sorted by what they do.
public struct Adapter: Sendable {
    /// Whose layout the directory has.
    public enum Format: String, Sendable, CaseIterable {
        /// Hugging Face PEFT.
        case peft
        /// Apple's mlx-lm.
        case mlx
    }

    /// The low-rank update of a module.
    public struct Module: Sendable {
        /// The module's path in the model.
        public let name: String
        /// Whether it is an embedding, whose update is the product transposed.
        public let isEmbedding: Bool
        /// The right factor: rank by inputs.
        public let a: TensorExpression
        /// The left factor: outputs by rank.
        public let b: TensorExpression
        /// The magnitude of each output, for DoRA.
        public let magnitude: TensorExpression?
        /// What is added to the module's bias, but for the scale.
        public let bias: TensorExpression?
        /// The rank.
        public let rank: Int
        /// What the product is multiplied by.
        public let scale: Double
        /// How many wrappers are around what is updated.
        let depth: Int
    }

    /// The directory.
    public let path: String
    /// Whose layout it has.
    public let format: Format
    /// What the adapter says about itself.
    public let settings: AdapterSettings
    /// The updates, in the order of the file.
    public private(set) var modules: [Module] = []
    /// Tensors that take the place of the base's.
    public private(set) var replacements: [(name: String, tensor: TensorExpression)] = []
    /// Rows that take the place of an embedding's.
    public private(set) var tokenRows: [(module: String, indices: [UInt64], rows: TensorExpression)] = []
    /// The tensors as they are stored.
    public let checkpoint: Checkpoint
    /// The weights and the config.
    public let files: [SourceFile]
    /// Files of a tokenizer that stand beside the weights.
    public let tokenizer: [EmbeddedFile]

    private static let configLimit = 16 << 20

    /// Opens an adapter, reading headers only.
    ///
    /// - Parameter path: the directory, or the weights file in it.
    public init(path: String) throws(ConversionError) {
        let kind = try inputOutput { () throws(IOError) in try FileSystem.kind(of: path) }
        guard let kind else {
            throw .source(
                CheckpointError(
                    .io, "not-found", "\(escapedForDisplay(path)) does not exist", file: path))
        }
        do throws(CheckpointError) {
            try self.init(listing: DirectoryListing(path: kind == .directory ? path : Path.parent(of: path)))
        } catch { throw .source(error) }
    }

    private init(listing: DirectoryListing) throws(CheckpointError) {
        let names = ["adapter_model.safetensors", "adapter_model.bin", "adapters.safetensors"]
        let isMegatron = listing.has(".metadata") || listing.has("common.pt")
        guard !isMegatron, !listing.files.contains(where: { $0.hasSuffix(".nemo") }) else {
            throw CheckpointError(
                .unsupported, "adapter-megatron",
                "this is an adapter of NeMo or Megatron, which is not read: export it in the layout of Hugging "
                    + "Face first", file: listing.path)
        }
        guard listing.has("adapter_config.json"), let weights = names.first(where: listing.has) else {
            throw CheckpointError(
                .malformed, "not-an-adapter",
                "this is no adapter: adapter_config.json and one of \(names.joined(separator: ", ")) are not "
                    + "all there", file: listing.path)
        }
        let file = try listing.open("adapter_config.json")
        var tokenizer: [EmbeddedFile] = []
        for name in listing.files {
            guard let role = EmbeddedFile(name: name, source: MemorySource(name: name, contents: [])),
                role.file.role == .tokenizer || role.file.role == .chatTemplate,
                let item = EmbeddedFile(name: name, source: try listing.open(name))
            else { continue }
            tokenizer.append(item)
        }
        try self.init(
            path: listing.path, config: SourceFile(path: "adapter_config.json", source: file),
            contents: listing.contents(of: "adapter_config.json", limit: Self.configLimit),
            checkpoint: FormatRegistry.open(path: Path.join(listing.path, weights)).checkpoint,
            tokenizer: tokenizer)
    }

    /// Makes an adapter of its parts.
    ///
    /// - Parameters:
    ///   - path: what it is called in messages.
    ///   - config: `adapter_config.json`.
    ///   - contents: what is in that.
    ///   - checkpoint: the weights.
    ///   - tokenizer: files of a tokenizer.
    package init(
        path: String, config: SourceFile, contents: [UInt8], checkpoint: Checkpoint,
        tokenizer: [EmbeddedFile] = []
    ) throws(CheckpointError) {
        let file = config.source.name
        let json: JSONValue
        do { json = try JSONValue(parsing: contents) } catch {
            throw CheckpointError(
                .malformed, "adapter-config", error.message, file: file, offset: UInt64(error.offset))
        }
        self.path = path
        self.checkpoint = checkpoint
        self.tokenizer = tokenizer
        files = checkpoint.files + [config]
        format = json["peft_type"] == nil && json["fine_tune_type"] != nil ? .mlx : .peft
        settings =
            switch format {
            case .peft: try AdapterSettings(peft: json, file: file)
            case .mlx: try AdapterSettings(mlx: json, file: file)
            }
        try sort()
    }
}

// MARK: - Sorting

extension Adapter {
    /// The tensors of one module.
    private struct Parts {
        var tensors: [(part: AdapterKey.Part, record: TensorRecord)] = []

        subscript(_ part: AdapterKey.Part) -> TensorRecord? { tensors.first { $0.part == part }?.record }
    }

    private struct ModuleKey: Hashable {
        let name: ByteKey
        let depth: Int
    }

    /// The most steps that patterns may take over all names.
    private static let patternWork = 400_000_000

    private mutating func sort() throws(CheckpointError) {
        let names = checkpoint.tensors.reduce(0) { $0 + $1.name.utf8.count }
        let (work, overflow) = names.multipliedReportingOverflow(by: settings.patternSize)
        guard !overflow, work <= Self.patternWork else {
            throw CheckpointError(
                .unsupported, "adapter-too-large",
                "its rank and alpha patterns are too large for its \(checkpoint.tensors.count) tensors",
                file: path)
        }
        var order: [(key: ModuleKey, name: String)] = []
        var parts: [ModuleKey: Parts] = [:]
        for record in checkpoint.tensors {
            let name = record.name.string
            switch format == .peft ? AdapterKey(peft: name) : AdapterKey(mlx: name) {
            case .part(let part, let module, let depth):
                let key = ModuleKey(name: ByteKey(module), depth: depth)
                if parts[key] == nil { order.append((key, module)) }
                guard parts[key]?[part] == nil else {
                    throw error(
                        .malformed, "adapter-key", "\(part.rawValue) of \(module) is there twice", record)
                }
                parts[key, default: Parts()].tensors.append((part, record))
            case .tokenRows(let module):
                tokenRows.append((module, try indices(of: module, record), try expression(record)))
            case .replacement(let name):
                replacements.append((name, try expression(record, isComputed: false)))
            case .unknown:
                throw error(
                    .unsupported, "adapter-key", "it is no part of a LoRA adapter that is known", record)
            }
        }
        for (key, name) in order {
            guard let tensors = parts[key] else { continue }
            modules.append(try module(name, depth: key.depth, tensors))
        }
        guard !modules.isEmpty || !replacements.isEmpty || !tokenRows.isEmpty else {
            throw CheckpointError(.malformed, "no-tensors", "the adapter has no tensor", file: path)
        }
    }

    private func module(_ name: String, depth: Int, _ parts: Parts) throws(CheckpointError) -> Module {
        let isEmbedding = parts[.embeddingA] != nil || parts[.embeddingB] != nil
        guard let first = parts.tensors.first?.record,
            let a = parts[isEmbedding ? .embeddingA : .a], let b = parts[isEmbedding ? .embeddingB : .b]
        else {
            let what = parts.tensors.map(\.part.rawValue).joined(separator: ", ")
            throw CheckpointError(
                .malformed, "adapter-incomplete",
                "of the module \(escapedForDisplay(name)) there is only \(what)", file: path,
                tensor: parts.tensors.first?.record.name)
        }
        var (left, right) = (try expression(b), try expression(a))
        guard right.shape.count >= 2, left.shape.count >= 2 else {
            throw error(
                .malformed, "adapter-shape",
                "its shape is \(first.shape): factors have two dimensions at least. Were they saved before the "
                    + "shards of ZeRO-3 or FSDP were gathered?", first)
        }
        if format == .mlx {
            guard left.shape.count == 2, right.shape.count == 2 else {
                throw error(.unsupported, "adapter-experts", "updates of stacked experts are not read", a)
            }
            do { (left, right) = (try left.transposed(), try right.transposed()) } catch {
                throw self.error(.malformed, "adapter-shape", error.description, a)
            }
        }
        let rank = settings.rank(of: name)
        let stored = right.shape[0]
        guard stored > 0, settings.targetParameters.isEmpty ? stored == UInt64(rank) : true else {
            throw error(
                .malformed, "adapter-rank",
                "its rank is \(stored), and adapter_config.json says \(rank)", a)
        }
        let isMLXEmbedding = format == .mlx && Self.isEmbedding(name)
        return Module(
            name: name, isEmbedding: isEmbedding || isMLXEmbedding, a: right, b: left,
            magnitude: try parts[.magnitude].map { (record) throws(CheckpointError) in
                try expression(record)
            },
            bias: try parts[.bias].map { (record) throws(CheckpointError) in try expression(record) },
            rank: rank, scale: settings.scale(of: name), depth: depth)
    }

    /// Whether a module's name is one that embeddings have.
    static func isEmbedding(_ module: String) -> Bool {
        ["embed_tokens", "wte", "word_embeddings", "embed_in", "tok_embeddings", "embeddings"].contains(
            module.split(separator: ".").last.map(String.init) ?? "")
    }

    private func indices(of module: String, _ record: TensorRecord) throws(CheckpointError) -> [UInt64] {
        let listed = settings.tokenIndices
        let found =
            listed.first { $0.module.isEmpty && listed.count == 1 }
            ?? listed.first { item in
                module.utf8.elementsEqual(item.module.utf8) || module.hasSuffix("." + item.module)
            }
        guard let found, record.shape.count == 2, record.shape[0] == UInt64(found.indices.count) else {
            throw error(
                .malformed, "adapter-tokens",
                "its shape is \(record.shape), and trainable_token_indices names "
                    + "\(found.map { String($0.indices.count) } ?? "no") rows of the module", record)
        }
        return found.indices
    }

    private func expression(
        _ record: TensorRecord, isComputed: Bool = true
    ) throws(CheckpointError) -> TensorExpression {
        guard !isComputed || record.dtype.isCastableFloat else {
            throw error(
                .unsupported, "adapter-dtype", "its dtype is \(record.dtype.name), which is not merged",
                record)
        }
        do { return try record.expression } catch {
            throw self.error(.malformed, "adapter-shape", error.description, record)
        }
    }

    private func error(
        _ class: CheckpointError.Class, _ code: String, _ message: String, _ record: TensorRecord
    ) -> CheckpointError {
        CheckpointError(
            `class`, code, message, file: files.first?.source.name ?? path, tensor: record.name)
    }
}
