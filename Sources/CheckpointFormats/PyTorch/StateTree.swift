internal import Checkpoints

/// A pickle's result seen as a tree of containers with tensors at its leaves.
struct StateTree {
    let heap: PickleHeap
    /// Whether objects are containers of their state, as in TorchScript archives.
    let opensRecords: Bool
    private var counts: [PickleValue: Count] = [:]

    /// What lies under a value, counted once for each way that leads there.
    struct Count {
        var tensors = 0
        var leaves = 0

        static func += (a: inout Count, b: Count) {
            // Counts of shared values multiply; beyond this many their number no longer matters.
            a.tensors = min(a.tensors + b.tensors, 1 << 40)
            a.leaves = min(a.leaves + b.leaves, 1 << 40)
        }
    }

    /// Counts what lies under `root`, or throws `onNesting` where it is more than `limit` deep.
    init(
        _ heap: PickleHeap, root: PickleValue, opensRecords: Bool, limit: Int, onNesting: CheckpointError
    ) throws(CheckpointError) {
        self.heap = heap
        self.opensRecords = opensRecords
        var path: [(value: PickleValue, children: [PickleValue], next: Int, count: Count)] = []
        func enter(_ value: PickleValue) throws(CheckpointError) {
            guard path.count < limit else { throw onNesting }
            let own = tensorRecipe(value) == nil ? Count() : Count(tensors: 1)
            path.append((value, children(of: value), 0, own))
        }
        try enter(root)
        while let step = path.last {
            guard step.next < step.children.count else {
                path.removeLast()
                counts[step.value] = step.count
                if !path.isEmpty { path[path.count - 1].count += count(step.value) }
                continue
            }
            path[path.count - 1].next += 1
            let child = step.children[step.next]
            if !isNode(child) {
                path[path.count - 1].count += Count(leaves: 1)
            } else if let known = counts[child] {
                path[path.count - 1].count += known
            } else {
                // Known as nothing while it is being counted, so that a cycle ends.
                counts[child] = Count()
                try enter(child)
            }
        }
    }

    /// What lies under a value that was reached from the root.
    func count(_ value: PickleValue) -> Count {
        isNode(value) ? counts[value] ?? Count() : Count(leaves: 1)
    }

    /// The recipe of a tensor, or nil for other values.
    func tensorRecipe(_ value: PickleValue) -> TensorRecipe? {
        guard case .call(let number) = value,
            case .tensor(let recipe) = heap.globals[Int(heap.calls[Int(number)].global)].role
        else { return nil }
        return recipe
    }

    /// What a tensor's Python attributes are kept in.
    func attributes(ofTensor value: PickleValue) -> [PickleValue] {
        guard case .call(let number) = value, let recipe = tensorRecipe(value) else { return [] }
        let call = heap.calls[Int(number)]
        let arguments = heap.arguments(of: call)
        let hasState = recipe == .fromType || recipe == .parameterWithState
        return [call.state] + (hasState && arguments.count == 4 ? [arguments[3]] : [])
    }

    /// Whether a value has children or is a tensor.
    private func isNode(_ value: PickleValue) -> Bool {
        switch value {
        case .tuple, .list, .set, .dictionary, .call: true
        default: false
        }
    }

    private func children(of value: PickleValue) -> [PickleValue] {
        switch value {
        case .tuple(let number): return heap.tuples[Int(number)]
        case .list(let number), .set(let number): return heap.lists[Int(number)]
        case .dictionary(let number):
            let dictionary = heap.dictionaries[Int(number)]
            return dictionary.attributes == .none
                ? dictionary.values : dictionary.values + [dictionary.attributes]
        case .call(let number):
            let call = heap.calls[Int(number)]
            if tensorRecipe(value) != nil { return attributes(ofTensor: value).filter { $0 != .none } }
            return heap.arguments(of: call) + (call.state == .none ? [] : [call.state])
        default: return []
        }
    }
}

/// The named children of containers.
extension StateTree {
    /// The dictionary that a value is: itself, or the state of an object where those are opened.
    func dictionary(_ value: PickleValue) -> PickleDictionary? {
        switch value {
        case .dictionary(let number): return heap.dictionaries[Int(number)]
        case .call(let number) where opensRecords && tensorRecipe(value) == nil:
            guard case .dictionary(let state) = heap.calls[Int(number)].state else { return nil }
            return heap.dictionaries[Int(state)]
        default: return nil
        }
    }

    /// The number of children that have names, or nil where the value is no container of them.
    func namedCount(_ value: PickleValue) -> Int? {
        dictionary(value)?.keys.count ?? heap.items(value)?.count
    }

    /// The child at a position with its key: text, or a number that counts or was the key.
    func named(_ value: PickleValue, at index: Int) -> (key: PickleValue, value: PickleValue) {
        if let dictionary = dictionary(value) { return (dictionary.keys[index], dictionary.values[index]) }
        return (.integer(Int64(index)), heap.items(value)?[index] ?? .none)
    }

    /// A key as part of a name: text as it is and integers in decimal, or nil for other keys.
    func component(_ key: PickleValue) -> [UInt8]? {
        switch key {
        case .string: heap.text(key)
        case .integer(let number): Array(String(number).utf8)
        default: nil
        }
    }
}
