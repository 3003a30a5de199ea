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
        case .pytorch: return try checkpoints(root, limit: 4096)
        case .pickle: return try pickles(root)
        case .pattern: return patterns.map { Array($0.utf8) }
        case .pipeline: return pipelines.map { Array($0.utf8) }
        case .npy: return try fixtures(root, ["npy", "npy/made", "npy/npz"])
        case .onnx: return try fixtures(root, ["onnx/made", "onnx/ext"])
        case .hdf5: return try fixtures(root, ["hdf5/made", "keras"])
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

    private static func checkpoints(_ root: String, limit: Int) throws -> [[UInt8]] {
        try ["pt", "more", "bad", "mal"].flatMap { folder in
            let directory = root + "/Tests/Fixtures/pytorch/" + folder
            return try FileSystem.names(in: directory).map { name in
                try FileSystem.contents(of: Path.join(directory, name), limit: 1 << 20)
            }
        }.filter { $0.count <= limit }
    }

    /// The files of some folders of fixtures.
    private static func fixtures(_ root: String, _ folders: [String]) throws -> [[UInt8]] {
        try folders.flatMap { folder in
            let directory = root + "/Tests/Fixtures/formats/" + folder
            return try FileSystem.names(in: directory).map { Path.join(directory, $0) }.filter { path in
                try FileSystem.kind(of: path) == .file
            }.map { path in try FileSystem.contents(of: path, limit: 1 << 20) }
        }.filter { $0.count <= 8192 }
    }

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
