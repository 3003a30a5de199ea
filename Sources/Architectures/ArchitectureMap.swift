public import Checkpoints
public import StrictJSON
internal import TensorCore

/// What the tensors of a family of models are called, and how they are laid out, by everyone who writes or reads
/// them.
///
/// One scheme is the canonical one: `hf`, the names and shapes of transformers. Every other is rules to it.
/// Maps are data, in `Formats/architectures`.
public struct ArchitectureMap: Sendable {
    /// The name of the map.
    public let name: String
    /// The values of `model_type` in a config that it is for.
    public let modelTypes: [String]
    /// The values of `general.architecture` in a GGUF file that it is for.
    public let ggufArchitectures: [String]
    /// Whether it is for models with experts, to tell maps of one GGUF architecture apart.
    public let hasExperts: Bool

    /// A canonical tensor.
    struct Tensor: Sendable {
        var pattern: NamePattern
        var shape: [SizeExpression]
        var need: Need
    }

    /// When a model needs a canonical tensor.
    enum Need: Sendable {
        case always
        case never
        /// Where another of the same numbers is there, or is not.
        case with(NamePattern)
        case without(NamePattern)
    }

    /// The canonical tensors.
    let tensors: [Tensor]
    let dimensions: [DimensionSource]
    let schemes: [(name: String, scheme: NamingScheme)]
    /// What stands before canonical names where the model has a head, and may be missing.
    let base: String
    /// Canonical names that carry no weights.
    let canonical: NamingScheme

    /// The name of the canonical scheme.
    public static let canonicalScheme = "hf"
}

extension ArchitectureMap {
    /// The maps that are part of the program.
    public static let all: [ArchitectureMap] = {
        // Tests read every one of them.
        guard let maps = try? maps(EmbeddedMaps.all) else {
            fatalError("the maps in the program are damaged")
        }
        return maps
    }()

    /// The map for models whose config says this `model_type`.
    public static func find(modelType: String) -> ArchitectureMap? {
        all.first { $0.modelTypes.contains(modelType) }
    }

    /// The map for GGUF files whose header says this `general.architecture`.
    ///
    /// - Parameters:
    ///   - ggufArchitecture: the value.
    ///   - hasExperts: whether the header counts experts.
    public static func find(ggufArchitecture: String, hasExperts: Bool = false) -> ArchitectureMap? {
        let found = all.filter { $0.ggufArchitectures.contains(ggufArchitecture) }
        return found.first { $0.hasExperts == hasExperts } ?? found.first
    }

    /// The map for a config, by its `model_type`.
    ///
    /// - Throws: where the config names none, or one that there is no map for.
    public static func find(config: JSONValue, file: String) throws(CheckpointError) -> ArchitectureMap {
        guard let type = config["model_type"]?.string else {
            throw CheckpointError(
                .unsupported, "unknown-architecture", "the config does not say what model it is (model_type)",
                file: file)
        }
        guard
            let map = find(modelType: type)
                ?? config["text_config"]?["model_type"]?.string.flatMap(
                    { find(modelType: $0) })
        else {
            throw CheckpointError(
                .unsupported, "unknown-architecture",
                "there is no map of names for models of type \"\(escapedForDisplay(type))\"", file: file)
        }
        return map
    }

    /// The names of the schemes, the canonical one first.
    public var schemeNames: [String] { [Self.canonicalScheme] + schemes.map(\.name) }

    func scheme(_ name: String) -> NamingScheme? { schemes.first { $0.name == name }?.scheme }

    /// The dimensions that a config states, in the spelling of any version of transformers.
    public func dimensions(config: JSONValue) -> Dimensions {
        var result: Dimensions = [:]
        for source in dimensions {
            if let value = source.value(in: config, result), value <= 1 << 40 { result[source.name] = value }
        }
        return result
    }
}
