public import Checkpoints
internal import StrictJSON
public import TensorCore

/// Directories of `torch.distributed.checkpoint`, by themselves or in those of the trainers that use it.
public struct DCPFormat: DirectoryFormat {
    /// Makes the format.
    public init() {}

    /// The identifier.
    public var name: String { DCPReader.formatName }
    /// One line for people.
    public var summary: String {
        "torch.distributed.checkpoint: FSDP, torchtitan, Lightning, accelerate, Megatron, NeMo 2"
    }

    /// The usual file names.
    public var patterns: String { ".metadata __*_*.distcp" }

    /// The files of a distributed checkpoint, or a directory of a trainer's that has them, and no weights of the
    /// hub's layout beside that.
    public func recognizes(_ listing: DirectoryListing) throws(CheckpointError) -> Bool {
        try Self.place(in: listing) != nil
    }

    /// Reads the metadata and the headers of the weights.
    public func read(
        _ listing: DirectoryListing, options: ReadOptions
    ) throws(CheckpointError) -> OpenedModel {
        guard let place = try Self.place(in: listing) else {
            throw CheckpointError(
                .malformed, "no-weights", "no distributed checkpoint is here", file: listing.path)
        }
        try place.checkBackend()
        let prefix = place.path.isEmpty ? "" : place.path + "/"
        var checkpoint = try DCPReader(CheckpointFiles(place.listing), prefix: prefix, options: options)
            .read()
        checkpoint.skipped += place.settings.map {
            SkippedItem(name: prefix + $0, reason: "the trainer's own state, as a pickle")
        }
        checkpoint.embedded = try place.contextFiles(of: listing)
        let parts = place.files.map { prefix + $0 }
        return OpenedModel(
            checkpoint: checkpoint, directory: ModelDirectory(listing, weights: .parts(parts)))
    }
}

extension DCPFormat {
    /// Reads a checkpoint whose files are at hand, such as those in an archive.
    ///
    /// - Parameters:
    ///   - files: all files of the directory, by name.
    ///   - location: what holds them, for messages.
    ///   - options: the caller's choices.
    public static func read(
        _ files: [(name: String, source: any ByteSource)], location: String,
        options: ReadOptions = ReadOptions()
    ) throws(CheckpointError) -> Checkpoint {
        try DCPReader(CheckpointFiles(location: location, sources: files), options: options).read()
    }
}

/// Where in a directory a distributed checkpoint is.
struct DCPPlace {
    /// The path to it, empty for the directory itself.
    var path: String
    /// What is there.
    var listing: DirectoryListing

    /// The files that the checkpoint consists of.
    var files: [String] {
        listing.files.filter { Self.isOwn($0) || $0 == "metadata.json" } + settings
    }

    /// Files of a trainer's own state that tell nothing about the weights.
    var settings: [String] {
        listing.files.filter { ["common.pt", "meta.pt", "modelopt_state"].contains($0) }
    }

    private static func isOwn(_ name: String) -> Bool {
        name == DCPReader.metadataName || name.hasSuffix(".metadata.tmp") || DCPReader.isData(name)
            || DCPReader.isRankMetadata(name)
    }

    /// Whether a directory itself holds what PyTorch writes, whole or not.
    static func holds(_ listing: DirectoryListing) throws(CheckpointError) -> Bool {
        if listing.files.contains(where: { DCPReader.isData($0) || DCPReader.isRankMetadata($0) }) {
            return true
        }
        guard listing.has(DCPReader.metadataName) else { return listing.has(".metadata.tmp") }
        // The writer of the hub's layout keeps its index, which is JSON, under the same name.
        let file = try listing.open(DCPReader.metadataName)
        guard file.byteCount > 0 else { return true }
        do throws(IOError) { return try file.bytes(at: 0, count: 1) == [0x80] } catch {
            throw CheckpointError(error)
        }
    }

    /// Refuses what Megatron writes in another way under the same names.
    func checkBackend() throws(CheckpointError) {
        guard listing.has("metadata.json"),
            let settings = try? JSONValue(parsing: listing.contents(of: "metadata.json", limit: 1 << 20)),
            let backend = settings["sharded_backend"]?.string
        else { return }
        guard backend == "zarr" else { return }
        throw CheckpointError(
            .unsupported, "megatron-zarr",
            "Megatron saved it as zarr arrays, which it has left behind: load it and save it as torch_dist",
            file: listing.path)
    }

    /// The tokenizer that NeMo 2 keeps in a directory beside the weights.
    func contextFiles(of parent: DirectoryListing) throws(CheckpointError) -> [EmbeddedFile] {
        guard path == "weights", parent.directories.contains("context") else { return [] }
        var result: [EmbeddedFile] = []
        let context = try parent.listing(of: "context")
        var places = [context]
        for name in ["nemo_tokenizer", "tokenizer"] where context.directories.contains(name) {
            places.append(try context.listing(of: name))
        }
        for place in places {
            for name in place.files {
                guard let file = EmbeddedFile(name: name, source: try place.open(name)),
                    file.file.role == .tokenizer || file.file.role == .chatTemplate
                else { continue }
                result.append(file)
            }
        }
        return result
    }
}

extension DCPFormat {
    /// Finds the checkpoint of a directory.
    static func place(in listing: DirectoryListing) throws(CheckpointError) -> DCPPlace? {
        if try DCPPlace.holds(listing) { return DCPPlace(path: "", listing: listing) }
        let hasWeights = listing.files.contains { name in
            name.hasSuffix(".safetensors") || name.hasSuffix(".index.json")
                || name.hasPrefix("pytorch_model") && name.hasSuffix(".bin")
        }
        if hasWeights { return nil }
        if let place = try latestIteration(of: listing) { return place }
        try refuseLegacyMegatron(listing)
        let models = listing.directories.filter { $0.hasPrefix("pytorch_model_fsdp_") }
        if models.count > 1 {
            throw CheckpointError(
                .malformed, "ambiguous-weights",
                "several models were saved here (\(models.map(escapedForDisplay).joined(separator: ", "))): "
                    + "name the one you mean", file: listing.path)
        }
        for name in models + ["weights", "model"] where listing.directories.contains(name) {
            let inner = try listing.listing(of: name)
            if try DCPPlace.holds(inner) { return DCPPlace(path: name, listing: inner) }
        }
        return nil
    }

    /// The directory that Megatron's file of the last iteration names.
    private static func latestIteration(of listing: DirectoryListing) throws(CheckpointError) -> DCPPlace? {
        let file = "latest_checkpointed_iteration.txt"
        guard listing.has(file) else { return nil }
        let text = String(decoding: try listing.contents(of: file, limit: 64), as: UTF8.self)
        let word = text.filter { !$0.isWhitespace }
        let name =
            word == "release" ? word : "iter_" + String(repeating: "0", count: max(0, 7 - word.count)) + word
        guard word == "release" || Int(word) != nil, listing.directories.contains(name) else {
            throw CheckpointError(
                .malformed, "iteration-missing",
                "\(file) names '\(escapedForDisplay(word))', and there is no directory \(escapedForDisplay(name))",
                file: listing.path)
        }
        let inner = try listing.listing(of: name)
        try refuseLegacyMegatron(inner)
        return try DCPPlace.holds(inner) ? DCPPlace(path: name, listing: inner) : nil
    }

    private static func refuseLegacyMegatron(_ listing: DirectoryListing) throws(CheckpointError) {
        guard listing.directories.contains(where: { $0.hasPrefix("mp_rank_") }) else { return }
        throw CheckpointError(
            .unsupported, "megatron-legacy",
            "this is Megatron's old layout of one file for each rank, whose parts only the model's code can put "
                + "together: load it with Megatron and save it as torch_dist", file: listing.path)
    }
}
