internal import Checkpoints
internal import StrictJSON
internal import TensorCore

extension GGUFVocabulary {
    /// Finds out which tokens stand for bytes, and the scores that say the same as the merges.
    mutating func addBytesAndScores(
        _ json: JSONValue, _ merges: [(left: String, right: String)]
    ) throws(CheckpointError) {
        var ids: [ByteKey: Int] = [:]
        for id in tokens.indices { ids[ByteKey(tokens[id].text)] = id }
        for byte in 0...255 {
            let digits = String(byte, radix: 16, uppercase: true)
            guard let id = ids[ByteKey("<0x\(byte < 16 ? "0" : "")\(digits)>")] else { continue }
            tokens[id].kind = .byte
        }
        if let unknown = json["model"]?["unk_token"]?.string, let id = ids[ByteKey(unknown)] {
            tokens[id].kind = .unknown
        }
        for item in json["added_tokens"]?.elements ?? [] where item["special"]?.bool == true {
            guard let text = item["content"]?.string, let id = ids[ByteKey(text)], tokens[id].kind == .normal
            else { continue }
            tokens[id].kind = .control
        }
        let scored = merges.compactMap { ids[ByteKey($0.left + $0.right)] }
        var isScored = [Bool](repeating: false, count: tokens.count)
        var rank = 0
        for id in scored where !isScored[id] {
            isScored[id] = true
            tokens[id].score = -Float(rank)
            rank += 1
        }
        for id in tokens.indices where !isScored[id] && tokens[id].kind == .normal {
            tokens[id].score = -Float(rank)
            rank += 1
        }
        try checkScores(merges)
    }

    /// Refuses merges that scores cannot say.
    private func checkScores(_ merges: [(left: String, right: String)]) throws(CheckpointError) {
        var strings = GGUFStrings()
        for token in tokens { strings.append(token.text.span) }
        let made = ScoredMerges(tokens: strings, scores: tokens.map(\.score)) { tokens[$0].kind == .normal }
        let isSame =
            made.pairs.count == merges.count
            && zip(made.pairs, merges).allSatisfy { pair, merge in
                tokens[Int(pair.left)].text.elementsEqual(merge.left.utf8)
                    && tokens[Int(pair.right)].text.elementsEqual(merge.right.utf8)
            }
        guard isSame else {
            throw Self.unsupported(
                "its merges are not those of a SentencePiece model, which is the only kind with a fallback to "
                    + "bytes that GGUF has: put the tokenizer.model beside it")
        }
    }

    /// Whether text begins with a space.
    static func addsSpace(_ json: JSONValue) throws(CheckpointError) -> Bool {
        let normaliser = json["normalizer"] ?? .null
        let steps = normaliser["normalizers"]?.elements ?? (normaliser.isNull ? [] : [normaliser])
        var adds = false
        for step in steps {
            switch step["type"]?.string {
            case "Prepend" where step["prepend"]?.string == "\u{2581}": adds = true
            case "Replace" where step["content"]?.string == "\u{2581}": break
            default: throw unsupported("it changes text in a way that GGUF cannot say")
            }
        }
        let words = json["pre_tokenizer"] ?? .null
        switch words["type"]?.string {
        case nil: break
        case "Metaspace": adds = words["prepend_scheme"]?.string != "never"
        case "Split" where words["pattern"]?["String"]?.string == " ": break
        default: throw unsupported("it cuts text into words in a way that GGUF cannot say")
        }
        return adds
    }
}
