internal import SafeTensors
internal import StrictJSON
internal import TensorCore

/// Files to start from, taken from the cases of `Formats` and the fixtures of the tests.
public enum Corpus {
    /// The files that an entry starts from.
    ///
    /// - Parameters:
    ///   - entry: what will read them.
    ///   - root: the root of the repository.
    public static func files(for entry: FuzzEntry, root: String) throws -> [[UInt8]] {
        switch entry {
        case .header: return try cases(root) + loaderCases(root) { $0.hasSuffix(".safetensors") }
        case .json:
            let headers = try cases(root).filter { $0.count > 8 }.map { Array($0[8...]) }
            return headers + (try loaderCases(root) { $0.hasSuffix(".json") })
        case .index: return try loaderCases(root) { $0.hasSuffix(".json") }
        case .pytorch:
            let oldest = root + "/Tests/Fixtures/formats/pt/oldest.pth"
            return try checkpoints(root, limit: 4096) + [FileSystem.contents(of: oldest, limit: 1 << 20)]
        case .pickle: return try pickles(root)
        case .nemo:
            return try files(root + "/Tests/Fixtures/formats/nemo")
                + files(root + "/Tests/Fixtures/formats/mal")
                + files(root + "/Tests/Fixtures/formats/bad")
        case .stream: return streams + streams.map { $0 + $0.dropFirst() } + streams.map { $0.dropLast() }
        case .pattern: return patterns.map { Array($0.utf8) }
        case .names: return try names(root)
        case .adapter: return try adapters()
        case .pipeline: return pipelines.map { Array($0.utf8) }
        case .msgpack: return try flaxFiles(root)
        case .ocdbt: return try orbaxParts(root)
        case .dcp: return try distributed(root)
        case .zero: return try zero(root)
        case .gguf: return try files(root, "gguf", suffix: ".gguf")
        case .npy: return try fixtures(root, ["npy", "npy/made", "npy/npz"])
        case .onnx: return try fixtures(root, ["onnx/made", "onnx/ext"])
        case .hdf5: return try fixtures(root, ["hdf5/made", "keras"])
        case .sentencepiece: return try files(root, "sentencepiece", suffix: ".model")
        }
    }

    private static func fixtures(_ root: String, _ folders: [String]) throws -> [[UInt8]] {
        try folders.flatMap { folder in
            let directory = root + "/Tests/Fixtures/formats/" + folder
            return try FileSystem.names(in: directory).map { Path.join(directory, $0) }.filter { path in
                try FileSystem.kind(of: path) == .file
            }.map { path in try FileSystem.contents(of: path, limit: 1 << 20) }
        }.filter { $0.count <= 8192 }
    }

    /// Adapters for the base of the entry: settings, and the names and shapes of their tensors.
    private static func adapters() throws -> [[UInt8]] {
        let q = "base_model.model.model.layers.0.self_attn.q_proj."
        let plain: [(String, [UInt64])] = [(q + "lora_A.weight", [2, 16]), (q + "lora_B.weight", [16, 2])]
        let lora = #""peft_type":"LORA","r":2,"lora_alpha":4"#
        let mlx = #""fine_tune_type":"lora","lora_parameters":{"rank":2,"scale":2.0}"#
        let experts = "base_model.model.model.layers.0.mlp.experts."
        let embedding = "base_model.model.model.embed_tokens."
        let cases: [(String, [(String, [UInt64])])] = [
            (lora, plain), (lora + #","use_rslora":true,"rank_pattern":{"q_(proj|x)+":2}"#, plain),
            (lora + #","use_dora":true"#, plain + [(q + "lora_magnitude_vector", [16])]),
            (lora + #","lora_bias":true"#, plain + [(q + "lora_B.bias", [16])]),
            (lora + #","fan_in_fan_out":true,"alpha_pattern":{"model\\.layers.*":1e3}"#, plain),
            (
                lora + #","modules_to_save":["lm_head"]"#,
                plain + [("base_model.model.lm_head.weight", [40, 16])]
            ),
            (lora, plain + [("base_model.model.model.norm.modules_to_save.default.weight", [16])]),
            (
                lora + #","trainable_token_indices":[3,39,0]"#,
                plain + [(embedding + "token_adapter.trainable_tokens_delta", [3, 16])]
            ),
            (lora, [(embedding + "lora_embedding_A", [2, 40]), (embedding + "lora_embedding_B", [16, 2])]),
            (
                lora + #","target_parameters":["mlp.experts.down_proj"]"#,
                [(experts + "lora_A.weight", [6, 8]), (experts + "lora_B.weight", [16, 6])]
            ),
            (
                lora,
                [
                    ("base_model.model.conv.lora_A.weight", [2, 3, 4, 4]),
                    ("base_model.model.conv.lora_B.weight", [16, 2, 1, 1]),
                ]
            ),
            (
                mlx,
                [
                    ("model.layers.0.mlp.down_proj.lora_a", [24, 2]),
                    ("model.layers.0.mlp.down_proj.lora_b", [2, 16]),
                ]
            ),
            (#""peft_type":"LOHA""#, plain),
        ]
        return try cases.map { settings, shapes in
            let layout = try SafeTensorsLayout(
                tensors: shapes.map { (TensorName($0.0), DType.f32, $0.1) }, metadata: [], alignment: 8)
            let size = Int(layout.fileByteCount) - layout.header.count
            return Array("{\(settings)}\n".utf8) + layout.header
                + [UInt8](repeating: 0x3F, count: size)
        }
    }

    private static let patterns = [
        "s/^model\\.//", "s/a*/&-/g", "s|layers\\.([0-9]+)|h.\\1|i", "s/(a|b)+c?/\\1/g", "s/[^.]{2,5}$/x/",
        "*", "*.weight", "model.{layers,h}.[0-9]*", "\\*?", "{a,{b,c*}}d", "[!a-z]?", "s/(a*)*b/\\1/",
    ].map { $0 + "\nmodel.layers.0.self_attn.q_proj.weight" }

    private static let pipelines = [
        "steps:\n  - verify:\n      path: out\n",
        "- export: {source: a, output: b, dtype: bf16}\n- verify: {path: b}\n",
        "vars:\n  x: 1\nsteps:\n  - verify: {path: \"${x}/y\"}\n", "- verify: out\n", "- {}\n", "# nothing\n",
        "steps:\n- export:\n    source: 'it''s'\n    drop: [\"*.a\", b]\n", "a: &b c\n",
        "- {a: [1, {b: c}]}\n",
        "steps:\n  - check: {path: \"\\u00e9\\n\"}\n", "- inspect: {path: ${env.HOME}}\n", "steps: []\n",
        "- verify:\n    path: |\n      x\n",
    ]

    /// The first layer of tiny models, to and from every scheme.
    private static func names(_ root: String) throws -> [[UInt8]] {
        let directory = root + "/Tests/Fixtures/architectures"
        var result: [[UInt8]] = [
            Array(
                #"""
                {"params":{"dim":4,"n_layers":1,"n_heads":2,"vocab_size":-1},"tensors":{"output.weight":[2,4],
                "tok_embeddings.weight":[2,4],"layers.0.feed_forward.w1.weight":[6,4]}}
                """#.utf8)
        ]
        for name in try FileSystem.names(in: directory) {
            let text = try FileSystem.contents(of: Path.join(directory, name), limit: 1 << 20)
            let model = try JSONValue(parsing: text)
            let config = (model["config"]?.members ?? []).filter { member in
                member.value.uint64 != nil || member.key == "model_type"
            }
            func document(_ tensors: [JSONMember], to scheme: String) -> [UInt8] {
                let first = tensors.filter { !$0.key.contains("1.") && !$0.key.contains("2.") }
                return JSONValue.object([
                    JSONMember("config", .object(config)), JSONMember("to", .string(scheme)),
                    JSONMember("tensors", .object(Array(first))),
                ]).serialized()
            }
            for scheme in model["schemes"]?.members ?? [] {
                let theirs = (scheme.value.members ?? []).map {
                    JSONMember($0.key, $0.value.elements?.first ?? .null)
                }
                result.append(document(model["tensors"]?.members ?? [], to: scheme.key))
                result.append(document(theirs, to: "hf"))
            }
        }
        return result
    }

    private static func cases(_ root: String) throws -> [[UInt8]] {
        try lines(root + "/Formats/safetensors/cases.jsonl").compactMap {
            $0["base64"]?.string.map(decodeBase64)
        }
        .filter { $0.count < 1000 }
    }

    private static func loaderCases(_ root: String, _ wants: (String) -> Bool) throws -> [[UInt8]] {
        let files = try lines(root + "/Formats/loaders/cases.jsonl").flatMap { $0["files"]?.members ?? [] }
        let wanted = files.filter { wants($0.key) }.compactMap { $0.value.string.map(decodeBase64) }
        return wanted.filter { $0.count < 1000 }
    }

    /// The small files of a folder of format fixtures.
    private static func files(_ root: String, _ folder: String, suffix: String) throws -> [[UInt8]] {
        let directory = root + "/Tests/Fixtures/formats/" + folder
        return try FileSystem.names(in: directory).filter { $0.hasSuffix(suffix) }.map { name in
            try FileSystem.contents(of: Path.join(directory, name), limit: 1 << 20)
        }.filter { $0.count < 20_000 }
    }

    private static func checkpoints(_ root: String, limit: Int) throws -> [[UInt8]] {
        let folders = [
            "pytorch/pt", "pytorch/more", "pytorch/bad", "pytorch/mal", "formats/pt", "formats/bad",
        ]
        return try folders.flatMap { try files(root + "/Tests/Fixtures/" + $0) }.filter { $0.count <= limit }
    }

    private static func files(_ directory: String) throws -> [[UInt8]] {
        try FileSystem.names(in: directory).map { name in
            try FileSystem.contents(of: Path.join(directory, name), limit: 1 << 20)
        }
    }

    /// `0` sixteen times in each kind of stream, behind the number of the kind.
    private static let streams: [[UInt8]] = [
        [0, 0x33, 0x30, 0x40, 0x05, 0x00],
        [
            1, 0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 3, 0x33, 0x30, 0x40, 0x05, 0x00, 0x64, 0x6B, 0x00, 0xA2, 0x10,
            0, 0,
            0,
        ],
        [2, 0x78, 0x9C, 0x33, 0x30, 0x40, 0x05, 0x00, 0x19, 0x90, 0x03, 0x01],
        [3, 0x28, 0xB5, 0x2F, 0xFD, 0x20, 0x10, 0x83, 0, 0, 0x30],
    ]

    /// The stored pickles of the archives.
    private static func pickles(_ root: String) throws -> [[UInt8]] {
        let name = Array("/data.pkl".utf8)
        return try checkpoints(root, limit: 1 << 20).compactMap { file in
            guard file.starts(with: [0x50, 0x4B, 3, 4]), file.count > 64 else { return nil }
            let sizes = (18..<26).map { Int(file[$0]) }
            let count = sizes[0] | sizes[1] << 8 | sizes[2] << 16
            let lengths = (26..<30).map { Int(file[$0]) }
            let start = 30 + (lengths[0] | lengths[1] << 8) + (lengths[2] | lengths[3] << 8)
            let title = file[30..<30 + (lengths[0] | lengths[1] << 8)]
            guard title.suffix(name.count).elementsEqual(name), start + count <= file.count else {
                return nil
            }
            return Array(file[start..<start + count])
        }.filter { !$0.isEmpty }
    }

    private static func lines(_ path: String) throws -> [JSONValue] {
        try FileSystem.contents(of: path, limit: 16 << 20).split(separator: UInt8(ascii: "\n")).map {
            try JSONValue(parsing: Array($0))
        }
    }

    private static func decodeBase64(_ text: String) -> [UInt8] {
        let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)
        var result: [UInt8] = []
        var (bits, count) = (0 as UInt32, 0)
        for byte in text.utf8 {
            guard let value = alphabet.firstIndex(of: byte) else { continue }
            (bits, count) = (bits << 6 | UInt32(value), count + 6)
            guard count >= 8 else { continue }
            count -= 8
            result.append(UInt8(truncatingIfNeeded: bits >> UInt32(count)))
        }
        return result
    }
}
