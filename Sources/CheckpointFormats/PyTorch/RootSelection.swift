internal import Checkpoints

/// Which part of a file is the model's weights, and what is left out for that.
struct RootSelection {
    /// The value that holds the weights.
    var value: PickleValue
    /// Its path, or nil where it is the whole file.
    var path: String?
    /// Keys of the value that are not weights.
    var excluded: Set<PickleValue> = []
    /// What lies beside it.
    var skipped: [SkippedItem] = []

    /// Keys under which trainers keep the weights, in order of preference.
    static let weightKeys = ["state_dict", "model_state_dict", "model", "module", "net", "params", "weights"]
    /// Keys under which trainers keep a moving average of the weights.
    static let averageKeys = ["ema", "state_dict_ema"]
    /// Keys under which trainers keep their own state.
    static let trainingKeys: Set<String> = [
        "optimizer", "optimizers", "optimizer_states", "optimizer_state", "optimizer_state_dict", "optim",
        "optim_state_dict", "opt", "lr_scheduler", "lr_schedulers", "lr_scheduler_state_dict", "scheduler",
        "schedulers", "scheduler_state_dict", "scaler", "grad_scaler", "scaler_state_dict", "amp", "loops",
        "callbacks", "rng", "hyper_parameters",
    ]
}

extension RootSelection {
    /// Chooses the weights by the keys that trainers use: the whole file where it holds tensors itself, else the
    /// first of the known keys, else all but the training state.
    init(choosingIn top: PickleValue, of tree: StateTree, file: String) throws(CheckpointError) {
        self.init(value: top)
        // The attributes of a module have names of their own choice.
        if case .call = top { return }
        guard let dictionary = tree.dictionary(top) else { return }
        let candidates = Self.weightKeys.filter { Self.holdsTensors($0, dictionary, tree) }
        let averages = Self.averageKeys.filter { Self.holdsTensors($0, dictionary, tree) }
        guard let choice = candidates.first ?? averages.first, !Self.isStateItself(dictionary, tree) else {
            exclude(from: dictionary, tree)
            return
        }
        guard candidates.count < 2 else {
            let names = candidates.joined(separator: ", ")
            throw CheckpointError(
                .malformed, "ambiguous-root",
                "the weights may be any of \(names): choose one with --root", file: file)
        }
        path = choice
        for (key, value) in zip(dictionary.keys, dictionary.values) {
            let name = Self.shown(key, tree)
            if name == choice {
                self.value = value
                continue
            }
            skip(name, value, Self.averageKeys.contains(name) ? "another copy of the weights" : nil, tree)
        }
    }

    /// Takes what stands at `path`, whose parts are joined by dots; the whole file where it is empty.
    init(
        at path: String, in top: PickleValue, of tree: StateTree, file: String
    ) throws(CheckpointError) {
        self.init(value: top, path: path.isEmpty ? nil : path)
        var rest = Array(path.utf8)[...]
        var prefix = ""
        while !rest.isEmpty {
            guard let step = Self.step(along: rest, in: value, tree) else {
                throw Self.missing(path, at: prefix, in: value, tree, file)
            }
            let name = Self.shown(tree.named(value, at: step.index).key, tree)
            for index in 0..<(tree.namedCount(value) ?? 0) where index != step.index {
                let (key, sibling) = tree.named(value, at: index)
                skip(prefix + Self.shown(key, tree), sibling, nil, tree)
            }
            value = tree.named(value, at: step.index).value
            prefix += name + "."
            rest = step.rest
        }
    }

    /// The child whose key begins `path`, the longest such key first, as keys may have dots in them.
    private static func step(
        along path: ArraySlice<UInt8>, in value: PickleValue, _ tree: StateTree
    ) -> (index: Int, rest: ArraySlice<UInt8>)? {
        var best: (index: Int, rest: ArraySlice<UInt8>)?
        for index in 0..<(tree.namedCount(value) ?? 0) {
            guard let key = tree.component(tree.named(value, at: index).key), path.starts(with: key) else {
                continue
            }
            let rest = path.dropFirst(key.count)
            guard rest.isEmpty || rest.first == 0x2E else { continue }
            let after = rest.dropFirst()
            if best.map({ after.count < $0.rest.count }) ?? true { best = (index, after) }
        }
        return best
    }

    private static func missing(
        _ path: String, at prefix: String, in value: PickleValue, _ tree: StateTree, _ file: String
    ) -> CheckpointError {
        var keys: [String] = []
        for index in 0..<(tree.namedCount(value) ?? 0) where keys.count < 10 {
            let (key, child) = tree.named(value, at: index)
            if tree.count(child).tensors > 0 { keys.append(prefix + shown(key, tree)) }
        }
        let advice = keys.isEmpty ? "" : ": choose among \(keys.joined(separator: ", "))"
        return CheckpointError(
            .malformed, "root-missing", "nothing stands at the root '\(escaped(path.utf8))'\(advice)",
            file: file)
    }

    /// A key for messages.
    static func shown(_ key: PickleValue, _ tree: StateTree) -> String {
        tree.component(key).map { escaped($0) } ?? "(a key that is neither text nor a whole number)"
    }

    private static func holdsTensors(
        _ key: String, _ dictionary: PickleDictionary, _ tree: StateTree
    ) -> Bool {
        guard let key = tree.heap.known(key), let value = dictionary[key] else { return false }
        return tree.tensorRecipe(value) == nil && tree.count(value).tensors > 0
    }

    /// Whether a dictionary holds weights itself: tensors other than single numbers and generator states.
    private static func isStateItself(_ dictionary: PickleDictionary, _ tree: StateTree) -> Bool {
        zip(dictionary.keys, dictionary.values).contains { key, value in
            tree.tensorRecipe(value) != nil && !isTraining(shown(key, tree)) && !isScalar(value, tree)
        }
    }

    private static func isScalar(_ value: PickleValue, _ tree: StateTree) -> Bool {
        guard case .call(let number) = value else { return false }
        let arguments = tree.heap.arguments(of: tree.heap.calls[Int(number)])
        return arguments.count > 2 && tree.heap.items(arguments[2])?.isEmpty == true
    }

    static func isTraining(_ key: String) -> Bool {
        trainingKeys.contains(key) || isGeneratorState(key)
    }

    /// Whether a key is that of a random generator's state, which is a tensor but no weight.
    private static func isGeneratorState(_ key: String) -> Bool {
        key.hasPrefix("rng_state") || key.hasSuffix("rng_state") || key.hasSuffix("rng_states")
    }

    /// Leaves out training state from a dictionary that is exported whole.
    private mutating func exclude(from dictionary: PickleDictionary, _ tree: StateTree) {
        for (key, value) in zip(dictionary.keys, dictionary.values) {
            let name = Self.shown(key, tree)
            guard Self.isTraining(name), tree.tensorRecipe(value) == nil || Self.isGeneratorState(name) else {
                continue
            }
            excluded.insert(key)
            skip(name, value, nil, tree)
        }
    }

    private mutating func skip(_ name: String, _ value: PickleValue, _ reason: String?, _ tree: StateTree) {
        let count = tree.count(value).tensors
        if Self.isTraining(name) {
            skipped.append(SkippedItem(name: name, reason: "training state", tensorCount: count))
        } else if count > 0 {
            let reason = reason ?? "outside the weights at \(path ?? "the root")"
            skipped.append(SkippedItem(name: name, reason: reason, tensorCount: count))
        }
    }
}
