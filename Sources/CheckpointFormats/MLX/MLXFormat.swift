public import Checkpoints
internal import StrictJSON
internal import TensorCore

/// Models that MLX quantised: the hub's layout with groups of a few bits, made plain numbers again.
///
/// Models of MLX that are not quantised are in the hub's layout and need nothing.
public struct MLXFormat: DirectoryFormat {
    /// Makes the format.
    public init() {}

    /// The identifier.
    public var name: String { "mlx" }
    /// One line for people.
    public var summary: String {
        "MLX quantised (affine, mxfp4, mxfp8, nvfp4), read as the floats that MLX makes"
    }
    /// The usual file names.
    public var patterns: String { "config.json *.safetensors" }

    /// A config whose `quantization` has a group size and bits.
    public func recognizes(_ listing: DirectoryListing) throws(CheckpointError) -> Bool {
        try config(in: listing).flatMap { MLXQuantization(config: $0) } != nil
    }

    /// Reads the headers of the weights.
    public func read(
        _ listing: DirectoryListing, options: ReadOptions
    ) throws(CheckpointError) -> OpenedModel {
        var directory = try ModelDirectory(listing)
        var checkpoint = try FormatRegistry.readWeights(of: directory, options: options)
        guard let config = try config(in: listing), let quantization = MLXQuantization(config: config) else {
            return OpenedModel(checkpoint: checkpoint, directory: directory)
        }
        let builder = MLXTableBuilder(checkpoint.tensors, quantization: quantization, file: listing.path)
        checkpoint.tensors = try builder.table()
        checkpoint.format = name
        // The copy in memory takes the place of the file, which would have loaders quantise again.
        directory.sideFiles.removeAll { $0.name == Self.configName }
        let plain = MLXQuantization.plainConfig(config).serialized(indent: 4)
        let source = MemorySource(name: Path.join(listing.path, Self.configName), contents: plain)
        if let file = EmbeddedFile(name: Self.configName, source: source) { checkpoint.embedded.append(file) }
        return OpenedModel(checkpoint: checkpoint, directory: directory)
    }

    private static let configName = "config.json"
    private static let configLimit = 16 << 20

    /// The config, where there is one that can be understood.
    private func config(in listing: DirectoryListing) throws(CheckpointError) -> JSONValue? {
        guard listing.has(Self.configName) else { return nil }
        let bytes: [UInt8]
        do throws(CheckpointError) {
            bytes = try listing.contents(of: Self.configName, limit: Self.configLimit)
        } catch {
            // A config that cannot be read says nothing about what it is.
            if error.class == .io { throw error }
            return nil
        }
        return try? JSONValue(parsing: bytes)
    }
}
