import CheckpointFormats
import Checkpoints
import Foundation
import StrictJSON
import TensorCore
import Testing

/// Configs and tokenizers made of GGUF headers, and GGUF headers made of them.
@Suite struct GGUFModelTests {
    static let sample = URL(filePath: GGUFFixtureTests.directory).deletingLastPathComponent()
        .deletingLastPathComponent().deletingLastPathComponent().appending(path: "SampleModels/tiny-llama")
        .path

    /// The files that a checkpoint holds, by name.
    static func files(_ checkpoint: Checkpoint) throws -> [String: [UInt8]] {
        var files: [String: [UInt8]] = [:]
        for item in checkpoint.embedded {
            files[item.file.name] = try item.source.bytes(at: 0, count: Int(item.source.byteCount))
        }
        return files
    }

    /// The checkpoint of a file with these keys, and with tensors that need not be all of a model.
    static func read(
        _ pairs: [GGUFPair],
        tensors: [(name: TensorName, shape: [UInt64], values: [Float])] = [("nothing", [1], [0])]
    ) throws -> Checkpoint {
        let header = try GGUFHeader(
            pairs: pairs, tensors: tensors.map { ($0.name, $0.shape, GGUFType(id: 0)!) }, file: "test")
        var bytes = header.encoded()
        for (info, tensor) in zip(header.tensors, tensors) {
            bytes += [UInt8](repeating: 0, count: Int(header.dataOffset + info.offset) - bytes.count)
            bytes += GGUFNumbers(tensor.values).bytes
        }
        var options = ReadOptions()
        options.skipsUnsupported = true
        return try FormatRegistry.open(
            source: MemorySource(name: "test.gguf", contents: bytes), name: "test.gguf", options: options
        ).checkpoint
    }

    static func metadata(_ files: [String: [UInt8]], name: String? = nil) throws -> GGUFMetadata {
        let config = try JSONValue(parsing: files["config.json"] ?? Array("{}".utf8))
        return try GGUFMetadata(config: config, name: name) { files[$0] }
    }

    static func tokenizerPairs(_ pairs: [GGUFPair]) -> [String: GGUFValue] {
        Dictionary(
            pairs.filter { $0.key.hasPrefix("tokenizer.") }.map { ($0.key, $0.value) }
        ) { first, _ in first }
    }

    // MARK: Byte pairs

    @Test func `a header becomes a config, a tokenizer and a chat template`() throws {
        let files = try Self.files(try GGUFFixtureTests.read("gguf/llama_q4_0.gguf"))
        #expect(
            Set(files.keys) == [
                "config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json",
                "chat_template.jinja",
            ])
        let template = try FileSystem.contents(of: Self.sample + "/chat_template.jinja", limit: 1 << 20)
        #expect(files["chat_template.jinja"] == template)
        let made = try JSONValue(parsing: try #require(files["tokenizer.json"]))
        let original = try JSONValue(
            parsing: FileSystem.contents(of: Self.sample + "/tokenizer.json", limit: 1 << 20))
        for key in ["pre_tokenizer", "normalizer", "added_tokens"] {
            #expect(
                made[key]?.serialized(sortKeys: true) == original[key]?.serialized(sortKeys: true), "\(key)")
        }
        let merges = original["model"]?["merges"]?.elements?.map { merge in
            merge.string ?? (merge.elements ?? []).compactMap(\.string).joined(separator: " ")
        }
        #expect(made["model"]?["merges"]?.elements?.compactMap(\.string) == merges)
        let config = try JSONValue(parsing: try #require(files["config.json"]))
        #expect(config["model_type"]?.string == "llama")
        #expect(config["rms_norm_eps"]?.double == 1e-5)
        #expect(config["vocab_size"]?.int64 == 512)
        #expect(config["tie_word_embeddings"]?.bool == true)
        #expect(config["dtype"]?.string == "float32")
    }

    @Test func `a header made of the files of a header has the same keys`() throws {
        let original = try GGUFFixtureTests.header("gguf/llama_q4_0.gguf")
        let metadata = try Self.metadata(Self.files(GGUFFixtureTests.read("gguf/llama_q4_0.gguf")))
        for pair in original.pairs where pair.key != "general.file_type" {
            #expect(metadata.pairs.first { $0.key == pair.key }?.value == pair.value, "\(pair.key)")
        }
        let own = Set(original.pairs.map(\.key)).union([
            "general.type", "tokenizer.ggml.add_eos_token", "llama.attention.key_length",
            "llama.attention.value_length",
        ])
        #expect(Set(metadata.pairs.map(\.key)).subtracting(own).isEmpty)
    }

    @Test func `a directory of transformers becomes the keys that Python made of it`() throws {
        var files: [String: [UInt8]] = [:]
        for name in try FileSystem.names(in: Self.sample) where name.hasSuffix("n") || name.hasSuffix("a") {
            files[name] = try FileSystem.contents(of: Self.sample + "/" + name, limit: 1 << 22)
        }
        files["chat_template.jinja"] = try FileSystem.contents(
            of: Self.sample + "/chat_template.jinja", limit: 1 << 20)
        let made = Self.tokenizerPairs(try Self.metadata(files).pairs)
        for (key, value) in Self.tokenizerPairs(try GGUFFixtureTests.header("gguf/llama_q4_0.gguf").pairs) {
            #expect(made[key] == value, "\(key)")
        }
    }

    @Test func `a way to cut words that is not known keeps the tokenizer out, and nothing else`() throws {
        let header = try GGUFFixtureTests.header("gguf/llama_q4_0.gguf")
        for name in ["default", "made-up", nil] as [String?] {
            let pairs = header.pairs.compactMap { pair in
                pair.key == "tokenizer.ggml.pre" ? name.map { GGUFPair(pair.key, .string($0)) } : pair
            }
            let checkpoint = try Self.read(pairs)
            #expect(checkpoint.warnings.contains { $0.code == "tokenizer-left-out" })
            #expect(try Self.files(checkpoint)["tokenizer.json"] == nil)
            #expect(try Self.files(checkpoint)["chat_template.jinja"] != nil)
        }
    }

    @Test func `a tokenizer.json that cuts words in a way without a name is refused`() throws {
        var files = try Self.files(GGUFFixtureTests.read("gguf/llama_q4_0.gguf"))
        let text = String(decoding: try #require(files["tokenizer.json"]), as: UTF8.self)
        let steps = #""add_prefix_space":false,"trim_offsets":true,"use_regex":true"#
        #expect(text.contains(steps))
        files["tokenizer.json"] = Array(
            text.replacingOccurrences(of: steps, with: #""add_prefix_space":true,"use_regex":true"#).utf8)
        let error = try #require(throws: CheckpointError.self) { try Self.metadata(files) }
        #expect(error.code == "tokenizer-unknown")
        #expect(error.class == .unsupported)
    }

    // MARK: SentencePiece

    /// A vocabulary of SentencePiece: special tokens, bytes, letters, and pieces in the order of their scores.
    static func pieces(addsSpace: Bool) -> [GGUFPair] {
        let words = [
            "\u{2581}t", "he", "\u{2581}the", "in", "\u{2581}a", "ing", "er", "the", "\u{2581}\u{2581}",
        ]
        let letters = ["\u{2581}", "a", "e", "g", "h", "i", "n", "r", "t", "é"]
        let bytes = (0..<256).map {
            "<0x" + ($0 < 16 ? "0" : "") + String($0, radix: 16, uppercase: true) + ">"
        }
        let tokens = ["<unk>", "<s>", "</s>"] + bytes + words + letters
        let kinds = [2, 3, 3] + bytes.map { _ in 6 } + (words + letters).map { _ in 1 }
        let scores = (0..<tokens.count).map { $0 < 259 ? 0 : -Float($0 - 259) }
        return [
            GGUFPair("tokenizer.ggml.model", .string("llama")),
            GGUFPair("tokenizer.ggml.pre", .string("default")),
            GGUFPair("tokenizer.ggml.tokens", .strings(GGUFStrings(tokens))),
            GGUFPair("tokenizer.ggml.scores", .numbers(GGUFNumbers(scores))),
            GGUFPair("tokenizer.ggml.token_type", .numbers(GGUFNumbers(kinds.map(Int32.init)))),
            GGUFPair("tokenizer.ggml.add_space_prefix", .bool(addsSpace)),
            GGUFPair("tokenizer.ggml.bos_token_id", .uint32(1)),
            GGUFPair("tokenizer.ggml.eos_token_id", .uint32(2)),
            GGUFPair("tokenizer.ggml.unknown_token_id", .uint32(0)),
            GGUFPair("tokenizer.ggml.add_bos_token", .bool(true)),
            GGUFPair("tokenizer.ggml.add_eos_token", .bool(false)),
        ]
    }

    static let config = """
        {"model_type": "llama", "vocab_size": 278, "num_hidden_layers": 1, "max_position_embeddings": 64,
        "hidden_size": 8, "intermediate_size": 8, "num_attention_heads": 2, "rms_norm_eps": 1e-6}
        """

    @Test(arguments: [true, false], [true, false])
    func `tokens, scores and kinds come back from the files that are made of them`(
        addsSpace: Bool, hasModel: Bool
    ) throws {
        let pairs = Self.pieces(addsSpace: addsSpace)
        var files = try Self.files(Self.read(pairs))
        #expect(files["tokenizer.model"] != nil)
        if !hasModel { files["tokenizer.model"] = nil }
        files["config.json"] = Array(Self.config.utf8)
        let made = Self.tokenizerPairs(try Self.metadata(files).pairs)
        for (key, value) in Self.tokenizerPairs(pairs) where hasModel || key != "tokenizer.ggml.scores" {
            #expect(made[key] == value, "\(key)")
        }
        // Without the model the scores say the same as the merges, by other numbers.
        let again = try Self.files(Self.read(made.map { GGUFPair($0.key, $0.value) }))
        #expect(again["tokenizer.json"] == files["tokenizer.json"])
    }

    @Test func `merges that scores cannot say are refused`() throws {
        var files = try Self.files(Self.read(Self.pieces(addsSpace: true)))
        files["tokenizer.model"] = nil
        files["config.json"] = Array(Self.config.utf8)
        let text = String(decoding: try #require(files["tokenizer.json"]), as: UTF8.self)
        files["tokenizer.json"] = Array(
            text.replacingOccurrences(of: "[\"h\",\"e\"],", with: "").utf8)
        let error = try #require(throws: CheckpointError.self) { try Self.metadata(files) }
        #expect(error.code == "tokenizer-unknown")
    }

    // MARK: Configs

    static let names = [
        "llama", "mistral", "mixtral", "qwen2", "qwen3", "qwen2_moe", "qwen3_moe", "gemma", "gemma2",
        "gemma3_text", "phi3",
    ]

    @Test(arguments: names)
    func `the numbers of a config come back from the header that is made of it`(modelType: String) throws {
        let config = """
            {"model_type": "\(modelType)", "vocab_size": 278, "num_hidden_layers": 3, "hidden_size": 48,
            "max_position_embeddings": 96, "intermediate_size": 72, "num_attention_heads": 4,
            "num_key_value_heads": 2, "rms_norm_eps": 1e-05, "rope_theta": 500000.0, "head_dim": 12,
            "num_experts": 5, "num_local_experts": 5, "num_experts_per_tok": 2, "moe_intermediate_size": 20,
            "shared_expert_intermediate_size": 28, "sliding_window": 32, "final_logit_softcapping": 30.0,
            "attn_logit_softcapping": \(modelType == "gemma2" ? "50.0" : "null"), "rope_local_base_freq": 20000.0}
            """
        var files = try Self.files(Self.read(Self.pieces(addsSpace: true)))
        files["config.json"] = Array(config.utf8)
        let read = try Self.files(Self.read(Self.metadata(files, name: modelType).pairs))
        let made = try JSONValue(parsing: try #require(read["config.json"]))
        let original = try JSONValue(parsing: Array(config.utf8))
        #expect(made["model_type"]?.string == modelType)
        for member in original.members ?? [] {
            guard let value = made[member.key], !value.isNull, member.key != "model_type" else { continue }
            #expect(value.double == member.value.double, "\(member.key)")
        }
        for key in ["num_hidden_layers", "num_key_value_heads", "rope_theta", "vocab_size"] {
            #expect(made[key] != nil, "\(key)")
        }
    }

    @Test func `the slowed rotation of Llama 3 becomes a tensor, and a config again`() throws {
        let rotation = """
            {"rope_type": "llama3", "factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
            "original_max_position_embeddings": 8192}
            """
        var files = try Self.files(Self.read(Self.pieces(addsSpace: true)))
        files["config.json"] =
            Array(
                Self.config.replacingOccurrences(of: "\"hidden_size\": 8", with: "\"hidden_size\": 128")
                    .dropLast().utf8)
            + Array(", \"rope_theta\": 500000.0, \"rope_scaling\": \(rotation)}".utf8)
        let metadata = try Self.metadata(files)
        let factors = try #require(metadata.tensors.first)
        #expect(factors.name == "rope_freqs.weight")
        #expect(factors.values.count == 32)
        #expect(factors.values.first == 1)
        #expect(factors.values.last == 32)
        let checkpoint = try Self.read(
            metadata.pairs, tensors: [(factors.name, [UInt64(factors.values.count)], factors.values)])
        let made = try Self.files(checkpoint)
        let config = try JSONValue(parsing: try #require(made["config.json"]))
        let expected = try JSONValue(parsing: Array(rotation.utf8))
        for member in expected.members ?? [] {
            let value = config["rope_scaling"]?[member.key]
            #expect(value?.double == member.value.double)
            #expect(value?.string == member.value.string)
        }
    }
}
