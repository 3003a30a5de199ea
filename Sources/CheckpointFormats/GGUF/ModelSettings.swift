internal import Checkpoints
internal import Glibc
internal import StrictJSON
internal import TensorCore

/// The numbers of a model's config, in the spelling of any version of transformers.
struct ModelSettings {
    let architecture: GGUFArchitecture
    /// The config of the model of text, which may stand in that of a model of text and pictures.
    private let config: JSONValue

    /// What transformers leaves out of the config of Gemma 3 because it is usual.
    private static let gemma3: [JSONMember] = [
        JSONMember("num_attention_heads", .integer(8)), JSONMember("num_key_value_heads", .integer(4)),
        JSONMember("head_dim", .integer(256)), JSONMember("max_position_embeddings", .integer(131_072)),
        JSONMember("rms_norm_eps", .number("1e-06")), JSONMember("vocab_size", .integer(262_208)),
        JSONMember("sliding_window", .integer(4096)),
    ]

    init(_ config: JSONValue) throws(CheckpointError) {
        let type = config["model_type"]?.string ?? ""
        let text = config["text_config"] ?? config
        guard
            let found = GGUFArchitecture.of(modelType: text["model_type"]?.string ?? type)
                ?? GGUFArchitecture.of(modelType: type)
        else {
            throw CheckpointError(
                .unsupported, "unknown-architecture",
                "models of type '\(escapedForDisplay(type))' are not written as GGUF", file: "config.json")
        }
        architecture = found
        self.config = text
    }

    subscript(member: String) -> JSONValue? {
        if let value = config[member] { return value }
        // transformers 5 has one name for the number of experts of all models.
        if member == "num_experts" { return config["num_local_experts"] }
        guard architecture.modelType == "gemma3_text" else { return nil }
        return Self.gemma3.first { $0.key == member }?.value
    }

    func missing(_ member: String) -> CheckpointError {
        CheckpointError(
            .malformed, "config-incomplete", "it has no usable \(member), which GGUF needs",
            file: "config.json")
    }

    func integer(_ member: String) throws(CheckpointError) -> UInt32 {
        guard let value = self[member]?.uint64.flatMap({ UInt32(exactly: $0) }) else { throw missing(member) }
        return value
    }

    func float(_ member: String) throws(CheckpointError) -> Float {
        guard let value = self[member]?.double, value.isFinite else { throw missing(member) }
        return Float(value)
    }

    /// The size of a head.
    func headDimension() throws(CheckpointError) -> UInt32 {
        if self["head_dim"]?.isNull == false {
            let dimension = try integer("head_dim")
            guard 1...65536 ~= dimension else { throw missing("head_dim") }
            return dimension
        }
        let (width, heads) = (try integer("hidden_size"), try integer("num_attention_heads"))
        guard heads > 0, 1...65536 ~= width / heads else { throw missing("num_attention_heads") }
        return width / heads
    }

    /// How much of a head is rotated.
    var rotatedPart: Double {
        let part = self["partial_rotary_factor"]?.double ?? rotation?["partial_rotary_factor"]?.double ?? 1
        return 0...1 ~= part ? part : 1
    }

    /// `rope_parameters` of the layers that see everything.
    private var rotation: JSONValue? {
        let all = self["rope_parameters"]
        return all?["full_attention"] ?? all
    }

    /// The base of the rotation.
    var base: Double {
        let usual = architecture.modelType == "gemma3_text" ? 1_000_000.0 : 10000
        return rotation?["rope_theta"]?.double ?? self["rope_theta"]?.double ?? usual
    }

    /// The base of the rotation in layers with a window.
    var localBase: Double {
        self["rope_parameters"]?["sliding_attention"]?["rope_theta"]?.double
            ?? self["rope_local_base_freq"]?.double ?? 10000
    }

    /// How the rotation is scaled.
    var scaling: JSONValue? {
        if let scaling = self["rope_scaling"], !scaling.isNull { return scaling }
        return rotation
    }
}

extension Llama3Rotation {
    /// The rule of a config.
    init?(_ scaling: JSONValue, factor: Double) {
        guard let low = scaling["low_freq_factor"]?.double, let high = scaling["high_freq_factor"]?.double,
            let original = scaling["original_max_position_embeddings"]?.int64, factor > 0, low > 0,
            high > low,
            1...(1 << 32) ~= original
        else { return nil }
        self.init(factor: factor, lowFactor: low, highFactor: high, original: Int(original))
    }
}

/// The natural logarithm.
func logarithm(_ value: Double) -> Double { log(value) }
