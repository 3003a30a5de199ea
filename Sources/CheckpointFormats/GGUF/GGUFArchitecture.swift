internal import StrictJSON

/// What a kind of model is called in GGUF and in a `config.json`, and which numbers both have of it.
struct GGUFArchitecture {
    /// `general.architecture`.
    let name: String
    /// `model_type`.
    let modelType: String
    /// `architectures`.
    let className: String
    /// What activates the feed-forward layers, and the member that says so.
    let activation: (member: String, name: String)
    /// The numbers beside those that all have.
    let fields: [Field]
    /// Members of the config that follow from the architecture.
    let constants: [JSONMember]

    /// A number by its name on both sides.
    struct Field {
        /// The key, without the architecture in front.
        let key: String
        /// The member of a config.
        let member: String
        /// Whether it is a fraction, F32 in GGUF.
        var isFloat = false
        /// Whether a model must have it.
        var isRequired = false
    }

    /// The numbers that all have.
    static let commonFields = [
        Field(key: "block_count", member: "num_hidden_layers", isRequired: true),
        Field(key: "context_length", member: "max_position_embeddings", isRequired: true),
        Field(key: "embedding_length", member: "hidden_size", isRequired: true),
        Field(key: "feed_forward_length", member: "intermediate_size", isRequired: true),
        Field(key: "attention.head_count", member: "num_attention_heads", isRequired: true),
        Field(key: "attention.head_count_kv", member: "num_key_value_heads"),
        Field(
            key: "attention.layer_norm_rms_epsilon", member: "rms_norm_eps", isFloat: true, isRequired: true),
    ]

    private static func experts(_ count: String) -> [Field] {
        [
            Field(key: "expert_count", member: count, isRequired: true),
            Field(key: "expert_used_count", member: "num_experts_per_tok", isRequired: true),
        ]
    }
    private static let expertLength = Field(
        key: "expert_feed_forward_length", member: "moe_intermediate_size")
    private static let window = Field(key: "attention.sliding_window", member: "sliding_window")
    private static let softCaps = [
        Field(key: "attn_logit_softcapping", member: "attn_logit_softcapping", isFloat: true),
        Field(key: "final_logit_softcapping", member: "final_logit_softcapping", isFloat: true),
    ]
    private static let silu = (member: "hidden_act", name: "silu")
    private static let gelu = (member: "hidden_activation", name: "gelu_pytorch_tanh")

    /// Those whose configs are known.
    ///
    /// Where two share a name in GGUF, the first is meant unless the header says otherwise.
    static let all = [
        GGUFArchitecture(
            name: "llama", modelType: "llama", className: "LlamaForCausalLM", activation: silu, fields: [],
            constants: []),
        GGUFArchitecture(
            name: "llama", modelType: "mistral", className: "MistralForCausalLM", activation: silu,
            fields: [window], constants: []),
        GGUFArchitecture(
            name: "llama", modelType: "mixtral", className: "MixtralForCausalLM", activation: silu,
            fields: experts("num_local_experts"), constants: []),
        GGUFArchitecture(
            name: "qwen2", modelType: "qwen2", className: "Qwen2ForCausalLM", activation: silu, fields: [],
            constants: [JSONMember("use_sliding_window", .bool(false))]),
        GGUFArchitecture(
            name: "qwen3", modelType: "qwen3", className: "Qwen3ForCausalLM", activation: silu, fields: [],
            constants: [JSONMember("use_sliding_window", .bool(false))]),
        GGUFArchitecture(
            name: "qwen2moe", modelType: "qwen2_moe", className: "Qwen2MoeForCausalLM", activation: silu,
            fields: experts("num_experts") + [
                expertLength,
                Field(
                    key: "expert_shared_feed_forward_length", member: "shared_expert_intermediate_size"),
            ],
            constants: [
                JSONMember("norm_topk_prob", .bool(false)), JSONMember("decoder_sparse_step", .integer(1)),
                JSONMember("mlp_only_layers", .array([])), JSONMember("use_sliding_window", .bool(false)),
            ]),
        GGUFArchitecture(
            name: "qwen3moe", modelType: "qwen3_moe", className: "Qwen3MoeForCausalLM", activation: silu,
            fields: experts("num_experts") + [expertLength],
            // GGML always scales the weights of the experts that it takes to a sum of one.
            constants: [
                JSONMember("norm_topk_prob", .bool(true)), JSONMember("decoder_sparse_step", .integer(1)),
                JSONMember("mlp_only_layers", .array([])), JSONMember("use_sliding_window", .bool(false)),
            ]),
        GGUFArchitecture(
            name: "gemma", modelType: "gemma", className: "GemmaForCausalLM", activation: gelu, fields: [],
            constants: [JSONMember("hidden_act", .string("gelu_pytorch_tanh"))]),
        GGUFArchitecture(
            name: "gemma2", modelType: "gemma2", className: "Gemma2ForCausalLM", activation: gelu,
            fields: softCaps + [window],
            constants: [JSONMember("hidden_act", .string("gelu_pytorch_tanh"))]),
        GGUFArchitecture(
            name: "gemma3", modelType: "gemma3_text", className: "Gemma3ForCausalLM", activation: gelu,
            fields: [window, softCaps[1]], constants: []),
        GGUFArchitecture(
            name: "phi3", modelType: "phi3", className: "Phi3ForCausalLM", activation: silu, fields: [window],
            constants: []),
    ]

    /// The architecture of a header; nil where its config is not known.
    static func of(_ header: GGUFHeader) -> GGUFArchitecture? {
        guard let name = header["general.architecture"]?.string else { return nil }
        let found = all.filter { $0.name == name }
        guard name == "llama" else { return found.first }
        let experts = header["llama.expert_count"]?.int ?? 0
        let titles = ["general.name", "general.basename"].compactMap { header[$0]?.string?.lowercased() }
        let modelType =
            experts > 0 ? "mixtral" : titles.contains { $0.contains("mistral") } ? "mistral" : "llama"
        return found.first { $0.modelType == modelType }
    }

    /// The architecture with this `model_type`; nil where its keys are not known.
    static func of(modelType: String) -> GGUFArchitecture? {
        let modelType = modelType == "gemma3" ? "gemma3_text" : modelType
        return all.first { $0.modelType == modelType }
    }
}
