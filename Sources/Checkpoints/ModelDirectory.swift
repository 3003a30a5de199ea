internal import TensorCore

/// A directory that holds a model: which files are weights, which stand beside them, which stay behind.
///
/// Sorting goes by name alone; what a weights file really is, its content decides when it is opened.
public struct ModelDirectory: Sendable {
    /// The directory.
    public let path: String
    /// The weights that were chosen.
    public let weights: Weights
    /// Files that belong to the model and travel with it, in name order.
    public var sideFiles: [SideFile]
    /// Files and directories that stay behind, with the reason.
    public let left: [SkippedItem]

    /// Where the weights are.
    public enum Weights: Sendable, Equatable {
        /// One file.
        case file(String)
        /// Several files, listed by an index file where there is one.
        case shards(index: String?, files: [String])
        /// The files that a format of its own is made of, by paths relative to the directory.
        case parts([String])

        /// Whether the file of this name is among the weights.
        func uses(_ name: String) -> Bool {
            switch self {
            case .file(let file): file == name
            case .shards(let index, let files): index == name || files.contains(name)
            case .parts(let files): files.contains(name)
            }
        }

        /// Whether a part of the weights is in the directory of this name.
        func lies(in directory: String) -> Bool {
            guard case .parts(let files) = self else { return false }
            return files.contains { $0.utf8.starts(with: (directory + "/").utf8) }
        }

        /// `adapter_model` for an adapter's weights, else `model`.
        public var outputBaseName: String {
            let first =
                switch self {
                case .file(let name): name
                case .shards(let index, let files): index ?? files.first ?? ""
                case .parts: ""
                }
            return first.hasPrefix("adapter_model") ? "adapter_model" : "model"
        }
    }

    /// Sorts what is in a directory of the hub's layout.
    public init(_ listing: DirectoryListing) throws(CheckpointError) {
        self.init(listing, weights: try Self.weights(among: listing.files, directory: listing.path))
    }

    /// Sorts what is in a directory whose weights are known.
    public init(_ listing: DirectoryListing, weights: Weights) {
        let files = listing.files
        var left =
            listing.left
            + listing.directories.filter { !weights.lies(in: $0) }.map {
                SkippedItem(
                    name: $0 + "/",
                    reason: SideFile.isTrainingState(directory: $0) ? "training state" : "a directory")
            }
        var sideFiles: [SideFile] = []
        for name in files where !weights.uses(name) {
            if let role = SideFile.Role(fileName: name) {
                sideFiles.append(SideFile(name: name, role: role))
            } else {
                left.append(SkippedItem(name: name, reason: SideFile.reasonToLeave(name)))
            }
        }
        path = listing.path
        self.weights = weights
        self.sideFiles = sideFiles
        self.left = left.sorted { $0.name.utf8.lexicographicallyPrecedes($1.name.utf8) }
    }
}

extension ModelDirectory {
    /// SafeTensors before pickles, an index before single files, the usual names before others.
    private static func weights(among files: [String], directory: String) throws(CheckpointError) -> Weights {
        for suffix in [".safetensors", ".bin"] {
            let indexes = files.filter { $0.hasSuffix(suffix + ".index.json") }
            if indexes.count > 1 { throw ambiguous(indexes, directory) }
            if let index = indexes.first {
                let shards = files.filter { $0.hasSuffix(suffix) && ShardName($0) != nil }
                return .shards(index: index, files: shards)
            }
            let shards = files.filter { $0.hasSuffix(suffix) && ShardName($0) != nil }
            if !shards.isEmpty {
                try checkComplete(shards, directory: directory)
                return .shards(index: nil, files: shards)
            }
            for base in ["model", "pytorch_model"] {
                if files.contains(base + suffix) { return .file(base + suffix) }
            }
        }
        for suffix in [".safetensors", ".bin"] where files.contains("adapter_model" + suffix) {
            return .file("adapter_model" + suffix)
        }
        // Beside an ONNX model a file of any such name holds its tensors.
        let hasONNX = files.contains { $0.hasSuffix(".onnx") }
        for suffixes in weightSuffixes {
            let candidates = files.filter { name in
                suffixes.contains { name.hasSuffix($0) } && !SideFile.isTrainingState(name)
                    && !(hasONNX && name.hasSuffix(".bin"))
            }
            if candidates.count == 1 { return .file(candidates[0]) }
            if candidates.count > 1 { throw ambiguous(candidates, directory) }
        }
        throw noWeights(directory)
    }

    /// The endings of weights files, those that are preferred first.
    static let weightSuffixes = [
        [".safetensors"], [".bin", ".pt", ".pth", ".ckpt"], [".gguf"], [".nemo"], [".npz"], [".npy"],
        [".msgpack"], [".onnx"], [".keras", ".h5"],
    ]

    private static func ambiguous(_ names: [String], _ directory: String) -> CheckpointError {
        CheckpointError(
            .malformed, "ambiguous-weights",
            "several files may be the weights (\(names.map(escapedForDisplay).joined(separator: ", "))); "
                + "name the one you mean", file: directory)
    }

    private static func noWeights(_ directory: String) -> CheckpointError {
        return CheckpointError(
            .malformed, "no-weights",
            "no weights here: nothing in the directory is of a format that `artifact formats` lists",
            file: directory)
    }

    /// Shards without an index are taken only when their names say that all of one set are there.
    private static func checkComplete(_ shards: [String], directory: String) throws(CheckpointError) {
        let names = shards.compactMap(ShardName.init)
        guard Set(names.map(\.set)).count == 1, let count = names.first?.set.count else {
            throw ambiguous(shards, directory)
        }
        let numbers = Set(names.map(\.number))
        let first = numbers.min() ?? 0
        guard first <= 1, numbers == Set(first..<first + count), names.count == count else {
            throw CheckpointError(
                .malformed, "shard-missing",
                "there is no index, and the \(shards.count) shards present are not all that their names count",
                file: directory)
        }
    }
}

/// A file that belongs to a model beside its weights.
public struct SideFile: Sendable, Hashable {
    /// The file's name.
    public var name: String
    /// What it is for.
    public var role: Role

    /// What a side file is for.
    public enum Role: String, Sendable, CaseIterable {
        /// The architecture or the adapter's settings.
        case config
        /// Sampling defaults.
        case generationConfig = "generation-config"
        /// Vocabulary, merges and their settings.
        case tokenizer
        /// How messages become a prompt.
        case chatTemplate = "chat-template"
        /// Image, audio and video preparation.
        case processor
        /// The terms of use.
        case licence
        /// The model card.
        case card
        /// Python code that the config names as the model's own.
        case code
        /// Anything else in JSON, text or Jinja.
        case other
    }
}

extension SideFile.Role {
    /// The role of a file with this name, or nil for one that stays behind.
    init?(fileName name: String) {
        let lower = name.lowercased()
        switch lower {
        case "config.json", "adapter_config.json", "model_config.yaml": self = .config
        case "generation_config.json": self = .generationConfig
        case "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
            "vocab.json", "vocab.txt", "merges.txt", "tekken.json":
            self = .tokenizer
        case "chat_template.jinja", "chat_template.json": self = .chatTemplate
        case "preprocessor_config.json", "processor_config.json", "video_preprocessor_config.json",
            "image_processor_config.json":
            self = .processor
        case "trainer_state.json", "artifact-manifest.json", "zero_to_fp32.py", "zero_to_torch.py": return nil
        default:
            if lower.hasPrefix("readme") || lower.hasPrefix("model_card") {
                self = .card
            } else if ["license", "licence", "notice", "copying", "use_policy"].contains(
                where: lower.hasPrefix)
            {
                self = .licence
            } else if lower.hasSuffix(".model") || lower.hasSuffix(".tiktoken") {
                self = .tokenizer
            } else if lower.hasSuffix(".jinja") {
                self = .chatTemplate
            } else if lower.hasSuffix(".py") {
                self = .code
            } else if lower.hasSuffix(".index.json") || lower.hasPrefix(".") {
                return nil
            } else if lower.hasSuffix(".json") || lower.hasSuffix(".txt") || lower.hasSuffix(".md") {
                self = .other
            } else {
                return nil
            }
        }
    }
}

extension SideFile {
    /// True for what a trainer keeps beside the weights to go on training.
    static func isTrainingState(_ name: String) -> Bool {
        ["training_args.bin", "trainer_state.json"].contains(name)
            || ["optimizer", "scheduler", "scaler", "sampler"].contains {
                name.hasPrefix($0 + ".") || name.hasPrefix($0 + "_")
            }
            || name.hasPrefix("rng_state") || name.hasPrefix("random_states")
    }

    /// True for directories of a trainer's state beside the weights: an optimizer's, and those of DeepSpeed.
    static func isTrainingState(directory name: String) -> Bool {
        name.hasPrefix("optimizer") || name.hasPrefix("global_step")
    }

    /// Why a file without a role stays behind.
    static func reasonToLeave(_ name: String) -> String {
        if name == "training_args.bin" {
            return "training settings as a pickle; they travel as training_args.json"
        }
        if isTrainingState(name) { return "training state" }
        if name.hasSuffix(".index.json") { return "the index of weights that were not chosen" }
        if name == "artifact-manifest.json" { return "the receipt of an earlier export" }
        for suffix in [".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".gguf", ".h5", ".msgpack", ".onnx"]
        where name.hasSuffix(suffix) {
            return "other weights"
        }
        return "not part of a model"
    }
}
