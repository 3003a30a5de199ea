internal import Checkpoints
internal import StrictJSON
internal import TensorCore

/// Which parts of a JAX checkpoint are the model's weights, and what becomes of the rest.
///
/// Names are the keys from the top of the checkpoint joined by dots, the collection (`params`, `batch_stats`)
/// included: one module has tensors of the same path in several of them. What a trainer keeps beside `params`
/// (optimizer state, random keys, another average) is left out and listed; single numbers there are values. A root
/// that is asked for takes what is below it, by names that begin there, and nothing else.
struct PyTreeSelection {
    private let tree: PyTree
    private let counts: [Int]
    private let skipsUnsupported: Bool
    private var base = 0
    private(set) var tensors: [TensorRecord] = []
    private(set) var values: [JSONMember] = []
    private(set) var skipped: [SkippedItem] = []
    private var names: Set<ByteKey> = []

    /// The most bytes that all names may have together.
    private static let nameByteLimit = 64 << 20
    private var nameByteCount = 0

    /// Keys under which trainers keep the weights.
    static let weightKeys: Set<String> = ["params", "model_params", "variables", "target"]
    /// Keys under which trainers keep a moving average of the weights.
    static let averageKeys: Set<String> = ["ema_params", "params_ema", "ema", "ema_state", "average_params"]
    /// Keys under which trainers keep their own state, wherever they stand.
    static let trainingKeys: Set<String> = [
        "opt_state", "opt_states", "optimizer", "optimizer_state", "optimizer_states", "opt", "tx_state",
        "grad_accum", "dynamic_scale", "loss_scale", "data_iter", "iterator",
    ]
    /// Keys that are a trainer's beside the weights, but may be a module's elsewhere.
    static let companionKeys: Set<String> = [
        "rng", "rngs", "rng_state", "dropout_rng", "prng_key", "key", "keys", "state_key", "step", "epoch",
        "global_step", "metrics", "lr",
    ]

    init(_ tree: PyTree, options: ReadOptions) throws(CheckpointError) {
        self.tree = tree
        counts = tree.tensorCounts()
        skipsUnsupported = options.skipsUnsupported
        if let root = options.root {
            try descend(to: root)
            for child in tree.children(of: base) { try take(child, isStateLevel: false) }
            switch tree.nodes[base].content {
            case .container: break
            default:
                throw CheckpointError(
                    .malformed, "root-missing",
                    "the root '\(escapedForDisplay(root))' is one tensor or value",
                    file: tree.file)
            }
        } else {
            try takeState(0)
        }
    }

    /// The table with all that belongs to it.
    func checkpoint(format: String, files: [SourceFile], root: String?) -> Checkpoint {
        var checkpoint = Checkpoint(
            format: format, tensors: tensors, files: files, skipped: skipped,
            root: root.flatMap { $0.isEmpty ? nil : $0 })
        checkpoint.values = values
        return checkpoint
    }
}

/// The choice.
extension PyTreeSelection {
    private func key(_ place: Int) -> String { String(decoding: tree.nodes[place].key, as: UTF8.self) }

    /// Takes what a trainer keeps: the weights and other collections, and not its own state.
    private mutating func takeState(_ place: Int) throws(CheckpointError) {
        let children = tree.children(of: place)
        let hasWeights = children.contains {
            Self.weightKeys.contains(key($0)) && counts[$0] > 0 && tree.nodes[$0].firstChild >= 0
        }
        for child in children {
            let name = key(child)
            // T5X keeps the weights as the optimizer's target, beside its state.
            let isOptimizerState = name == "state" && children.contains { key($0) == "target" }
            if Self.trainingKeys.contains(name) || hasWeights && Self.companionKeys.contains(name)
                || hasWeights && isOptimizerState
            {
                try leaveTraining(child)
            } else if hasWeights, Self.averageKeys.contains(name), counts[child] > 0 {
                skip(child, "another copy of the weights")
            } else if !hasWeights, isState(child) {
                try takeState(child)
            } else {
                try take(child, isStateLevel: hasWeights || isScalarStep(child))
            }
        }
    }

    /// Whether a child is what a trainer keeps in turn: the weights and its own state side by side.
    private func isState(_ place: Int) -> Bool {
        let keys = tree.children(of: place).map(key)
        let isTarget = keys.contains("target") && keys.contains("state")
        return isTarget
            || keys.contains(where: Self.weightKeys.contains)
                && keys.contains(where: Self.trainingKeys.contains)
    }

    /// A step or the like that stands at the top without weights of a known name beside it.
    private func isScalarStep(_ place: Int) -> Bool {
        if case .tensor(let tensor) = tree.nodes[place].content {
            return tensor.shape.isEmpty && tensor.dtype.isInteger && Self.companionKeys.contains(key(place))
        }
        return false
    }

    /// Numbers are values; anything else of the trainer's is listed.
    private mutating func leaveTraining(_ place: Int) throws(CheckpointError) {
        switch tree.nodes[place].content {
        case .value, .number, .left: try take(place, isStateLevel: true)
        case .tensor(let tensor) where tensor.shape.isEmpty: try take(place, isStateLevel: true)
        case .tensor, .unsupported, .container: skip(place, "training state")
        }
    }

    /// Takes a subtree.
    ///
    /// - Parameter isStateLevel: whether a single number is the trainer's and so a value.
    private mutating func take(_ top: Int, isStateLevel: Bool) throws(CheckpointError) {
        var pending = [top]
        while let place = pending.popLast() {
            switch tree.nodes[place].content {
            case .container: pending += tree.children(of: place).reversed()
            case .tensor(let tensor) where place == top && isStateLevel && tensor.shape.isEmpty:
                try addNumber(tensor, at: place)
            case .number(let tensor): try addNumber(tensor, at: place)
            case .tensor(let tensor): try add(tensor, at: place)
            case .value(let value): add(value, at: place)
            case .left(let reason): skip(place, reason)
            case .unsupported(var error):
                error.tensor = TensorName(utf8: tree.name(of: place, below: base))
                guard skipsUnsupported else { throw error }
                skip(place, error.message)
            }
        }
    }

    private mutating func add(_ tensor: TensorExpression, at place: Int) throws(CheckpointError) {
        let name = tree.name(of: place, below: base)
        nameByteCount += name.count
        guard nameByteCount <= Self.nameByteLimit else {
            throw CheckpointError(
                .malformed, "name-limit", "the names of its tensors are over \(Self.nameByteLimit) bytes",
                file: tree.file)
        }
        guard names.insert(ByteKey(name)).inserted else {
            throw CheckpointError(
                .malformed, "duplicate-tensor", "two tensors have this name when keys are joined by dots",
                file: tree.file, tensor: TensorName(utf8: name))
        }
        tensors.append(TensorRecord(name: TensorName(utf8: name), tensor))
    }

    private mutating func addNumber(_ tensor: TensorExpression, at place: Int) throws(CheckpointError) {
        do { add(try tensor.scalar(), at: place) } catch { throw CheckpointError(error) }
    }

    private mutating func add(_ value: JSONValue, at place: Int) {
        values.append(JSONMember(tree.shownName(of: place), value))
    }

    private mutating func skip(_ place: Int, _ reason: String) {
        skipped.append(
            SkippedItem(name: tree.shownName(of: place), reason: reason, tensorCount: counts[place]))
    }
}

/// A root that is asked for.
extension PyTreeSelection {
    /// Goes down to the node at `path`, whose keys may have dots in them: the longest key that fits is taken.
    private mutating func descend(to path: String) throws(CheckpointError) {
        var rest = Array(path.utf8)[...]
        while !rest.isEmpty {
            var best: (place: Int, count: Int)?
            for child in tree.children(of: base) {
                let key = tree.nodes[child].key
                guard rest.starts(with: key), key.count > best?.count ?? -1 else { continue }
                let after = rest.dropFirst(key.count)
                if after.isEmpty || after.first == 0x2E { best = (child, key.count) }
            }
            guard let best else { throw missing(path) }
            for child in tree.children(of: base) where child != best.place && counts[child] > 0 {
                skip(child, "outside the weights at \(path)")
            }
            base = best.place
            rest = rest.dropFirst(best.count).dropFirst()
        }
    }

    private func missing(_ path: String) -> CheckpointError {
        let keys = tree.children(of: base).filter { counts[$0] > 0 }.prefix(10).map {
            escapedForDisplay(tree.shownName(of: $0))
        }
        let advice = keys.isEmpty ? "" : ": choose among \(keys.joined(separator: ", "))"
        return CheckpointError(
            .malformed, "root-missing", "nothing stands at the root '\(escapedForDisplay(path))'\(advice)",
            file: tree.file)
    }
}
