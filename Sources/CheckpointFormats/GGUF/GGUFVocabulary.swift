internal import Checkpoints
internal import StrictJSON
internal import TensorCore

/// The keys of a GGUF header that the tokenizer files of a model directory become.
struct GGUFVocabulary {
    var pairs: [GGUFPair] = []
    var warnings: [CheckpointWarning] = []

    let size: Int
    var tokens: [Token] = []
    let config: JSONValue
    let generation: JSONValue?
    let tokenizer: JSONValue?
    let settings: JSONValue?

    struct Token {
        var text: [UInt8]
        var score: Float
        var kind: GGUFTokenizer.Kind
    }

    init(
        size: UInt32, config: JSONValue, file: (String) throws(CheckpointError) -> [UInt8]?
    ) throws(CheckpointError) {
        guard size <= 1 << 22 else {
            throw CheckpointError(
                .malformed, "config-incomplete", "it says \(size) tokens, which no model has",
                file: "config.json")
        }
        self.size = Int(size)
        self.config = config
        func json(_ name: String) throws(CheckpointError) -> JSONValue? {
            guard let contents = try file(name) else { return nil }
            do { return try JSONValue(parsing: contents) } catch {
                throw CheckpointError(
                    .malformed, "bad-json", error.message, file: name, offset: UInt64(error.offset))
            }
        }
        tokenizer = try json("tokenizer.json")
        settings = try json("tokenizer_config.json")
        generation = try json("generation_config.json")
        if let contents = try file("tokenizer.model"), let model = SentencePieceModel(contents) {
            try addPieces(model)
        } else if let tokenizer {
            try addTokenizer(tokenizer)
        } else {
            throw CheckpointError(
                .unsupported, "tokenizer-missing",
                "the model has neither a tokenizer.json nor a tokenizer.model that is understood, and no program "
                    + "runs a GGUF file without one", file: "tokenizer.json")
        }
        addSpecial()
        try addTemplate(try file("chat_template.jinja"), try json("chat_template.json"))
    }

    mutating func add(_ key: String, _ value: GGUFValue) {
        pairs.append(GGUFPair("tokenizer.ggml.\(key)", value))
    }

    static func unsupported(_ message: String, file: String = "tokenizer.json") -> CheckpointError {
        CheckpointError(.unsupported, "tokenizer-unknown", message, file: file)
    }
}

// MARK: - Tokens

extension GGUFVocabulary {
    /// A vocabulary of SentencePiece.
    private mutating func addPieces(_ model: SentencePieceModel) throws(CheckpointError) {
        guard !model.isUnigram else {
            throw Self.unsupported(
                "it is a unigram model of SentencePiece, which GGUF cannot say for this architecture",
                file: "tokenizer.model")
        }
        tokens = model.pieces.map { piece in
            Token(text: piece.text, score: piece.score, kind: .init(rawValue: piece.kind) ?? .normal)
        }
        if model.hasTable {
            warnings.append(
                CheckpointWarning(
                    "tokenizer-table",
                    "its table that normalises text is left out: GGUF has no place for it here",
                    file: "tokenizer.model"))
        }
        try addAddedTokens(score: -1000)
        addScored(addsSpace: model.addsSpace, removesSpaces: model.removesSpaces)
    }

    private mutating func addScored(addsSpace: Bool, removesSpaces: Bool) {
        add("model", .string("llama"))
        add("pre", .string("default"))
        addTokens()
        add("scores", .numbers(GGUFNumbers(tokens.map(\.score))))
        addKinds()
        add("add_space_prefix", .bool(addsSpace))
        if removesSpaces { add("remove_extra_whitespaces", .bool(true)) }
    }

    /// A vocabulary of a `tokenizer.json`.
    private mutating func addTokenizer(_ json: JSONValue) throws(CheckpointError) {
        guard let model = json["model"], model["type"]?.string == "BPE",
            let vocabulary = model["vocab"]?.members
        else {
            throw Self.unsupported("it is no BPE model, and no other is written as GGUF")
        }
        let merges = try Self.merges(model)
        for member in vocabulary {
            guard let id = member.value.uint64, id < 1 << 22 else {
                throw Self.unsupported("a token has no number that makes sense")
            }
            set(Int(id), Token(text: Array(member.key.utf8), score: 0, kind: .normal))
        }
        if model["byte_fallback"]?.bool == true {
            try addBytesAndScores(json, merges)
            try addAddedTokens(score: -1000)
            return addScored(addsSpace: try Self.addsSpace(json), removesSpaces: false)
        }
        guard let preTokenizer = PreTokenizer.of(json) else {
            throw Self.unsupported(
                "it cuts text into words in a way that llama.cpp has no name for that is known here, and by "
                    + "another the model would read other tokens")
        }
        try addAddedTokens(score: 0)
        add("model", .string("gpt2"))
        add("pre", .string(preTokenizer.names[0]))
        addTokens()
        addKinds()
        add("merges", .strings(GGUFStrings(merges.map { "\($0.left) \($0.right)" })))
    }

    private static func merges(_ model: JSONValue) throws(CheckpointError) -> [(left: String, right: String)]
    {
        // Spaces stand between the parts, so those in a part are spelt as bytes are.
        func part(_ text: String) -> String {
            text.utf8.contains(0x20)
                ? text.reduce(into: "") { $0 += $1 == " " ? "\u{120}" : String($1) } : text
        }
        var merges: [(left: String, right: String)] = []
        for merge in model["merges"]?.elements ?? [] {
            let parts =
                merge.elements?.compactMap(\.string) ?? merge.string?.split(separator: " ").map(String.init)
            guard let parts, parts.count == 2 else { throw unsupported("a merge is no pair") }
            merges.append((part(parts[0]), part(parts[1])))
        }
        return merges
    }

    private mutating func set(_ id: Int, _ token: Token) {
        while tokens.count < min(id, size) { tokens.append(placeholder(tokens.count)) }
        if id < tokens.count { tokens[id] = token } else if id < size { tokens.append(token) }
    }

    private func placeholder(_ id: Int) -> Token {
        Token(text: Array("[PAD\(id)]".utf8), score: -1000, kind: .unused)
    }

    private mutating func addTokens() {
        while tokens.count < size { tokens.append(placeholder(tokens.count)) }
        if tokens.count > size { tokens.removeLast(tokens.count - size) }
        var strings = GGUFStrings()
        for token in tokens { strings.append(token.text.span) }
        add("tokens", .strings(strings))
    }

    private mutating func addKinds() {
        add("token_type", .numbers(GGUFNumbers(tokens.map { Int32($0.kind.rawValue) })))
    }

    /// Tokens that were added to the vocabulary of the model itself, by any of the files that list them.
    private mutating func addAddedTokens(score: Float) throws(CheckpointError) {
        var added: [(id: Int, text: String, isSpecial: Bool)] = []
        for item in tokenizer?["added_tokens"]?.elements ?? [] {
            guard let id = item["id"]?.uint64, let text = item["content"]?.string else { continue }
            added.append((Int(clamping: id), text, item["special"]?.bool ?? false))
        }
        if tokenizer == nil {
            for member in settings?["added_tokens_decoder"]?.members ?? [] {
                guard let id = UInt32(member.key), let text = member.value["content"]?.string else {
                    continue
                }
                added.append((Int(id), text, member.value["special"]?.bool ?? false))
            }
        }
        for (id, text, isSpecial) in added {
            guard id < size else {
                warnings.append(
                    CheckpointWarning(
                        "token-left-out",
                        "the token '\(escapedForDisplay(text))' has number \(id), and the model has \(size)",
                        file: "tokenizer.json"))
                continue
            }
            if id < tokens.count, tokens[id].kind != .normal, tokens[id].kind != .unused { continue }
            // The text is matched as it is, so it has spaces and not what stands for them in a model.
            let raw = isSpecial || score == 0 ? Array(text.utf8) : Array(text.replacingMarks().utf8)
            let own = id < tokens.count && tokens[id].kind == .normal ? tokens[id].score : score
            set(id, Token(text: raw, score: own, kind: isSpecial ? .control : .userDefined))
        }
    }
}

extension String {
    /// With spaces in place of what stands for them in a model of SentencePiece.
    fileprivate func replacingMarks() -> String {
        reduce(into: "") { $0 += $1 == "\u{2581}" ? " " : String($1) }
    }
}
