public import CheckpointFormats
internal import Checkpoints
internal import StrictJSON
internal import TensorCore

extension OpenedModel {
    /// The model with an adapter merged into its weights.
    ///
    /// Reads headers only; the weights are computed when they are read. Every tensor of the adapter is used.
    ///
    /// - Throws: where the adapter is not one of this model: a module or a shape does not fit.
    public func merging(_ adapter: Adapter, rounding: MergeRounding = .once) throws(ConversionError)
        -> OpenedModel
    {
        var merge = AdapterMerge(
            checkpoint, adapter, config: try ModelConfig(of: self), rounding: rounding)
        do throws(CheckpointError) { try merge.run() } catch { throw .source(error) }
        var result = self
        result.checkpoint.tensors = TensorTable(merge.table.records)
        result.checkpoint.warnings += merge.warnings
        let own = Path.name(of: FileSystem.resolved(adapter.path) ?? adapter.path)
        let name = Path.isSafeRelative(own) ? own : "adapter"
        let taken = Set(checkpoint.files.map { ByteKey($0.path) })
        var label = name
        var number = 1
        while adapter.files.contains(where: { taken.contains(ByteKey("\(label)/\($0.path)")) }) {
            number += 1
            label = "\(name)-\(number)"
        }
        for var file in adapter.files {
            file.path = "\(label)/\(file.path)"
            result.checkpoint.files.append(file)
        }
        result.checkpoint.changes.append(adapter.change(label: label, rounding, merge.changedCount))
        for file in adapter.tokenizer { result.replace(file) }
        if merge.isUntied { try result.untie() }
        return result
    }

    private mutating func replace(_ file: EmbeddedFile) {
        edited.removeAll { $0.file.name.utf8.elementsEqual(file.file.name.utf8) }
        edited.append(file)
    }

    /// Has the config say that the embeddings are not tied, since they are no longer the same.
    private mutating func untie() throws(ConversionError) {
        guard let contents = try ModelConfig(of: self).contents, let json = try? JSONValue(parsing: contents),
            case .object(var members) = json.untied
        else {
            checkpoint.warnings.append(
                CheckpointWarning(
                    "config-not-untied",
                    "the embeddings are no longer tied, and there is no config that could say so: loaders must "
                        + "be told tie_word_embeddings=false", file: directory?.path ?? ""))
            return
        }
        let key = "tie_word_embeddings"
        if !members.contains(where: { $0.key == key }) { members.append(JSONMember(key, .bool(false))) }
        let text = JSONValue.object(members).serialized(indent: 2) + [0x0A]
        guard
            let file = EmbeddedFile(
                name: "config.json", source: MemorySource(name: "config.json", contents: text))
        else { return }
        replace(file)
        checkpoint.changes.append(
            CheckpointChange(
                kind: "edit",
                parameters: [
                    .init("file", .string("config.json")), .init("keys", .array([.string(key)])),
                ], summary: "config.json now says \(key): false"))
    }
}

extension JSONValue {
    /// The config with `tie_word_embeddings` false wherever it was true, at most two levels down.
    fileprivate var untied: JSONValue { untied(depth: 2) }

    private func untied(depth: Int) -> JSONValue {
        guard case .object(let members) = self, depth > 0 else { return self }
        return .object(
            members.map { member in
                member.key == "tie_word_embeddings"
                    ? JSONMember(key: member.key, value: .bool(false))
                    : JSONMember(key: member.key, value: member.value.untied(depth: depth - 1))
            })
    }
}

extension Adapter {
    /// The merge for the receipt.
    fileprivate func change(label: String, _ rounding: MergeRounding, _ count: Int) -> CheckpointChange {
        CheckpointChange(
            kind: "merge",
            parameters: [
                .init("adapter", .string(label)), .init("format", .string(format.rawValue)),
                .init("rank", .integer(settings.rank)), .init("alpha", .number("\(settings.alpha)")),
                .init("update_rounding", .string(rounding.rawValue)), .init("tensors", .integer(count)),
            ],
            summary: "\(escapedForDisplay(label)): \(modules.count) modules of rank \(settings.rank) into "
                + "\(count) tensors")
    }
}
