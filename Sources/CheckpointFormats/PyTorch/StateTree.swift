internal import Checkpoints

/// A pickle's result seen as a tree of containers with tensors at its leaves.
struct StateTree {
    let heap: PickleHeap
    /// Whether objects are containers of their state, as in TorchScript archives.
    let opensRecords: Bool
    private var counts: [PickleValue: Count] = [:]
    /// What the state dict of a module would hold, by the module's state.
    private var modules: [Int32: PickleDictionary] = [:]

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

    /// Counts what lies under `root`.
    ///
    /// - Parameters:
    ///   - limit: how deep it may be.
    ///   - fault: an error with the place of the pickle, for the code and the message of what is wrong.
    init(
        _ heap: PickleHeap, root: PickleValue, opensRecords: Bool, limit: Int, fault: CheckpointError
    ) throws(CheckpointError) {
        self.heap = heap
        self.opensRecords = opensRecords
        modules = try Self.modules(in: heap, fault)
        var path: [(value: PickleValue, children: [PickleValue], next: Int, count: Count)] = []
        func enter(_ value: PickleValue) throws(CheckpointError) {
            guard path.count < limit else {
                throw fault.saying("nesting-limit", "containers are nested more than \(limit) deep")
            }
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
        if case .call(let number) = value { tensorRecipe(heap.calls[Int(number)]) } else { nil }
    }

    /// The recipe of the tensor that a call makes, or nil for other calls.
    func tensorRecipe(_ call: PickleCall) -> TensorRecipe? {
        switch heap.globals[Int(call.global)].role {
        case .tensor(let recipe): recipe
        case .array: NumPyArray(call, in: heap) == nil ? nil : .array
        default: nil
        }
    }

    /// What a tensor's Python attributes are kept in.
    func attributes(ofTensor value: PickleValue) -> [PickleValue] {
        guard case .call(let number) = value, let recipe = tensorRecipe(value) else { return [] }
        let call = heap.calls[Int(number)]
        let arguments = heap.arguments(of: call)
        // An array is its state, and so is a tensor of a wrapper class.
        if recipe == .array { return [] }
        if recipe == .fromType, case .tensor(.wrapperSubclass) = arguments.first.flatMap(heap.global)?.role {
            return []
        }
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
            return heap.arguments(of: call) + [call.state, call.items].filter { $0 != .none }
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
        case .call(let number):
            let call = heap.calls[Int(number)]
            if case .dictionary(let items) = call.items { return heap.dictionaries[Int(items)] }
            guard case .dictionary(let state) = call.state else { return nil }
            return modules[state] ?? (opensRecords ? heap.dictionaries[Int(state)] : nil)
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

/// Whole modules, whose weights stand in the attributes that `torch.nn.Module` keeps.
extension StateTree {
    /// Whether a value is a module.
    func isModule(_ value: PickleValue) -> Bool {
        guard case .call(let number) = value, case .dictionary(let state) = heap.calls[Int(number)].state
        else { return false }
        return modules[state] != nil
    }

    /// The tensors of a module that its state dict leaves out on purpose.
    func unsavedBuffers(of value: PickleValue) -> Int {
        guard case .call(let number) = value, case .dictionary(let state) = heap.calls[Int(number)].state,
            case .dictionary(let buffers) = Self.attribute("_buffers", of: state, in: heap)
        else { return 0 }
        let unsaved = Self.unsavedNames(of: state, in: heap)
        let dictionary = heap.dictionaries[Int(buffers)]
        return zip(dictionary.keys, dictionary.values).reduce(0) {
            $0 + (unsaved.contains($1.0) ? count($1.1).tensors : 0)
        }
    }

    /// For every object with the attributes of a module, by its state: parameters, buffers that are saved, and
    /// modules in it, in the order of a state dict.
    private static func modules(
        in heap: PickleHeap, _ fault: CheckpointError
    ) throws(CheckpointError) -> [Int32: PickleDictionary] {
        var result: [Int32: PickleDictionary] = [:]
        var work = 0
        for call in heap.calls {
            guard case .dictionary(let state) = call.state, result[state] == nil,
                case .dictionary(let parameters) = attribute("_parameters", of: state, in: heap)
            else { continue }
            let unsaved = unsavedNames(of: state, in: heap)
            var merged = PickleDictionary()
            var parts = [parameters]
            for name in ["_buffers", "_modules"] {
                if case .dictionary(let part) = attribute(name, of: state, in: heap) { parts.append(part) }
            }
            for (index, part) in parts.enumerated() {
                let dictionary = heap.dictionaries[Int(part)]
                // Modules may share these dictionaries, but no honest ones do.
                work += dictionary.keys.count
                guard work <= 2 * heap.count + 1000 else {
                    throw fault.saying("pickle-limit", "the modules repeat their parts without end")
                }
                for (key, value) in zip(dictionary.keys, dictionary.values) where value != .none {
                    if index == 1, parts.count > 1, unsaved.contains(key) { continue }
                    guard merged.insert(value, forKey: key) else {
                        throw fault.saying("duplicate-name", "a module has two parts of one name")
                    }
                }
            }
            result[state] = merged
        }
        return result
    }

    private static func attribute(_ name: String, of state: Int32, in heap: PickleHeap) -> PickleValue? {
        let value = heap.known(name).flatMap { heap.dictionaries[Int(state)][$0] }
        // Some classes keep them in a class of their own.
        if case .call(let number) = value { return heap.calls[Int(number)].items }
        return value
    }

    private static func unsavedNames(of state: Int32, in heap: PickleHeap) -> Set<PickleValue> {
        let value = heap.known("_non_persistent_buffers_set").flatMap { heap.dictionaries[Int(state)][$0] }
        return Set(value.flatMap(heap.setItems) ?? [])
    }
}

extension CheckpointError {
    /// The same place with what is wrong there.
    fileprivate func saying(_ code: String, _ message: String) -> CheckpointError {
        var error = self
        error.code = code
        error.message = message
        return error
    }
}
