internal import CheckpointFormats
internal import Checkpoints
internal import TensorCore

/// The tensors of two checkpoints of one architecture, side by side.
struct ExtractionPairs: Sendable {
    struct Item: Sendable {
        let tuned: TensorRecord
        let base: TensorRecord
        /// Whether it is the weight of a linear layer that is asked for.
        let isLinear: Bool
        /// Whether its inputs come first.
        let isFanInFanOut: Bool
    }

    private(set) var items: [Item] = []
    /// All tensors of the tuned checkpoint.
    let tuned: [TensorRecord]

    init(_ tuned: OpenedModel, _ base: OpenedModel, modules: [Glob]?) throws(ConversionError) {
        let config = try ModelConfig(of: base)
        var others: [TensorName: TensorRecord] = [:]
        for record in base.checkpoint.tensors { others[record.name] = record }
        self.tuned = Array(tuned.checkpoint.tensors)
        var lacking: [TensorName] = []
        for record in self.tuned {
            guard let other = others.removeValue(forKey: record.name) else {
                lacking.append(record.name)
                continue
            }
            guard other.shape == record.shape else {
                throw .options(
                    "\(record.name) has shape \(record.shape), and \(other.shape) in the base: the two are not "
                        + "of one architecture and vocabulary")
            }
            let isWanted = modules?.contains { $0.matches(record.name) } ?? true
            let isLinear = isWanted && Self.isLinear(record) && Self.isLinear(other)
            items.append(
                Item(
                    tuned: record, base: other, isLinear: isLinear,
                    isFanInFanOut: isLinear && config.modelType == "gpt2"
                        && !TieResolution.isHead(record.name)))
        }
        // A head that only one of the two has is the embedding of the other.
        let only = (lacking + others.keys).filter { !TieResolution.isHead($0) }.sorted()
        guard only.isEmpty else {
            throw .options(
                "only one of the two has \(only.prefix(10).map(\.description).joined(separator: ", "))"
                    + (only.count > 10 ? " and \(only.count - 10) more" : ""))
        }
        guard lacking.isEmpty else {
            throw .options(
                "the base has no \(lacking[0]): its embeddings are tied, and those of the other are not")
        }
    }

    private static func isLinear(_ record: TensorRecord) -> Bool {
        let name = record.name.string
        return record.shape.count == 2 && record.byteCount > 0 && record.dtype.isCastableFloat
            && name.hasSuffix(".weight")
            && !Adapter.isEmbedding(String(name.dropLast(".weight".count)))
            && !["position_embeddings", "token_type_embeddings", "wpe"].contains {
                name.hasSuffix(".\($0).weight")
            }
    }
}

extension ExtractionPairs.Item {
    private static let pieceByteCount = 4 << 20

    /// Whether the two hold different numbers.
    func differs() throws(IOError) -> Bool {
        if tuned.dtype == base.dtype { return try Self.differ(tuned.source, base.source) }
        guard let first = try? tuned.expression.cast(to: .f32),
            let second = try? base.expression.cast(to: .f32)
        else { return true }
        return try Self.differ(first.source, second.source)
    }

    private static func differ(_ first: TensorSource, _ second: TensorSource) throws(IOError) -> Bool {
        var offset: UInt64 = 0
        while offset < first.byteCount {
            let count = Int(min(UInt64(pieceByteCount), first.byteCount - offset))
            let a = try [UInt8](count: count) { (bytes) throws(IOError) in
                try first.read(at: offset, into: &bytes)
            }
            let b = try [UInt8](count: count) { (bytes) throws(IOError) in
                try second.read(at: offset, into: &bytes)
            }
            if a != b { return true }
            offset += UInt64(count)
        }
        return false
    }
}
