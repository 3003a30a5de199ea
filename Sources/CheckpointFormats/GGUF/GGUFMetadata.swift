public import Checkpoints
public import StrictJSON
public import TensorCore

/// The keys of a GGUF header that follow from the files of a model directory: its config and its tokenizer.
///
/// What kind of tensors a file has (`general.file_type`) is added by whoever writes them.
public struct GGUFMetadata: Sendable {
    /// The name of the architecture in GGUF, such as `llama`.
    public let architecture: String
    /// The keys with their values, in order.
    public private(set) var pairs: [GGUFPair] = []
    /// Small F32 tensors that the config becomes, such as the factors of a scaled rotation.
    public private(set) var tensors: [(name: TensorName, values: [Float])] = []
    /// What is not carried over.
    public private(set) var warnings: [CheckpointWarning] = []

    /// Makes the keys.
    ///
    /// - Parameters:
    ///   - config: the model's `config.json`.
    ///   - name: what the model is called.
    ///   - file: gives the contents of a file of the model's directory, nil where it is not there.
    /// - Throws: where the model is of no kind that is known, its config lacks a number, or its tokenizer is one
    ///   that llama.cpp has no name for.
    public init(
        config: JSONValue, name: String?, file: (String) throws(CheckpointError) -> [UInt8]?
    ) throws(CheckpointError) {
        let settings = try ModelSettings(config)
        try settings.refuseWhatIsFixed()
        architecture = settings.architecture.name
        add("general.architecture", .string(architecture))
        add("general.type", .string("model"))
        if let name { add("general.name", .string(name)) }
        try addNumbers(settings)
        addRotation(settings)
        if let window = settings.lostWindow {
            warnings.append(
                CheckpointWarning(
                    "window-left-out",
                    "attention sees \(window) tokens back, which llama.cpp does not heed: "
                        + "beyond so many tokens it computes otherwise",
                    file: "config.json"))
        }
        let vocabulary = try GGUFVocabulary(
            size: try settings.integer("vocab_size"), config: config, file: file)
        pairs += vocabulary.pairs
        warnings += vocabulary.warnings
    }

    private mutating func add(_ key: String, _ value: GGUFValue) { pairs.append(GGUFPair(key, value)) }

    private mutating func own(_ key: String, _ value: GGUFValue) { add("\(architecture).\(key)", value) }

    private mutating func addNumbers(_ settings: ModelSettings) throws(CheckpointError) {
        own("vocab_size", .uint32(try settings.integer("vocab_size")))
        for field in GGUFArchitecture.commonFields + settings.architecture.fields {
            guard settings[field.member]?.isNull == false else {
                if field.isRequired { throw settings.missing(field.member) }
                continue
            }
            let value: GGUFValue =
                field.isFloat
                ? .float32(try settings.float(field.member)) : .uint32(try settings.integer(field.member))
            own(field.key, value)
        }
        if settings["num_key_value_heads"]?.isNull != false {
            own("attention.head_count_kv", .uint32(try settings.integer("num_attention_heads")))
        }
        if architecture == "phi3", settings["sliding_window"]?.isNull != false {
            own("attention.sliding_window", .uint32(0))
        }
        let dimension = try settings.headDimension()
        if settings["head_dim"]?.isNull == false {
            own("attention.key_length", .uint32(dimension))
            own("attention.value_length", .uint32(dimension))
        }
        own("rope.dimension_count", .uint32(UInt32(Double(dimension) * settings.rotatedPart)))
        own("rope.freq_base", .float32(Float(settings.base)))
    }
}

// MARK: - Rotation

extension GGUFMetadata {
    private mutating func addRotation(_ settings: ModelSettings) {
        if architecture == "gemma3" { own("rope.freq_base_swa", .float32(Float(settings.localBase))) }
        guard let scaling = settings.scaling else { return }
        let kind = scaling["rope_type"]?.string ?? scaling["type"]?.string ?? "default"
        let factor = scaling["factor"]?.double
        switch (kind, factor) {
        case ("default", _): break
        case ("linear", let factor?):
            own("rope.scaling.type", .string("linear"))
            own("rope.scaling.factor", .float32(Float(factor)))
        case ("yarn", let factor?):
            own("rope.scaling.type", .string("yarn"))
            own("rope.scaling.factor", .float32(Float(factor)))
            if let original = originalLength(settings, scaling) {
                own("rope.scaling.original_context_length", .uint32(original))
            }
        case ("llama3", let factor?):
            guard let rule = Llama3Rotation(scaling, factor: factor) else { return leaveOut(kind) }
            let dimension = (try? settings.headDimension()) ?? 0
            tensors.append(
                ("rope_freqs.weight", rule.factors(base: settings.base, dimension: Int(dimension))))
        case ("longrope", _), ("su", _): addLongRotation(settings, scaling)
        default: leaveOut(kind)
        }
    }

    private mutating func leaveOut(_ kind: String) {
        warnings.append(
            CheckpointWarning(
                "rope-scaling-left-out",
                "the rotation is scaled by the rule '\(escapedForDisplay(kind))', which GGUF cannot say",
                file: "config.json"))
    }

    private func originalLength(_ settings: ModelSettings, _ scaling: JSONValue) -> UInt32? {
        (scaling["original_max_position_embeddings"] ?? settings["original_max_position_embeddings"])?.uint64
            .flatMap { UInt32(exactly: $0) }
    }

    private mutating func addLongRotation(_ settings: ModelSettings, _ scaling: JSONValue) {
        func factors(_ member: String) -> [Float]? {
            scaling[member]?.elements?.compactMap { $0.double.map { Float($0) } }
        }
        guard let long = factors("long_factor"), let short = factors("short_factor"),
            long.count == short.count,
            let original = originalLength(settings, scaling), original > 1,
            let length = settings["max_position_embeddings"]?.double
        else { return leaveOut("longrope") }
        own("rope.scaling.original_context_length", .uint32(original))
        let scale = length / Double(original)
        let attention = scale <= 1 ? 1 : (1 + logarithm(scale) / logarithm(Double(original))).squareRoot()
        own("rope.scaling.attn_factor", .float32(Float(attention)))
        tensors.append(("rope_factors_long.weight", long))
        tensors.append(("rope_factors_short.weight", short))
    }
}
