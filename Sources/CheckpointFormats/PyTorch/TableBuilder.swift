internal import Checkpoints
internal import TensorCore

/// Turns the tree of a state dict into the table of its tensors, with names joined by dots.
struct TableBuilder {
    private let tree: StateTree
    private var builder: TensorBuilder
    private let file: String
    private(set) var tensors: [TensorRecord] = []
    private(set) var skipped: [SkippedItem] = []
    private var names: Set<TensorName> = []
    /// The name so far.
    private var prefix: [UInt8] = []
    private var work = 0
    /// Whether tensors that cannot be represented are left out and listed.
    var skipsUnsupported = false

    private static let nestingLimit = 1000
    private static let tensorLimit = 1_000_000
    private static let nameByteLimit = 1 << 20
    /// Containers entered and bytes of names, over the whole walk: shared containers multiply both.
    private static let workLimit = 128 << 20

    /// One container on the way from the root.
    private struct Step {
        var value: PickleValue
        var next = 0
        /// The bytes of the name that lead to the container.
        var prefixCount: Int
    }

    init(tree: StateTree, builder: TensorBuilder, file: String) {
        self.tree = tree
        self.builder = builder
        self.file = file
    }

    /// Adds every tensor under a selection.
    mutating func add(_ selection: RootSelection) throws(CheckpointError) {
        guard tree.count(selection.value).tensors <= Self.tensorLimit else {
            throw CheckpointError(
                .malformed, "tensor-limit", "the file describes more than \(Self.tensorLimit) tensors",
                file: file)
        }
        if tree.tensorRecipe(selection.value) != nil {
            try addTensor(
                selection.value, named: selection.path.map { Array($0.utf8) } ?? Array("tensor".utf8))
            return
        }
        try walk(selection)
    }

    private mutating func walk(_ selection: RootSelection) throws(CheckpointError) {
        var path = [Step(value: selection.value, prefixCount: 0)]
        while let step = path.last {
            guard step.next < tree.namedCount(step.value) ?? 0 else {
                path.removeLast()
                reportRest(of: step.value, at: prefix[..<step.prefixCount])
                continue
            }
            path[path.count - 1].next += 1
            let (key, child) = tree.named(step.value, at: step.next)
            let isExcluded = path.count == 1 && selection.excluded.contains(key)
            guard tree.count(child).tensors > 0, !isExcluded else { continue }
            prefix.removeSubrange(step.prefixCount...)
            guard try extendPrefix(by: key, above: child, depth: path.count) else { continue }
            if tree.tensorRecipe(child) != nil {
                try addTensor(child, named: prefix)
                continue
            }
            guard path.count < Self.nestingLimit else {
                throw CheckpointError(
                    .malformed, "nesting-limit",
                    "containers are nested more than \(Self.nestingLimit) deep", file: file)
            }
            path.append(Step(value: child, prefixCount: prefix.count))
        }
    }

    /// Adds a key to the name, or lists what is under it as left out and returns false where it can be no name.
    private mutating func extendPrefix(
        by key: PickleValue, above child: PickleValue, depth: Int
    ) throws(CheckpointError) -> Bool {
        guard let component = tree.component(key) else {
            let name = escaped(prefix + Array(prefix.isEmpty ? "*".utf8 : ".*".utf8))
            skip(name, "a key is neither text nor a whole number", tree.count(child).tensors)
            return false
        }
        if depth > 1 { prefix.append(0x2E) }
        prefix += component
        work += 64 + prefix.count
        guard prefix.count <= Self.nameByteLimit else {
            throw CheckpointError(
                .malformed, "name-limit", "the name of a tensor has more than \(Self.nameByteLimit) bytes",
                file: file)
        }
        guard work <= Self.workLimit else {
            throw CheckpointError(
                .malformed, "name-limit",
                "the names of the tensors take more than \(Self.workLimit) bytes: containers hold themselves "
                    + "or one another", file: file)
        }
        return true
    }

    private mutating func addTensor(_ value: PickleValue, named bytes: [UInt8]) throws(CheckpointError) {
        let name = TensorName(utf8: bytes)
        guard String(validating: bytes, as: UTF8.self) != nil else {
            throw CheckpointError(
                .malformed, "name-not-utf8", "the name of a tensor is not UTF-8", file: file, tensor: name)
        }
        guard names.insert(name).inserted else {
            throw CheckpointError(
                .malformed, "duplicate-name", "two tensors have this name when keys are joined with dots",
                file: file, tensor: name)
        }
        guard case .call(let number) = value else { return }
        do throws(CheckpointError) {
            tensors.append(try builder.record(tree.heap.calls[Int(number)], named: name))
        } catch {
            guard skipsUnsupported, error.class == .unsupported else { throw error }
            skip(escaped(bytes), error.message, 1)
            return
        }
        for attributes in tree.attributes(ofTensor: value) where attributes != .none {
            skip(escaped(bytes), "Python attributes of the tensor", tree.count(attributes).tensors)
        }
    }

    /// Lists what a container holds beside its named children: attributes, or the insides of an object.
    private mutating func reportRest(of value: PickleValue, at prefix: ArraySlice<UInt8>) {
        let name = prefix.isEmpty ? "(the whole file)" : escaped(prefix)
        if case .dictionary(let number) = value {
            let attributes = tree.heap.dictionaries[Int(number)].attributes
            skip(name, "Python attributes of a dictionary", tree.count(attributes).tensors)
        } else if tree.isModule(value) {
            let parts = tree.dictionary(value)?.values ?? []
            let inside = parts.reduce(0) { $0 + tree.count($1).tensors }
            let unsaved = tree.unsavedBuffers(of: value)
            skip(name, "buffers that a state dict leaves out", unsaved)
            skip(name, "attributes of a module", tree.count(value).tensors - inside - unsaved)
        } else if tree.namedCount(value) == nil {
            skip(name, "inside a Python object", tree.count(value).tensors)
        }
    }

    private mutating func skip(_ name: String, _ reason: String, _ count: Int) {
        if count > 0 { skipped.append(SkippedItem(name: name, reason: reason, tensorCount: count)) }
    }
}
