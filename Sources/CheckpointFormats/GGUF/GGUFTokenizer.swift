internal import StrictJSON
internal import TensorCore

/// The vocabulary of a GGUF header, checked for what the files made of it need.
struct GGUFTokenizer: Sendable {
    /// How text becomes tokens.
    enum Model: Sendable {
        /// Bytes are merged by a list of pairs.
        case bytePairs(PreTokenizer, merges: GGUFStrings)
        /// Characters are merged by the scores of what they become (SentencePiece's BPE).
        case scores([Float])
    }

    /// What a token is, by the numbers that SentencePiece and GGUF have for it.
    enum Kind: UInt8, Sendable {
        case normal = 1
        case unknown, control, userDefined, unused, byte
    }

    let model: Model
    let tokens: GGUFStrings
    let kinds: [Kind]
    /// The special tokens by their names in a config, such as `bos_token`.
    let special: [(name: String, id: Int)]
    let addsFirst: Bool
    let addsLast: Bool
    /// Whether text begins with a space (of models with scores).
    let addsSpace: Bool
    /// The longest text that the model takes.
    let contextLength: Int?
    /// The chat templates by name; the usual one is called `default`.
    let templates: [(name: String, text: String)]

    /// Why a vocabulary is not carried over.
    struct Problem: Error {
        let text: String
    }

    /// The most tokens, and bytes of all together, of one, and of all merges.
    private static let limits = (count: 1 << 20, byteCount: 8 << 20, tokenByteCount: 1024, merges: 32 << 20)

    /// Reads the vocabulary; nil where there is none.
    init?(_ header: GGUFHeader) throws(Problem) {
        guard let name = header["tokenizer.ggml.model"]?.string, name != "none", name != "no_vocab",
            let tokens = header["tokenizer.ggml.tokens"]?.strings
        else { return nil }
        self.tokens = tokens
        kinds = try Self.kinds(header, count: tokens.count)
        try Self.check(tokens)
        let flag = { (key: String) in header["tokenizer.ggml.\(key)"]?.bool }
        switch name {
        case "gpt2":
            let (preTokenizer, merges) = try Self.bytePairs(header)
            model = .bytePairs(preTokenizer, merges: merges)
            addsFirst = flag("add_bos_token") ?? preTokenizer.addsFirst
            addsSpace = flag("add_space_prefix") ?? false
            guard !addsSpace else { throw Problem(text: "its text begins with a space") }
        case "llama":
            model = .scores(try Self.scores(header, count: tokens.count))
            addsFirst = flag("add_bos_token") ?? true
            addsSpace = flag("add_space_prefix") ?? true
            guard flag("remove_extra_whitespaces") != true else {
                throw Problem(text: "it takes several spaces for one")
            }
        default: throw Problem(text: "it is of the kind '\(escapedForDisplay(name))'")
        }
        addsLast = flag("add_eos_token") ?? false
        special = try Self.special(header, count: tokens.count)
        contextLength = header["general.architecture"]?.string.flatMap { header["\($0).context_length"]?.int }
        templates = Self.templates(header)
        guard !addsFirst || special.contains(where: { $0.name == "bos_token" }),
            !addsLast || special.contains(where: { $0.name == "eos_token" })
        else { throw Problem(text: "it adds a token without saying which") }
    }

    /// The text of a token.
    func text(_ id: Int) -> String { tokens.text(at: id) }

    /// The text of a special token.
    func text(_ name: String) -> (text: String, id: Int)? {
        special.first { $0.name == name }.map { (text($0.id), $0.id) }
    }

    private static let notText = "a token is no UTF-8"

    private static func check(_ tokens: GGUFStrings) throws(Problem) {
        guard tokens.count <= limits.count, tokens.byteCount <= limits.byteCount else {
            throw Problem(text: "it has too many tokens")
        }
        var known: Set<ByteKey> = []
        known.reserveCapacity(tokens.count)
        for token in tokens {
            guard token.count <= limits.tokenByteCount else { throw Problem(text: "a token is too long") }
            guard known.insert(ByteKey(Array(token))).inserted else {
                throw Problem(
                    text: "the token '\(escapedForDisplay(String(decoding: token, as: UTF8.self)))' is there "
                        + "twice")
            }
            guard token.first.map({ $0 & 0xC0 != 0x80 }) != false else { throw Problem(text: notText) }
        }
        // Where all together are, and none begins within a character, each is.
        guard String(validating: tokens.bytes, as: UTF8.self) != nil else { throw Problem(text: notText) }
    }

    private static func kinds(_ header: GGUFHeader, count: Int) throws(Problem) -> [Kind] {
        guard let numbers = header["tokenizer.ggml.token_type"]?.numbers?.integers else {
            return [Kind](repeating: .normal, count: count)
        }
        guard numbers.count == count else { throw Problem(text: "not every token has a kind") }
        var kinds: [Kind] = []
        kinds.reserveCapacity(count)
        for number in numbers {
            guard let kind = UInt8(exactly: number).flatMap(Kind.init) else {
                throw Problem(text: "a token is of kind \(number), which is not known")
            }
            kinds.append(kind)
        }
        return kinds
    }

    private static func bytePairs(_ header: GGUFHeader) throws(Problem) -> (PreTokenizer, GGUFStrings) {
        guard let merges = header["tokenizer.ggml.merges"]?.strings, merges.byteCount <= limits.merges else {
            throw Problem(text: "its merges are missing or too many")
        }
        guard let name = header["tokenizer.ggml.pre"]?.string, name != "default" else {
            throw Problem(text: "nothing says how it cuts text into words")
        }
        guard let preTokenizer = PreTokenizer.named(name) else {
            throw Problem(text: "it cuts text into words by the rule '\(escapedForDisplay(name))'")
        }
        for merge in merges where merge.count(where: { $0 == 0x20 }) != 1 {
            throw Problem(text: "a merge is no pair")
        }
        return (preTokenizer, merges)
    }

    private static func scores(_ header: GGUFHeader, count: Int) throws(Problem) -> [Float] {
        guard let scores = header["tokenizer.ggml.scores"]?.numbers?.floats, scores.count == count,
            scores.allSatisfy(\.isFinite)
        else { throw Problem(text: "not every token has a score") }
        return scores
    }

    private static func special(
        _ header: GGUFHeader, count: Int
    ) throws(Problem) -> [(name: String, id: Int)] {
        var result: [(name: String, id: Int)] = []
        for (key, name) in [
            ("bos", "bos_token"), ("eos", "eos_token"), ("unknown", "unk_token"), ("seperator", "sep_token"),
            ("padding", "pad_token"), ("cls", "cls_token"), ("mask", "mask_token"),
        ] {
            guard let id = header["tokenizer.ggml.\(key)_token_id"]?.int else { continue }
            guard 0..<count ~= id else {
                throw Problem(text: "its \(name) is number \(id), which it has not")
            }
            result.append((name, id))
        }
        return result
    }

    static func templates(_ header: GGUFHeader) -> [(name: String, text: String)] {
        let usual = header["tokenizer.chat_template"]?.string.map { [("default", $0)] } ?? []
        let names = header["tokenizer.chat_templates"]?.strings ?? GGUFStrings()
        return usual
            + names.prefix(64).compactMap { name in
                let name = String(decoding: name, as: UTF8.self)
                return header["tokenizer.chat_template.\(name)"]?.string.map { (name, $0) }
            }
    }
}
