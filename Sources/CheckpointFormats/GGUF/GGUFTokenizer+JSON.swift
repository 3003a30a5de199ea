internal import StrictJSON

/// `tokenizer.json`, as the tokenizers library reads it.
extension GGUFTokenizer {
    func tokenizerJSON() -> [UInt8] {
        var text = JSONText()
        text.raw(#"{"version":"1.0","truncation":null,"padding":null,"added_tokens":["#)
        addTokens(to: &text)
        text.raw(#"],"normalizer":"#)
        text.value(normaliser)
        text.raw(#","pre_tokenizer":"#)
        if case .bytePairs(let preTokenizer, _) = model {
            text.value(preTokenizer.steps)
        } else {
            text.raw("null")
        }
        text.raw(#","post_processor":"#)
        text.value(postProcessor)
        text.raw(#","decoder":"#)
        text.value(decoder)
        text.raw(#","model":{"type":"BPE","dropout":null,"unk_token":"#)
        text.value(
            isByScores ? kinds.firstIndex(of: .unknown).map { .string(self.text($0)) } ?? .null : .null)
        text.raw(#","continuing_subword_prefix":null,"end_of_word_suffix":null,"fuse_unk":"#)
        text.value(.bool(isByScores))
        text.raw(#","byte_fallback":"#)
        text.value(.bool(isByScores && kinds.contains(.byte)))
        text.raw(#","ignore_merges":"#)
        if case .bytePairs(let preTokenizer, _) = model {
            text.value(.bool(preTokenizer.ignoresMerges))
        } else {
            text.raw("false")
        }
        text.raw(#","vocab":{"#)
        var isFirst = true
        for id in tokens.indices where !isPlaceholder(id) {
            if !isFirst { text.raw(",") }
            isFirst = false
            text.string(tokens[id])
            text.raw(":\(id)")
        }
        text.raw(#"},"merges":["#)
        addMerges(to: &text)
        text.raw("]}}\n")
        return text.bytes
    }

    private var isByScores: Bool {
        if case .scores = model { true } else { false }
    }

    /// Whether a token only fills the vocabulary up to a round number.
    private func isPlaceholder(_ id: Int) -> Bool {
        kinds[id] == .unused && tokens[id].elementsEqual("[PAD\(id)]".utf8)
    }

    private func addTokens(to text: inout JSONText) {
        var isFirst = true
        for (id, kind) in kinds.enumerated() {
            guard kind == .control || kind == .userDefined || kind == .unknown else { continue }
            if !isFirst { text.raw(",") }
            isFirst = false
            text.raw("{\"id\":\(id),\"content\":")
            text.string(tokens[id])
            text.raw(
                ",\"single_word\":false,\"lstrip\":false,\"rstrip\":false,\"normalized\":false,\"special\":"
                    + "\(kind != .userDefined)}")
        }
    }

    private func addMerges(to text: inout JSONText) {
        switch model {
        case .bytePairs(_, let merges):
            for (index, merge) in merges.enumerated() {
                if index > 0 { text.raw(",") }
                text.string(merge)
            }
        case .scores(let scores):
            let merges = ScoredMerges(tokens: tokens, scores: scores) {
                kinds[$0] == .normal || kinds[$0] == .userDefined
            }
            for (index, merge) in merges.pairs.enumerated() {
                text.raw(index > 0 ? ",[" : "[")
                text.string(tokens[Int(merge.left)])
                text.raw(",")
                text.string(tokens[Int(merge.right)])
                text.raw("]")
            }
        }
    }

    // MARK: - Steps

    private static func step(_ type: String, _ members: [JSONMember] = []) -> JSONValue {
        .object([JSONMember("type", .string(type))] + members)
    }

    private static func replacing(_ text: String, by other: String) -> JSONValue {
        step(
            "Replace",
            [
                JSONMember("pattern", .object([JSONMember("String", .string(text))])),
                JSONMember("content", .string(other)),
            ])
    }

    private var normaliser: JSONValue {
        switch model {
        case .bytePairs(let preTokenizer, _): return preTokenizer.isNormalised ? Self.step("NFC") : .null
        case .scores:
            let spaces = Self.replacing(" ", by: "\u{2581}")
            if !addsSpace { return spaces }
            let prefix = Self.step("Prepend", [JSONMember("prepend", .string("\u{2581}"))])
            return Self.step("Sequence", [JSONMember("normalizers", .array([prefix, spaces]))])
        }
    }

    private static let byteLevel = step(
        "ByteLevel",
        [
            JSONMember("add_prefix_space", .bool(true)), JSONMember("trim_offsets", .bool(true)),
            JSONMember("use_regex", .bool(true)),
        ])

    private var decoder: JSONValue {
        if !isByScores { return Self.byteLevel }
        let strip = Self.step(
            "Strip",
            [
                JSONMember("content", .string(" ")), JSONMember("start", .integer(1)),
                JSONMember("stop", .integer(0)),
            ])
        let steps =
            [Self.replacing("\u{2581}", by: " "), Self.step("ByteFallback"), Self.step("Fuse")]
            + (addsSpace ? [strip] : [])
        return Self.step("Sequence", [JSONMember("decoders", .array(steps))])
    }

    /// What adds the first and the last token.
    private var postProcessor: JSONValue {
        let first = addsFirst ? text("bos_token") : nil
        let last = addsLast ? text("eos_token") : nil
        if first == nil && last == nil { return isByScores ? .null : Self.byteLevel }
        func special(_ token: (text: String, id: Int)?, _ sequence: Int) -> [JSONValue] {
            token.map { [Self.item("SpecialToken", $0.text, sequence)] } ?? []
        }
        func whole(_ name: String, _ sequence: Int) -> [JSONValue] {
            special(first, sequence) + [Self.item("Sequence", name, sequence)] + special(last, sequence)
        }
        var known: [JSONMember] = []
        for token in [first, last].compactMap(\.self) where !known.contains(where: { $0.key == token.text }) {
            known.append(
                JSONMember(
                    token.text,
                    .object([
                        JSONMember("id", .string(token.text)),
                        JSONMember("ids", .array([.integer(token.id)])),
                        JSONMember("tokens", .array([.string(token.text)])),
                    ])))
        }
        return Self.step(
            "TemplateProcessing",
            [
                JSONMember("single", .array(whole("A", 0))),
                JSONMember("pair", .array(whole("A", 0) + whole("B", 1))),
                JSONMember("special_tokens", .object(known)),
            ])
    }

    private static func item(_ kind: String, _ id: String, _ sequence: Int) -> JSONValue {
        .object([
            JSONMember(
                kind,
                .object([JSONMember("id", .string(id)), JSONMember("type_id", .integer(sequence))]))
        ])
    }
}

/// JSON that is put together piece by piece.
private struct JSONText {
    private(set) var bytes: [UInt8] = []

    mutating func raw(_ text: String) { bytes += Array(text.utf8) }
    mutating func value(_ value: JSONValue) { bytes += value.serialized() }
    mutating func string(_ utf8: ArraySlice<UInt8>) { JSONValue.appendString(utf8: Array(utf8), to: &bytes) }
}
