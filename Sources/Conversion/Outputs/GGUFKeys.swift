internal import CheckpointFormats
internal import Checkpoints
internal import StrictJSON

/// The keys of a GGUF file that describe the model.
enum GGUFKeys {
    static func pairs(config: JSONValue, model: OutputModel) throws(CheckpointError) -> [GGUFPair] {
        let arch = config["model_type"]?.string ?? "llama"
        func int(_ key: String) -> UInt32 { UInt32(clamping: config[key]?.uint64 ?? 0) }
        return [
            GGUFPair("general.architecture", .string(arch)),
            GGUFPair("\(arch).block_count", .uint32(int("num_hidden_layers"))),
            GGUFPair("\(arch).context_length", .uint32(int("max_position_embeddings"))),
            GGUFPair("\(arch).embedding_length", .uint32(int("hidden_size"))),
            GGUFPair("\(arch).feed_forward_length", .uint32(int("intermediate_size"))),
            GGUFPair("\(arch).attention.head_count", .uint32(int("num_attention_heads"))),
            GGUFPair("\(arch).attention.head_count_kv", .uint32(int("num_key_value_heads"))),
            GGUFPair("\(arch).rope.dimension_count", .uint32(int("hidden_size") / max(1, int("num_attention_heads")))),
            GGUFPair("\(arch).vocab_size", .uint32(int("vocab_size"))),
            GGUFPair("\(arch).attention.layer_norm_rms_epsilon", .float32(1e-6)),
            GGUFPair("tokenizer.ggml.model", .string("no_vocab")),
        ]
    }
}
