internal import Architectures
public import Checkpoints
internal import StrictJSON
internal import TensorCore

/// Directories as Meta publishes Llama and Mistral AI its models: `consolidated.*` with `params.json`.
public struct MetaFormat: DirectoryFormat {
    /// Makes the format.
    public init() {}

    /// The identifier.
    public var name: String { "meta" }
    /// One line for people.
    public var summary: String {
        "Meta's consolidated.*.pth with params.json: parts joined, names of transformers"
    }
    /// The usual file names.
    public var patterns: String { "consolidated.*.pth params.json" }

    /// Consolidated weights, and none in the hub's layout.
    public func recognizes(_ listing: DirectoryListing) throws(CheckpointError) -> Bool {
        let isHub = listing.files.contains { name in
            name.hasSuffix(".index.json")
                || (["model", "pytorch_model"].contains { name.hasPrefix($0) }
                    && [".safetensors", ".bin"].contains { name.hasSuffix($0) })
        }
        return !isHub && !Self.parts(in: listing).isEmpty
            && (listing.has(Self.paramsName) || !listing.has("config.json"))
    }

    /// The files of weights, in order.
    private static func parts(in listing: DirectoryListing) -> [String] {
        let names = listing.files.filter { name in
            guard name.hasPrefix("consolidated.") else { return false }
            let parts = name.split(separator: ".", omittingEmptySubsequences: false)
            let isNumbered =
                parts.count == 3 && !parts[1].isEmpty && parts[1].utf8.allSatisfy { 0x30...0x39 ~= $0 }
            return (isNumbered && ["pth", "pt", "safetensors"].contains(parts[2]))
                || name == "consolidated.safetensors" || name == "consolidated.pth"
        }
        return names.sorted { ($0.utf8.count, $0) < ($1.utf8.count, $1) }
    }

    /// Reads the headers of all parts.
    public func read(
        _ listing: DirectoryListing, options: ReadOptions
    ) throws(CheckpointError) -> OpenedModel {
        let names = Self.parts(in: listing)
        try checkNumbers(names, in: listing.path)
        var whole = Checkpoint(format: name, tensors: [], files: [])
        var tables: [TensorTable] = []
        for name in names {
            let file: InputFile
            do throws(IOError) { file = try InputFile(path: Path.join(listing.path, name)) } catch {
                throw CheckpointError(error)
            }
            let part = try FormatRegistry.read(
                WeightsFile(file, name: name, directory: listing.path), options: options)
            tables.append(part.tensors)
            whole.files += part.files
            whole.skipped += part.skipped
            whole.warnings += part.warnings
            whole.root = whole.root ?? part.root
        }
        let directory = ModelDirectory(listing, weights: .parts(names))
        guard listing.has(Self.paramsName) else {
            guard tables.count == 1, options.names == .stored else { throw Self.paramsMissing(listing.path) }
            whole.tensors = tables[0]
            return OpenedModel(checkpoint: whole, directory: directory)
        }
        return try join(tables, whole, directory, listing, options: options)
    }

    private static let paramsName = "params.json"

    private func join(
        _ tables: [TensorTable], _ whole: Checkpoint, _ directory: ModelDirectory,
        _ listing: DirectoryListing,
        options: ReadOptions
    ) throws(CheckpointError) -> OpenedModel {
        let place = Path.join(listing.path, Self.paramsName)
        let json: JSONValue
        let bytes = try listing.contents(of: Self.paramsName, limit: 1 << 20)
        do { json = try JSONValue(parsing: bytes) } catch {
            throw CheckpointError(
                .malformed, "bad-params", error.message, file: place, offset: UInt64(error.offset))
        }
        let params = try MetaParams(json, parts: tables, file: place)
        guard let map = ArchitectureMap.find(modelType: params.modelType) else {
            throw CheckpointError(
                .unsupported, "unknown-architecture", "there is no map for \(params.modelType)", file: place)
        }
        let config = params.config
        var whole = whole
        whole.tensors = TensorTable(
            try map.joining(
                tables, scheme: "meta", dimensions: map.dimensions(config: config), file: listing.path))
        guard options.names != .stored else { return OpenedModel(checkpoint: whole, directory: directory) }
        let source = MemorySource(
            name: Path.join(listing.path, "config.json"), contents: config.serialized(indent: 2) + [0x0A])
        if let file = EmbeddedFile(name: "config.json", source: source) { whole.embedded.append(file) }
        whole.warnings += params.warnings
        let model = OpenedModel(checkpoint: whole, directory: directory)
        guard options.names == nil else { return model }
        return try model.renamed(to: ArchitectureMap.canonicalScheme, path: listing.path, options: options)
    }

    private static func paramsMissing(_ directory: String) -> CheckpointError {
        CheckpointError(
            .malformed, "params-missing",
            "there is no params.json, which says how the weights are laid out: fetch it, or take the names as "
                + "they are (only one file can be read so)", file: directory)
    }

    /// The parts must be numbered from 0 without a gap.
    private func checkNumbers(_ names: [String], in directory: String) throws(CheckpointError) {
        let numbers = names.compactMap { Int($0.split(separator: ".")[1]) }
        guard numbers.isEmpty && names.count == 1 || numbers == Array(names.indices) else {
            throw CheckpointError(
                .malformed, "shard-missing",
                "the parts are not numbered from 0 on without a gap: "
                    + names.prefix(10).map(escapedForDisplay).joined(separator: ", "), file: directory)
        }
    }
}
