internal import Checkpoints
internal import TensorCore

/// Which of several names for the same storage is written.
///
/// A SafeTensors file cannot hold two names for the same bytes, so one name is kept and the loader ties the
/// rest again. As in the hub library the first name in byte order is kept, but never an output head where
/// there is another choice: loaders tie the head to the embedding, so the embedding must be in the file. Where
/// the config says that the model does not tie, loaders look for the head, so it gets bytes of its own. What a
/// transform says about a name goes before both.
struct TieResolution {
    /// Each dropped name with the name that is kept for it, in table order.
    private(set) var kept: [(dropped: TensorName, kept: TensorName)] = []
    /// Names that share storage with another and get bytes of their own because the config says so.
    private(set) var untied: [TensorName] = []
    /// Those that get bytes of their own because a transform says so.
    private(set) var untiedByTransform: [TensorName] = []

    /// A name and what was said about it.
    typealias Member = (name: TensorName, policy: TransformedTable.TiePolicy)

    /// Last parts of the names of output heads that loaders tie to the input embedding.
    private static let heads = [
        "lm_head.weight", "embed_out.weight", "output.weight", "output_layer.weight",
        "lm_head.decoder.weight", "predictions.decoder.weight", "generator_lm_head.weight",
    ]

    /// Decides for `groups`, each the names of one storage.
    ///
    /// - Parameters:
    ///   - configTies: `tie_word_embeddings` of the config, nil where it does not say.
    ///   - onlyAsked: whether names stay unless a transform says that they are left out.
    init(groups: [[Member]], configTies: Bool?, onlyAsked: Bool = false) {
        for group in groups where group.count > 1 {
            untiedByTransform += group.filter { $0.policy == .untie }.map(\.name)
            var sharing = group.filter { $0.policy != .untie }
            if configTies == false, !onlyAsked {
                let heads = sharing.filter { $0.policy == .byConfig && Self.isHead($0.name) }.map(\.name)
                if heads.count < group.count {
                    untied += heads
                    sharing.removeAll { heads.contains($0.name) }
                }
            }
            guard let keep = Self.choice(among: sharing) else { continue }
            for member in sharing where member.name != keep && (!onlyAsked || member.policy == .tie) {
                kept.append((member.name, keep))
            }
        }
    }

    /// The tables' groups: rows of one storage that are written alike.
    init(_ rows: [TransformedTable.Row], configTies: Bool?, onlyAsked: Bool = false) {
        struct Key: Hashable {
            let storage: Int
            let dtype: DType
            let saturates: Bool
        }
        var order: [Key] = []
        var groups: [Key: [Member]] = [:]
        for row in rows {
            guard let storage = row.storage else { continue }
            let key = Key(storage: storage, dtype: row.dtype, saturates: row.overflow == .saturate)
            if groups[key] == nil { order.append(key) }
            groups[key, default: []].append((row.tensor.name, row.tiePolicy))
        }
        self.init(groups: order.compactMap { groups[$0] }, configTies: configTies, onlyAsked: onlyAsked)
    }

    /// The name to keep: one that nothing asks to leave out, and no head, where there is one.
    private static func choice(among members: [Member]) -> TensorName? {
        let unasked = members.filter { $0.policy != .tie }
        let candidates = (unasked.isEmpty ? members : unasked).map(\.name)
        let others = candidates.filter { !isHead($0) }
        return (others.isEmpty ? candidates : others).min()
    }

    /// Whether a name is that of an output head.
    static func isHead(_ name: TensorName) -> Bool {
        heads.contains { head in
            name.string == head || name.string.hasSuffix("." + head)
        }
    }

    /// The rows that are written.
    func apply(to rows: [TransformedTable.Row]) -> [TransformedTable.Row] {
        guard !kept.isEmpty else { return rows }
        let dropped = Set(kept.map(\.dropped))
        return rows.filter { !dropped.contains($0.tensor.name) }
    }
}
