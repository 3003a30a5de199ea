internal import StrictJSON

/// How text is cut into words before their bytes are merged: what llama.cpp has a name for, and a `tokenizer.json`
/// spells out.
struct PreTokenizer {
    /// The names that llama.cpp takes for it; the first is the one that is written.
    let names: [String]
    /// The steps, as `tokenizer.json` has them.
    let steps: JSONValue
    /// Whether text is brought into Unicode's form NFC first.
    var isNormalised = false
    /// Whether a word that is a token is taken as it is, without merges.
    var ignoresMerges = false
    /// Whether the model's first token is added where nothing says otherwise.
    var addsFirst = false

    private static let end = #" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"#
    private static let contractions = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
    private static let cased =
        #"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+@|"#
        + #"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*@|\p{N}#|"#
        + #" ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"#
    private static let deepSeek =
        ##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^"## + "\r\n"
        + #"\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+["# + "\r\n" + #"]*|\s*["# + "\r\n"
        + #"]+|\s+(?!\S)|\s+"#

    private static let llama3 = contractions + #"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|"# + end
    private static let qwen2 = contractions + #"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|"# + end
    private static let qwen35 =
        contractions + #"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|"#
        + #"\s*[\r\n]+|\s+(?!\S)|\s+"#
    private static let tekken = pattern(cased, suffix: "", digits: "")
    private static let gpt4o = pattern(cased, suffix: contractions + "?", digits: "{1,3}")

    private static func pattern(_ text: String, suffix: String, digits: String) -> String {
        text.reduce(into: "") { $0 += $1 == "@" ? suffix : $1 == "#" ? digits : String($1) }
    }

    /// Those that are known.
    ///
    /// Of two with the same steps, the first is what is written.
    static let all = [
        PreTokenizer(
            names: [
                "gpt-2", "phi-2", "mpt", "olmo", "jais", "trillion", "gigachat", "jina-es", "jina-de",
                "jina-v1-en", "jina-v2-es", "jina-v2-de", "jina-v2-code", "roberta-bpe",
            ], steps: bytes(byWords: true)),
        PreTokenizer(
            names: ["llama-bpe", "llama3", "llama-v3", "falcon3"], steps: steps(llama3), ignoresMerges: true,
            addsFirst: true),
        PreTokenizer(names: ["dbrx", "smaug-bpe"], steps: steps(llama3)),
        PreTokenizer(names: ["qwen2", "megrez"], steps: steps(qwen2), isNormalised: true),
        PreTokenizer(names: ["stablelm2", "hunyuan"], steps: steps(qwen2)),
        PreTokenizer(names: ["qwen35"], steps: steps(qwen35), isNormalised: true),
        PreTokenizer(
            names: ["smollm", "starcoder", "refact", "codeshell", "exaone", "minerva-7b"],
            steps: sequence([digits, bytes(byWords: true)])),
        PreTokenizer(
            names: ["command-r"], steps: sequence([digits, bytes(byWords: true)]), isNormalised: true),
        PreTokenizer(names: ["tekken"], steps: steps(tekken), ignoresMerges: true, addsFirst: true),
        PreTokenizer(names: ["gpt-4o"], steps: steps(gpt4o)),
        PreTokenizer(names: ["llama4"], steps: steps(gpt4o), ignoresMerges: true),
        PreTokenizer(names: ["deepseek-v3"], steps: steps(#"\p{N}{1,3}"#, "[一-龥぀-ゟ゠-ヿ]+", deepSeek)),
        PreTokenizer(
            names: ["deepseek-coder"],
            steps: sequence(
                ["[\r\n]", #"\s?\p{L}+"#, #"\s?\p{P}+"#, "[一-龥ࠀ-一가-퟿]+"].map(split)
                    + [digits, bytes(byWords: false)])),
    ]

    /// The one that llama.cpp has this name for.
    static func named(_ name: String) -> PreTokenizer? {
        all.first { $0.names.contains { $0.utf8.elementsEqual(name.utf8) } }
    }

    /// The one that a `tokenizer.json` describes; nil where it is not known.
    static func of(_ tokenizer: JSONValue) -> PreTokenizer? {
        guard let steps = tokenizer["pre_tokenizer"].map(canonical) else { return nil }
        let normaliser = tokenizer["normalizer"] ?? .null
        let isNormalised = normaliser["type"]?.string == "NFC"
        let isPlain = normaliser.isNull || normaliser["normalizers"]?.elements?.isEmpty == true
        guard isNormalised || isPlain else { return nil }
        let ignoresMerges = tokenizer["model"]?["ignore_merges"]?.bool ?? false
        let text = steps.serialized()
        return all.first {
            canonical($0.steps).serialized() == text && $0.isNormalised == isNormalised
                && $0.ignoresMerges == ignoresMerges
        }
    }
}

// MARK: - Steps

extension PreTokenizer {
    private static func sequence(_ steps: [JSONValue]) -> JSONValue {
        .object([JSONMember("type", .string("Sequence")), JSONMember("pretokenizers", .array(steps))])
    }

    private static func steps(_ patterns: String...) -> JSONValue {
        sequence(patterns.map(split) + [bytes(byWords: false)])
    }

    private static func split(_ pattern: String) -> JSONValue {
        .object([
            JSONMember("type", .string("Split")),
            JSONMember("pattern", .object([JSONMember("Regex", .string(pattern))])),
            JSONMember("behavior", .string("Isolated")), JSONMember("invert", .bool(false)),
        ])
    }

    private static let digits = JSONValue.object([
        JSONMember("type", .string("Digits")), JSONMember("individual_digits", .bool(true)),
    ])

    private static func bytes(byWords: Bool) -> JSONValue {
        .object([
            JSONMember("type", .string("ByteLevel")), JSONMember("add_prefix_space", .bool(false)),
            JSONMember("trim_offsets", .bool(true)), JSONMember("use_regex", .bool(byWords)),
        ])
    }

    /// The steps without what makes no difference to the tokens.
    private static func canonical(_ steps: JSONValue) -> JSONValue {
        if let inner = steps["pretokenizers"]?.elements {
            return inner.count == 1 ? canonical(inner[0]) : sequence(inner.map(canonical))
        }
        guard var members = steps.members else { return steps }
        members.removeAll { $0.key == "trim_offsets" }
        let type = steps["type"]?.string
        if type == "ByteLevel", steps["use_regex"] == nil {
            members.append(JSONMember("use_regex", .bool(true)))
        }
        // What a pattern does not match is nothing, so it is all one whether that is removed.
        if type == "Split", steps["behavior"]?.string == "Removed", steps["invert"]?.bool == true {
            members.removeAll { $0.key == "behavior" || $0.key == "invert" }
            members += [JSONMember("behavior", .string("Isolated")), JSONMember("invert", .bool(false))]
        }
        return .object(members.sorted { $0.key.utf8.lexicographicallyPrecedes($1.key.utf8) })
    }
}
