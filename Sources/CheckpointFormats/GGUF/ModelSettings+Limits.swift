internal import Checkpoints
internal import StrictJSON
internal import TensorCore

/// What llama.cpp takes as given for an architecture, since GGUF has no key for it.
///
/// A config that says otherwise is of a model that llama.cpp would load and compute wrongly, or not load.
extension ModelSettings {
    func refuseWhatIsFixed() throws(CheckpointError) {
        try refuse(architecture.activation.member) { value in
            let usual = architecture.activation.name
            return value.string == usual || usual == "silu" && value.string == "swish"
        }
        switch architecture.modelType {
        case "qwen2_moe", "qwen3_moe": try refuseExperts()
        case "gemma2", "gemma3_text": try refuseGemma()
        default: break
        }
        if architecture.name.hasPrefix("qwen3") { try refuse("attention_bias") { $0.bool == false } }
        if let scaling { try refuseScaling(scaling) }
    }

    /// The window of attention that llama.cpp does not apply; nil where the model has none, or none that counts.
    var lostWindow: UInt64? {
        guard architecture.name != "gemma2", architecture.name != "gemma3",
            !architecture.name.hasPrefix("qwen") || self["use_sliding_window"]?.bool == true,
            let window = self["sliding_window"]?.uint64, window > 0,
            window < self["max_position_embeddings"]?.uint64 ?? 0
        else { return nil }
        return window
    }

    private func refuse(
        _ member: String, unless isUsual: (JSONValue) -> Bool
    ) throws(CheckpointError) {
        guard let value = self[member], !value.isNull, !isUsual(value) else { return }
        throw fixed(member, value)
    }

    private func fixed(_ member: String, _ value: JSONValue) -> CheckpointError {
        let said = String(decoding: value.serialized(asciiOnly: true).prefix(80), as: UTF8.self)
        return CheckpointError(
            .unsupported, "gguf-cannot-say",
            "its \(member) is \(said), and llama.cpp computes models of type "
                + "'\(architecture.modelType)' otherwise: keep the model in another format",
            file: "config.json")
    }

    private func refuseExperts() throws(CheckpointError) {
        let scalesToOne = architecture.modelType == "qwen3_moe"
        try refuse("norm_topk_prob") { $0.bool == scalesToOne }
        try refuse("decoder_sparse_step") { $0.uint64 == 1 }
        try refuse("mlp_only_layers") { $0.elements?.isEmpty == true }
    }

    private func refuseGemma() throws(CheckpointError) {
        let isSecond = architecture.modelType == "gemma2"
        let (layers, width, heads) = (
            try integer("num_hidden_layers"), try integer("hidden_size"), try integer("num_attention_heads")
        )
        // GGML tells the largest of each by its number of layers.
        let isLargest = layers == (isSecond ? 46 : 62) && heads > 0
        let scalar = isLargest ? width / heads : try headDimension()
        try refuse("query_pre_attn_scalar") { $0.double == Double(scalar) }
        let period = isSecond ? 2 : 6
        try refuse("sliding_window_pattern") { $0.uint64 == UInt64(period) }
        try refuse("layer_types") { kinds in
            (kinds.elements ?? []).enumerated().allSatisfy { index, kind in
                kind.string == ((index + 1) % period == 0 ? "full_attention" : "sliding_attention")
            }
        }
        if isSecond {
            for member in ["attn_logit_softcapping", "final_logit_softcapping"] {
                if let value = self[member], value.isNull { throw fixed(member, value) }
            }
        } else {
            try refuse("attn_logit_softcapping") { _ in false }
        }
    }

    private func refuseScaling(_ scaling: JSONValue) throws(CheckpointError) {
        func refuse(_ member: String, unless usual: Double?) throws(CheckpointError) {
            guard let value = scaling[member], !value.isNull, usual == nil || value.double != usual else {
                return
            }
            throw fixed(member, value)
        }
        switch scaling["rope_type"]?.string ?? scaling["type"]?.string {
        case "yarn":
            for member in ["attention_factor", "mscale", "mscale_all_dim"] {
                try refuse(member, unless: nil)
            }
            try refuse("beta_fast", unless: 32)
            try refuse("beta_slow", unless: 1)
        case "longrope" where architecture.name != "phi3", "su" where architecture.name != "phi3":
            throw fixed("rope_type", .string("longrope"))
        case "longrope", "su": try refuse("attention_factor", unless: nil)
        default: break
        }
    }
}
