internal import Checkpoints
internal import StrictJSON

extension GGUFVocabulary {
    mutating func addSpecial() {
        for (name, key) in [
            ("bos", "bos"), ("eos", "eos"), ("unk", "unknown"), ("sep", "seperator"), ("pad", "padding"),
            ("cls", "cls"), ("mask", "mask"),
        ] {
            guard let id = specialID(name) else { continue }
            add("\(key)_token_id", .uint32(UInt32(id)))
        }
        let (first, last) = addedEnds()
        add("add_bos_token", .bool(first))
        add("add_eos_token", .bool(last))
    }

    /// The number of a special token, by its text or by the number that a config says.
    private func specialID(_ name: String) -> Int? {
        let named = settings?["\(name)_token"]
        if let text = named?.string ?? named?["content"]?.string,
            let id = tokens.firstIndex(where: { $0.text.elementsEqual(text.utf8) })
        {
            return id
        }
        for source in [config, config["text_config"], generation] {
            let value = source?["\(name)_token_id"]
            guard let id = (value?.uint64 ?? value?.elements?.first?.uint64), id < UInt64(size) else {
                continue
            }
            return Int(id)
        }
        return nil
    }

    /// Whether a text begins and ends with tokens of its own.
    private func addedEnds() -> (first: Bool, last: Bool) {
        let processor = tokenizer?["post_processor"]
        let steps = processor?["processors"]?.elements ?? (processor.map { [$0] } ?? [])
        let single = steps.first { $0["type"]?.string == "TemplateProcessing" }?["single"]?.elements
        let first = settings?["add_bos_token"]?.bool ?? (single?.first?["SpecialToken"] != nil)
        let last = settings?["add_eos_token"]?.bool ?? (single?.last?["SpecialToken"] != nil)
        // A tokenizer of SentencePiece alone adds the first token unless it is told not to.
        let addsAnyway = tokenizer == nil && settings?["add_bos_token"]?.bool == nil
        return (first || addsAnyway, last)
    }

    mutating func addTemplate(_ jinja: [UInt8]?, _ json: JSONValue?) throws(CheckpointError) {
        let stated = json?["chat_template"] ?? settings?["chat_template"]
        var templates: [(name: String, text: String)] = []
        if let jinja {
            templates = [("default", String(decoding: jinja, as: UTF8.self))]
        } else if let text = stated?.string {
            templates = [("default", text)]
        } else {
            templates = (stated?.elements ?? []).compactMap { item in
                guard let name = item["name"]?.string, let text = item["template"]?.string else { return nil }
                return (name, text)
            }
        }
        let others = templates.filter { $0.name != "default" }
        if !others.isEmpty {
            pairs.append(GGUFPair("tokenizer.chat_templates", .strings(GGUFStrings(others.map(\.name)))))
        }
        for template in others {
            pairs.append(GGUFPair("tokenizer.chat_template.\(template.name)", .string(template.text)))
        }
        if let usual = templates.first(where: { $0.name == "default" }) {
            pairs.append(GGUFPair("tokenizer.chat_template", .string(usual.text)))
        }
    }
}
