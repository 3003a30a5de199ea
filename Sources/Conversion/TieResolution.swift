internal import Checkpoints
internal import TensorCore

/// Which of several names for the same storage is written.
///
/// A SafeTensors file cannot hold two names for the same bytes, so one name is kept and the loader ties the
/// rest again. As in the hub library the first name in byte order is kept, but never an output head where
/// there is another choice: loaders tie the head to the embedding, so the embedding must be in the file. Where
/// the config says that the model does not tie, loaders look for the head, so it gets bytes of its own.
struct TieResolution {
    /// Each dropped name with the name that is kept for it, in table order.
    private(set) var kept: [(dropped: TensorName, kept: TensorName)] = []
    /// Names that share storage with another and still get bytes of their own.
    private(set) var untied: [TensorName] = []

    /// Last parts of the names of output heads that loaders tie to the input embedding.
    private static let heads = [
        "lm_head.weight", "embed_out.weight", "output.weight", "output_layer.weight",
        "lm_head.decoder.weight", "predictions.decoder.weight", "generator_lm_head.weight",
    ]

    /// Decides for `groups`.
    ///
    /// - Parameter configTies: `tie_word_embeddings` of the config, nil where it does not say.
    init(groups: [[TensorName]], configTies: Bool?) {
        for group in groups {
            var sharing = group
            if configTies == false {
                let heads = group.filter(Self.isHead)
                if heads.count < group.count {
                    untied += heads
                    sharing.removeAll { heads.contains($0) }
                }
            }
            let candidates = sharing.filter { !Self.isHead($0) }
            guard let keep = (candidates.isEmpty ? sharing : candidates).min() else { continue }
            for name in sharing where name != keep { kept.append((name, keep)) }
        }
    }

    private static func isHead(_ name: TensorName) -> Bool {
        heads.contains { head in
            name.string == head || name.string.hasSuffix("." + head)
        }
    }

    /// The tensors that are written.
    func apply(to tensors: TensorTable) -> [TensorRecord] {
        let dropped = Set(kept.map(\.dropped))
        return tensors.filter { !dropped.contains($0.name) }
    }
}
