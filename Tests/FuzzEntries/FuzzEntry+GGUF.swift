internal import CheckpointFormats
internal import Checkpoints
internal import StrictJSON
internal import TensorCore

extension FuzzEntry {
    /// A file that is accepted has a header that is written and read as the same, and can be read as a checkpoint.
    static func readGGUF(_ bytes: [UInt8]) {
        let source = MemorySource(name: "fuzz.gguf", contents: bytes)
        if let header = try? GGUFHeader(reading: source, file: "fuzz") {
            let tensors = header.tensors.map { ($0.name, $0.shape, $0.type) }
            guard let again = try? GGUFHeader(pairs: header.pairs, tensors: tensors, file: "fuzz") else {
                preconditionFailure("what was read cannot be written")
            }
            precondition(again.tensors == header.tensors, "the tensors stand elsewhere")
        }
        var options = ReadOptions()
        for skips in [false, true] {
            options.skipsUnsupported = skips
            guard let model = try? FormatRegistry.open(source: source, name: "fuzz.gguf", options: options)
            else { continue }
            readEnds(of: model.checkpoint)
        }
    }

    /// The bytes as a `tokenizer.model`.
    static func readVocabulary(_ bytes: [UInt8]) {
        let config = """
            {"model_type": "llama", "vocab_size": 300, "num_hidden_layers": 1, "max_position_embeddings": 64,
            "hidden_size": 8, "intermediate_size": 8, "num_attention_heads": 2, "rms_norm_eps": 1e-6}
            """
        guard let config = try? JSONValue(parsing: Array(config.utf8)) else { return }
        let metadata = try? GGUFMetadata(config: config, name: nil) { $0 == "tokenizer.model" ? bytes : nil }
        guard let metadata else { return }
        precondition(
            (try? GGUFHeader(pairs: metadata.pairs, tensors: [], file: "fuzz")) != nil, "a key is there twice"
        )
    }
}
