import CheckpointFormats
import Checkpoints
import StrictJSON
import Testing

/// Configs of models that llama.cpp computes otherwise than they are.
@Suite struct GGUFLimitsTests {
    static func metadata(_ type: String, _ members: String) throws -> GGUFMetadata {
        let files = try GGUFModelTests.files(try GGUFFixtureTests.read("gguf/llama_q4_0.gguf"))
        let config = """
            {"model_type": "\(type)", "vocab_size": 512, "num_hidden_layers": 2,
            "max_position_embeddings": 64, "hidden_size": 64, "intermediate_size": 96, "num_attention_heads": 4,
            "rms_norm_eps": 1e-6, "num_experts": 4, "num_experts_per_tok": 2\(members)}
            """
        let parsed = try JSONValue(parsing: Array(config.utf8))
        return try GGUFMetadata(config: parsed, name: nil) { files[$0] }
    }

    @Test(arguments: [
        ("llama", #""hidden_act": "gelu""#), ("qwen2_moe", #""norm_topk_prob": true"#),
        ("qwen3_moe", #""norm_topk_prob": false"#), ("qwen3_moe", #""decoder_sparse_step": 2"#),
        ("qwen2_moe", #""mlp_only_layers": [0]"#), ("qwen3", #""attention_bias": true"#),
        ("gemma2", #""query_pre_attn_scalar": 7"#), ("gemma2", #""final_logit_softcapping": null"#),
        ("gemma3_text", #""head_dim": 16, "query_pre_attn_scalar": 7"#),
        ("gemma3_text", #""layer_types": ["full_attention", "sliding_attention"]"#),
        ("llama", #""rope_scaling": {"rope_type": "yarn", "factor": 4.0, "attention_factor": 1.0}"#),
        ("llama", #""rope_scaling": {"rope_type": "yarn", "factor": 4.0, "mscale": 0.7}"#),
        ("llama", #""rope_scaling": {"rope_type": "longrope", "factor": 4.0}"#),
    ])
    func `a config that llama.cpp computes otherwise is refused`(type: String, member: String) throws {
        let error = #expect(throws: CheckpointError.self) { try Self.metadata(type, ", " + member) }
        #expect(error?.class == .unsupported)
        #expect(error?.code == "gguf-cannot-say")
    }

    @Test(arguments: [
        ("llama", #""hidden_act": "silu""#), ("qwen2_moe", #""norm_topk_prob": false"#),
        ("qwen3_moe", #""norm_topk_prob": true, "mlp_only_layers": [], "decoder_sparse_step": 1"#),
        ("gemma2", #""query_pre_attn_scalar": 16, "layer_types": ["sliding_attention", "full_attention"]"#),
        ("llama", #""rope_scaling": {"rope_type": "yarn", "factor": 4.0, "beta_fast": 32}"#),
        ("qwen2", #""sliding_window": 8, "use_sliding_window": false"#),
        ("mistral", #""sliding_window": 64"#),
    ])
    func `a usual config is written without a warning`(type: String, member: String) throws {
        #expect(try Self.metadata(type, ", " + member).warnings.isEmpty)
    }

    @Test(arguments: [
        ("mistral", #""sliding_window": 8"#), ("phi3", #""sliding_window": 8"#),
        ("qwen2", #""sliding_window": 8, "use_sliding_window": true"#),
    ])
    func `a window that llama.cpp does not heed is told of`(type: String, member: String) throws {
        #expect(try Self.metadata(type, ", " + member).warnings.map(\.code) == ["window-left-out"])
    }
}
