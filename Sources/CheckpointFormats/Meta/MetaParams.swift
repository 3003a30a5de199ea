package import Checkpoints
package import StrictJSON
internal import TensorCore

/// What `params.json` and the shapes of the tensors say about a model, as a config for transformers.
package struct MetaParams {
    /// The model's type, in the words of transformers.
    package let modelType: String
    /// The config.
    package let config: JSONValue
    /// What the config says that the source does not.
    package private(set) var warnings: [CheckpointWarning] = []

    /// Reads the parameters of a model whose weights are in these files.
    package init(_ json: JSONValue, parts: [TensorTable], file: String) throws(CheckpointError) {
        let reader = MetaParamsReader(json: json, parts: parts, file: file)
        let dim = try reader.number("dim")
        let layers = try reader.number("n_layers")
        let heads = try reader.number("n_heads")
        guard dim.isMultiple(of: heads) || json["head_dim"] != nil else {
            throw reader.bad("dim \(dim) is not divided by n_heads \(heads)")
        }
        let headDim = try reader.number("head_dim", otherwise: dim / heads)
        let kvHeads = try reader.number("n_kv_heads", otherwise: heads)
        let isMistral = json["hidden_dim"] != nil || json["sliding_window"] != nil
        let experts = json["moe"]
        modelType = experts != nil ? "mixtral" : isMistral ? "mistral" : "llama"
        let vocab = try reader.vocab(dim: dim)
        let intermediate = try reader.intermediate()
        let theta = json["rope_theta"] ?? .number("10000.0")
        let isScaled = json["use_scaled_rope"]?.bool == true
        let epsilon = json["norm_eps"] ?? .number("1e-05")
        let isTied = !reader.has("output.weight")

        let architecture = ["llama": "Llama", "mistral": "Mistral", "mixtral": "Mixtral"][modelType] ?? ""
        var members: [JSONMember] = [
            JSONMember("architectures", .array([.string(architecture + "ForCausalLM")])),
            JSONMember("model_type", .string(modelType)),
            JSONMember("hidden_size", .integer(dim)),
            JSONMember("intermediate_size", .integer(intermediate)),
            JSONMember("num_hidden_layers", .integer(layers)),
            JSONMember("num_attention_heads", .integer(heads)),
            JSONMember("num_key_value_heads", .integer(kvHeads)),
            JSONMember("head_dim", .integer(headDim)),
            JSONMember("hidden_act", .string("silu")),
            JSONMember("vocab_size", .integer(vocab)),
            JSONMember("rms_norm_eps", epsilon),
            JSONMember("rope_theta", theta),
            JSONMember("tie_word_embeddings", .bool(isTied)),
        ]
        if modelType == "llama" {
            members += [JSONMember("attention_bias", .bool(false)), JSONMember("mlp_bias", .bool(false))]
        } else {
            members.append(JSONMember("sliding_window", json["sliding_window"] ?? .null))
        }
        if let experts {
            members += [
                JSONMember("num_local_experts", .integer(try reader.number("num_experts", in: experts))),
                JSONMember(
                    "num_experts_per_tok", .integer(try reader.number("num_experts_per_tok", in: experts))),
            ]
        }
        // Llama 3 has a vocabulary of its own; before it, they had SentencePiece's.
        let isLlama3 = modelType == "llama" && vocab >= 128_256
        members += [
            JSONMember("bos_token_id", .integer(isLlama3 ? 128_000 : 1)),
            JSONMember("eos_token_id", .integer(isLlama3 ? 128_001 : 2)),
        ]
        if let dtype = reader.dtypeName { members.append(JSONMember("torch_dtype", .string(dtype))) }
        let length = Self.contextLength(json, isLlama3: isLlama3, isScaled: isScaled, epsilon: epsilon.double)
        members.append(JSONMember("max_position_embeddings", .integer(length)))
        var derived = "max_position_embeddings (\(length))"
        if isScaled {
            members.append(JSONMember("rope_scaling", Self.scaling(json, isTied: isTied, dim: dim)))
            derived += " and rope_scaling"
        }
        config = .object(members)
        warnings.append(
            CheckpointWarning(
                "config-derived",
                "the config is made of params.json, which does not say \(derived): these are the usual ones",
                file: file))
    }

    /// The length that the published models of this kind were trained for.
    private static func contextLength(
        _ json: JSONValue, isLlama3: Bool, isScaled: Bool, epsilon: Double?
    ) -> UInt64 {
        if let length = (json["max_seq_len"] ?? json["max_position_embeddings"])?.uint64 { return length }
        if isScaled { return 131_072 }
        if isLlama3 { return 8192 }
        if json["hidden_dim"] != nil { return 32_768 }
        // Code Llama's base; Llama 1 had another epsilon than Llama 2.
        if json["rope_theta"]?.double ?? 0 >= 1e6 { return 16_384 }
        return epsilon == 1e-6 ? 2048 : 4096
    }

    /// The scaling of Llama 3.1, with the larger factor of the small models of 3.2.
    private static func scaling(_ json: JSONValue, isTied: Bool, dim: UInt64) -> JSONValue {
        let factor = isTied || dim <= 3072 ? "32.0" : "8.0"
        return .object([
            JSONMember("factor", json["rope_scaling_factor"] ?? .number(factor)),
            JSONMember("low_freq_factor", .number("1.0")),
            JSONMember("high_freq_factor", json["high_freq_factor"] ?? .number("4.0")),
            JSONMember("original_max_position_embeddings", .integer(UInt64(8192))),
            JSONMember("rope_type", .string("llama3")),
        ])
    }
}

/// Looks things up in `params.json` and the tables.
private struct MetaParamsReader {
    let json: JSONValue
    let parts: [TensorTable]
    let file: String

    func bad(_ message: String) -> CheckpointError {
        CheckpointError(.malformed, "bad-params", message, file: file)
    }

    func number(
        _ key: String, in object: JSONValue? = nil, otherwise: UInt64? = nil
    ) throws(CheckpointError) -> UInt64 {
        let value = (object ?? json)[key]
        if value == nil || value?.isNull == true, let otherwise { return otherwise }
        guard let number = value?.uint64, (1...1 << 31).contains(number) else {
            throw bad("\(key) is no number from 1 to 2^31")
        }
        return number
    }

    private func shapes(_ name: TensorName) -> [[UInt64]] {
        parts.flatMap { part in part.filter { $0.name == name }.map(\.shape) }
    }

    func has(_ name: TensorName) -> Bool { !shapes(name).isEmpty }

    /// The rows of the embedding: those of all parts, or those of each where columns are split.
    func vocab(dim: UInt64) throws(CheckpointError) -> UInt64 {
        if let value = json["vocab_size"]?.uint64, value > 0, value < 1 << 31 { return value }
        return try rows("tok_embeddings.weight") { $0.count == 2 && $0[1] == dim }
    }

    /// The rows of the first feed-forward matrix, which is split by rows.
    func intermediate() throws(CheckpointError) -> UInt64 {
        if let value = json["hidden_dim"]?.uint64, value > 0, value < 1 << 31 { return value }
        let expert: TensorName = "layers.0.feed_forward.experts.0.w1.weight"
        return try rows(has(expert) ? expert : "layers.0.feed_forward.w1.weight") { _ in true }
    }

    private func rows(
        _ name: TensorName, isSplit: ([UInt64]) -> Bool
    ) throws(CheckpointError) -> UInt64 {
        let shapes = shapes(name)
        guard let first = shapes.first?.first else { throw bad("there is no tensor \(name)") }
        guard isSplit(shapes[0]) else { return first }
        var total: UInt64 = 0
        for shape in shapes {
            let (sum, overflow) = total.addingReportingOverflow(shape.first ?? 0)
            guard !overflow else { throw bad("the rows of \(name) are beyond 64 bits") }
            total = sum
        }
        return total
    }

    /// What transformers calls the dtype of the embedding.
    var dtypeName: String? {
        let names: [DType: String] = [.f32: "float32", .f16: "float16", .bf16: "bfloat16"]
        let embedding = parts.first?.first { $0.name == "tok_embeddings.weight" }
        return embedding.flatMap { names[$0.dtype] }
    }
}
