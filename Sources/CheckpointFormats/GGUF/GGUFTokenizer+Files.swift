internal import Checkpoints
internal import StrictJSON
internal import TensorCore

/// The files that transformers takes a tokenizer from.
extension GGUFTokenizer {
    func files() -> [EmbeddedFile] {
        var files = [
            EmbeddedFile(
                name: "tokenizer.json",
                source: MadeFile(name: "tokenizer.json") { tokenizerJSON() })
        ]
        if case .scores(let scores) = model, let pieces = sentencePieces(scores) {
            files.append(
                EmbeddedFile(
                    name: "tokenizer.model",
                    source: MadeFile(name: "tokenizer.model") { pieces.encoded() }))
        }
        files.append(Self.embedded("tokenizer_config.json", config().serialized(indent: 2) + [0x0A]))
        return files.compactMap(\.self)
    }

    /// The chat template of a header, where there is just one; several stand in the config of the tokenizer.
    static func templateFile(_ header: GGUFHeader) -> EmbeddedFile? {
        let templates = templates(header)
        guard templates.count == 1, templates[0].name == "default" else { return nil }
        return embedded("chat_template.jinja", Array(templates[0].text.utf8))
    }

    private static func embedded(_ name: String, _ contents: [UInt8]) -> EmbeddedFile? {
        EmbeddedFile(name: name, source: MemorySource(name: name, contents: contents))
    }

    /// `tokenizer_config.json`: the special tokens, and chat templates where there are several.
    private func config() -> JSONValue {
        var members = special.map { JSONMember($0.name, .string(text($0.id))) }
        members.append(JSONMember("clean_up_tokenization_spaces", .bool(false)))
        if let contextLength { members.append(JSONMember("model_max_length", .integer(contextLength))) }
        members.append(JSONMember("tokenizer_class", .string("PreTrainedTokenizerFast")))
        if templates.count > 1 || templates.first.map({ $0.name != "default" }) == true {
            let list = templates.map { template in
                JSONValue.object([
                    JSONMember("name", .string(template.name)),
                    JSONMember("template", .string(template.text)),
                ])
            }
            members.append(JSONMember("chat_template", .array(list)))
        }
        return .object(members)
    }

    /// The model of SentencePiece; nil where it could not be one, as without a single unknown token.
    private func sentencePieces(_ scores: [Float]) -> SentencePieceModel? {
        guard kinds.count(where: { $0 == .unknown }) == 1, !tokens.contains(where: \.isEmpty) else {
            return nil
        }
        let bytes = kinds.count { $0 == .byte }
        guard bytes == 0 || bytes == 256 else { return nil }
        var model = SentencePieceModel()
        model.addsSpace = addsSpace
        model.removesSpaces = false
        model.isUnigram = false
        model.special =
            kinds.firstIndex(of: .unknown).map { [(SentencePieceModel.Field.unknownID, $0)] } ?? []
        for (name, field) in [
            ("bos_token", SentencePieceModel.Field.firstID), ("eos_token", SentencePieceModel.Field.lastID),
            ("pad_token", SentencePieceModel.Field.paddingID),
        ] {
            guard let id = text(name)?.id, kinds[id] == .control else { continue }
            model.special.append((field, id))
        }
        for id in tokens.indices {
            model.pieces.append(
                SentencePieceModel.Piece(text: Array(tokens[id]), score: scores[id], kind: kinds[id].rawValue)
            )
        }
        return model
    }
}
