internal import Checkpoints
internal import TensorCore

/// Which items of a distributed checkpoint are the model's weights, and under which names.
struct DCPSelection {
    /// A tensor that is taken.
    struct Choice {
        /// Its place among the items.
        var index: Int
        /// Its name without what all weights stand under.
        var name: [UInt8]
    }

    private(set) var tensors: [Choice] = []
    /// The places of values that are no part of the training state.
    private(set) var values: [Int] = []
    private(set) var skipped: [SkippedItem] = []
    /// The key that the weights were found under, with dots between levels.
    private(set) var root: String?

    /// Keys of training state that only distributed trainers have.
    private static let trainingKeys: Set<String> = [
        "train_state", "dataloader", "trainer_state", "lightning",
    ]
    /// Keys that hold everything else.
    private static let outerKeys: Set<String> = ["app"]

    /// Chooses by `root`, or where that is nil by the keys that trainers use.
    init(
        _ items: [DCPMetadata.Item], root: String?, file: String
    ) throws(CheckpointError) {
        if let root {
            try choose(items, under: root, file: file)
        } else {
            try choose(items, file: file)
        }
    }
}

extension DCPSelection {
    /// Everything whose name begins with the root and a dot; everything where it is empty.
    private mutating func choose(
        _ items: [DCPMetadata.Item], under root: String, file: String
    ) throws(CheckpointError) {
        let prefix = root.isEmpty ? [] : Array((root + ".").utf8)
        var groups = Groups()
        for (index, item) in items.enumerated() {
            guard case .tensor = item.content else {
                values.append(index)
                continue
            }
            if item.name.starts(with: prefix) {
                tensors.append(Choice(index: index, name: Array(item.name.dropFirst(prefix.count))))
            } else {
                groups.add(item.path[0], reason: "outside the chosen root")
            }
        }
        self.root = root.isEmpty ? nil : root
        skipped = groups.items
        guard !tensors.isEmpty else {
            let keys = groups.items.prefix(10).map(\.name).joined(separator: ", ")
            throw CheckpointError(
                .malformed, "root-missing",
                "no tensor stands under the root '\(escapedForDisplay(root))'"
                    + (keys.isEmpty ? "" : ": choose among \(keys)"), file: file)
        }
    }

    /// All but the training state, without a key that all of that stands under.
    private mutating func choose(
        _ items: [DCPMetadata.Item], file: String
    ) throws(CheckpointError) {
        var rest = Array(items.indices)
        var groups = Groups()
        var depth = 0
        while true {
            let hasWeights = rest.contains { index in
                Self.isTensor(items[index]) && items[index].path.count > depth + 1
                    && RootSelection.weightKeys.contains(Self.key(items[index], depth))
            }
            rest.removeAll { index in
                guard let reason = Self.reason(items[index], depth, hasWeights) else { return false }
                groups.add(items[index].path, upTo: depth, items[index], reason)
                return true
            }
            guard let key = Self.commonKey(rest.lazy.map { items[$0] }, depth) else { break }
            root = (root.map { $0 + "." } ?? "") + key
            // What is no tensor keeps its place.
            values += rest.filter { items[$0].path.count <= depth + 1 }
            rest.removeAll { items[$0].path.count <= depth + 1 }
            depth += 1
        }
        let dropped = root.map { $0.utf8.count + 1 } ?? 0
        for index in rest {
            if Self.isTensor(items[index]) {
                tensors.append(Choice(index: index, name: Array(items[index].name.dropFirst(dropped))))
            } else {
                values.append(index)
            }
        }
        values.sort()
        skipped = groups.items
        guard !tensors.isEmpty else {
            let keys = skipped.map(\.name).joined(separator: ", ")
            throw CheckpointError(
                .malformed, "no-weights",
                keys.isEmpty
                    ? "it holds no tensors"
                    : "it holds training state only (\(keys)): choose what to take with --root", file: file)
        }
    }

    private static func isTensor(_ item: DCPMetadata.Item) -> Bool {
        if case .tensor = item.content { true } else { false }
    }

    private static func key(_ item: DCPMetadata.Item, _ depth: Int) -> String {
        String(decoding: item.path[depth], as: UTF8.self)
    }

    /// Why an item is left out for the key at a depth of its path; nil for weights.
    private static func reason(
        _ item: DCPMetadata.Item, _ depth: Int, _ hasWeights: Bool
    ) -> String? {
        let key = key(item, depth)
        let isNested = item.path.count > depth + 1
        if isNested, hasWeights, RootSelection.averageKeys.contains(key) {
            return "another copy of the weights"
        }
        // Trainers that flatten names themselves leave only dots to go by.
        let first = isNested ? key[...] : key.prefix { $0 != "." }
        let isTraining =
            isNested
            ? RootSelection.trainingKeys.contains(key) || trainingKeys.contains(key)
            : first.count < key.count
                && (first.hasPrefix("chained_") || first == "train_state")
        if isTraining || first == "optim" || first.hasPrefix("optimizer") || first.hasPrefix("rng_state") {
            return "training state"
        }
        return nil
    }

    /// The key that every tensor stands under, where it is one that trainers keep weights under.
    private static func commonKey(
        _ items: some Collection<DCPMetadata.Item>, _ depth: Int
    ) -> String? {
        var common: [UInt8]?
        for item in items where isTensor(item) {
            guard item.path.count > depth + 1, common == nil || item.path[depth] == common else { return nil }
            common = item.path[depth]
        }
        guard let common else { return nil }
        let key = String(decoding: common, as: UTF8.self)
        let isKnown =
            RootSelection.weightKeys.contains(key) || RootSelection.averageKeys.contains(key)
            || outerKeys.contains(key)
        return isKnown ? key : nil
    }

    /// Tensors that are left out, counted by where they stand.
    private struct Groups {
        private(set) var items: [SkippedItem] = []
        private var places: [String: Int] = [:]

        mutating func add(_ path: [[UInt8]], upTo depth: Int, _ item: DCPMetadata.Item, _ reason: String) {
            let parts = path.count > 1 ? path[...depth].map { $0 } : [Array(path[0].prefix { $0 != 0x2E })]
            let name = parts.map { escaped($0) }.joined(separator: ".")
            add(name, reason: reason, count: DCPSelection.isTensor(item) ? 1 : 0)
        }

        mutating func add(_ key: [UInt8], reason: String) {
            add(escaped(key.prefix { $0 != 0x2E }), reason: reason, count: 1)
        }

        private mutating func add(_ name: String, reason: String, count: Int) {
            if let place = places[name] {
                items[place].tensorCount += count
            } else {
                places[name] = items.count
                items.append(SkippedItem(name: name, reason: reason, tensorCount: count))
            }
        }
    }
}
