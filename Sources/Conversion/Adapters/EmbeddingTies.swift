internal import Checkpoints
internal import TensorCore

/// Whether a base's output head is its input embedding, and where the two are.
struct EmbeddingTies {
    /// The row of the input embedding, where one is found.
    let embedding: Int?
    /// The row of the head, where it is stored.
    let head: Int?
    /// Whether loaders take both for one.
    let isTied: Bool

    init(_ records: [TensorRecord], groups: [[TensorName]], config: ModelConfig) {
        let embeddings = records.indices.filter { row in
            let name = records[row].name.string
            return name.hasSuffix(".weight") && Adapter.isEmbedding(String(name.dropLast(".weight".count)))
        }
        head = records.indices.first { TieResolution.isHead(records[$0].name) }
        embedding = embeddings.count == 1 ? embeddings[0] : nil
        guard let embedding, config.tiesEmbeddings != false else {
            isTied = false
            return
        }
        if let head {
            let (first, second) = (records[embedding].name, records[head].name)
            isTied =
                config.tiesEmbeddings == true
                || groups.contains { $0.contains(first) && $0.contains(second) }
        } else {
            // A language model without a head of its own has the embedding for one.
            let architecture = config.architecture ?? ""
            isTied =
                config.tiesEmbeddings == true && !architecture.hasSuffix("Model")
                || architecture.hasSuffix("ForCausalLM") || architecture.hasSuffix("LMHeadModel")
        }
    }
}
