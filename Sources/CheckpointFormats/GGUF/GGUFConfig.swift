internal import StrictJSON
internal import TensorCore

/// Makes the `config.json` that transformers needs of a GGUF header.
struct GGUFConfig {
    let header: GGUFHeader
    let architecture: GGUFArchitecture
    /// The tensors by their names in the file.
    let tensors: [TensorName: TensorFacts]
    /// What could not be carried over.
    private(set) var problems: [String] = []

    /// What a config says of a tensor.
    struct TensorFacts {
        var dtype: DType
        var shape: [UInt64]
        /// The values, where it is one of the small tensors that a config holds.
        var values: [Float]?
    }

    /// Makes a config; nil where the architecture is not known.
    init?(_ header: GGUFHeader, tensors: [TensorName: TensorFacts]) {
        guard let architecture = GGUFArchitecture.of(header) else { return nil }
        self.header = header
        self.architecture = architecture
        self.tensors = tensors
    }

    private func value(_ key: String) -> GGUFValue? { header["\(architecture.name).\(key)"] }
    private func has(_ name: TensorName) -> Bool { tensors[name] != nil }

    /// The members of the config, or nil where a number that it cannot do without is missing.
    mutating func make() -> JSONValue? {
        var members = [
            JSONMember("architectures", .array([.string(architecture.className)])),
            JSONMember("model_type", .string(architecture.modelType)),
        ]
        for field in GGUFArchitecture.commonFields + architecture.fields {
            guard let number = number(field) else {
                if !field.isRequired { continue }
                problems.append("the header has no \(architecture.name).\(field.key)")
                return nil
            }
            members.append(JSONMember(field.member, number))
        }
        guard let headDimension = addHeads(to: &members), addVocabulary(to: &members) else { return nil }
        members.append(JSONMember(architecture.activation.member, .string(architecture.activation.name)))
        members += architecture.constants
        addAttention(to: &members, headDimension: headDimension)
        addRotation(to: &members, headDimension: headDimension)
        members += tokenMembers()
        members.append(JSONMember("tie_word_embeddings", .bool(!has("output.weight"))))
        addDType(to: &members)
        return .object(members)
    }

    /// A number as the config spells it; nil where it is not there, or not one for all layers.
    private func number(_ field: GGUFArchitecture.Field) -> JSONValue? {
        guard let value = value(field.key) else { return nil }
        if field.isFloat { return value.double.flatMap(json) }
        return value.int.map { .integer($0) }
    }

    /// A number with as many digits as its type needs.
    private func json(_ value: Double) -> JSONValue? {
        guard value.isFinite else { return nil }
        let single = Float(value)
        return .number(Double(single) == value ? "\(single)" : "\(value)")
    }

    private mutating func addHeads(to members: inout [JSONMember]) -> Int? {
        guard let heads = value("attention.head_count")?.int, heads > 0,
            let width = value("embedding_length")?.int, width > 0
        else {
            problems.append("the number of heads is zero, or not one for all layers")
            return nil
        }
        if value("attention.head_count_kv") == nil {
            members.append(JSONMember("num_key_value_heads", .integer(heads)))
        } else if value("attention.head_count_kv")?.int == nil {
            problems.append("the number of key heads is not one for all layers")
            return nil
        }
        let rotated = architecture.name == "llama" ? value("rope.dimension_count")?.int : nil
        let dimension = value("attention.key_length")?.int ?? rotated ?? width / heads
        if architecture.name != "qwen2" && architecture.name != "qwen2moe" && architecture.name != "phi3" {
            members.append(JSONMember("head_dim", .integer(dimension)))
        }
        return max(1, dimension)
    }

    private mutating func addVocabulary(to members: inout [JSONMember]) -> Bool {
        let rows = tensors["token_embd.weight"]?.shape.first
        let count =
            rows.flatMap { Int(exactly: $0) } ?? value("vocab_size")?.int
            ?? header["tokenizer.ggml.tokens"]?.strings?.count
        guard let count else {
            problems.append("nothing says how many tokens there are")
            return false
        }
        members.append(JSONMember("vocab_size", .integer(count)))
        return true
    }

    private mutating func addAttention(to members: inout [JSONMember], headDimension: Int) {
        switch architecture.modelType {
        case "llama":
            members.append(JSONMember("attention_bias", .bool(has("blk.0.attn_q.bias"))))
            members.append(JSONMember("mlp_bias", .bool(has("blk.0.ffn_gate.bias"))))
        case "qwen3", "qwen3_moe":
            members.append(JSONMember("attention_bias", .bool(has("blk.0.attn_q.bias"))))
        case "mistral" where value("attention.sliding_window") == nil,
            "phi3" where value("attention.sliding_window")?.int == 0:
            members.removeAll { $0.key == "sliding_window" }
            members.append(JSONMember("sliding_window", .null))
        case "gemma2", "gemma3_text":
            // GGML tells the largest of each, where the scale is another, by the number of layers.
            let largest = architecture.modelType == "gemma2" ? 46 : 62
            let layers = value("block_count")?.int
            let width = value("embedding_length")?.int ?? 0
            let heads = max(1, value("attention.head_count")?.int ?? 1)
            members.append(
                JSONMember(
                    "query_pre_attn_scalar", .integer(layers == largest ? width / heads : headDimension)))
            if architecture.modelType == "gemma3_text" {
                members.append(JSONMember("sliding_window_pattern", .integer(6)))
            }
        default: break
        }
    }

    private func addDType(to members: inout [JSONMember]) {
        let names: [DType: String] = [.f32: "float32", .f16: "float16", .bf16: "bfloat16", .f64: "float64"]
        let dtype = (tensors["blk.0.attn_q.weight"] ?? tensors["token_embd.weight"])?.dtype ?? .f32
        guard let name = names[dtype] else { return }
        members.append(JSONMember("dtype", .string(name)))
        members.append(JSONMember("torch_dtype", .string(name)))
    }
}

// MARK: - Rotation

extension GGUFConfig {
    private mutating func addRotation(to members: inout [JSONMember], headDimension: Int) {
        let isGemma3 = architecture.modelType == "gemma3_text"
        let base = value("rope.freq_base")?.double ?? (isGemma3 ? 1_000_000 : 10000)
        members.append(JSONMember("rope_theta", json(base) ?? .number("10000.0")))
        if isGemma3 {
            let local = value("rope.freq_base_swa")?.double.flatMap(json) ?? .number("10000.0")
            members.append(JSONMember("rope_local_base_freq", local))
        }
        if architecture.modelType == "phi3" {
            if let original = value("rope.scaling.original_context_length")?.int {
                members.append(JSONMember("original_max_position_embeddings", .integer(original)))
            }
            if let rotated = value("rope.dimension_count")?.int, rotated != headDimension {
                let part = json(Double(rotated) / Double(headDimension)) ?? .number("1.0")
                members.append(JSONMember("partial_rotary_factor", part))
            }
        }
        members.append(JSONMember("rope_scaling", scaling() ?? .null))
    }

    private mutating func scaling() -> JSONValue? {
        if let long = tensors["rope_factors_long.weight"]?.values,
            let short = tensors["rope_factors_short.weight"]?.values
        {
            return kind(
                "longrope",
                [
                    JSONMember("long_factor", .array(long.compactMap { json(Double($0)) })),
                    JSONMember("short_factor", .array(short.compactMap { json(Double($0)) })),
                ])
        }
        if let factors = tensors["rope_freqs.weight"]?.values { return llama3Scaling(factors) }
        let factor = (value("rope.scaling.factor") ?? value("rope.scale_linear"))?.double.flatMap(json)
        switch (value("rope.scaling.type")?.string ?? "linear", factor) {
        case (_, nil), ("none", _): return nil
        case ("linear", let factor?): return kind("linear", [JSONMember("factor", factor)])
        case ("yarn", let factor?):
            let original = value("rope.scaling.original_context_length")?.int
            return kind(
                "yarn",
                [JSONMember("factor", factor)]
                    + (original.map { [JSONMember("original_max_position_embeddings", .integer($0))] } ?? []))
        case (let other, _):
            problems.append("the rotation is scaled by the rule '\(escapedForDisplay(other))'")
            return nil
        }
    }

    private func kind(_ name: String, _ members: [JSONMember]) -> JSONValue {
        .object([JSONMember("rope_type", .string(name)), JSONMember("type", .string(name))] + members)
    }

    /// The rule of Llama 3.1, whose factors GGUF keeps and not its parameters.
    private mutating func llama3Scaling(_ factors: [Float]) -> JSONValue? {
        let base = value("rope.freq_base")?.double ?? 10000
        for original in [8192, 4096, 16384] {
            let rule = Llama3Rotation(
                factor: Double(factors.max() ?? 1), lowFactor: 1, highFactor: 4, original: original)
            guard rule.matches(factors, base: base) else { continue }
            return kind("llama3", rule.members)
        }
        problems.append("the factors of its rotation follow no rule that is known")
        return nil
    }

    /// The special tokens by their numbers; null where there is none, since configs have defaults of their own.
    private func tokenMembers() -> [JSONMember] {
        [("bos", "bos_token_id"), ("eos", "eos_token_id"), ("padding", "pad_token_id")].map { key, member in
            let id = header["tokenizer.ggml.\(key)_token_id"]?.int
            return JSONMember(member, id.map { .integer($0) } ?? .null)
        }
    }

    /// Defaults for generation: the special tokens.
    func generation() -> JSONValue? {
        var members = tokenMembers().filter { !$0.value.isNull }
        if members.isEmpty { return nil }
        let ends = ["eos", "eot"].compactMap { header["tokenizer.ggml.\($0)_token_id"]?.int }
        if Set(ends).count > 1, let index = members.firstIndex(where: { $0.key == "eos_token_id" }) {
            members[index].value = .array(ends.map { .integer($0) })
        }
        return .object([JSONMember("_from_model_config", .bool(true))] + members)
    }
}
