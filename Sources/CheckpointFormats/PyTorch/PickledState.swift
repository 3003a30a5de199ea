internal import Checkpoints
internal import StrictJSON
internal import TensorCore

/// Builds a checkpoint from a pickle's result and its storages, the same for all containers.
struct PickledState {
    var heap: PickleHeap
    var top: PickleValue
    var storages: StorageTable
    var opensRecords = false

    /// The checkpoint without its checksums.
    func checkpoint(
        _ options: ReadOptions, displayName: String, member: String?
    ) throws(CheckpointError) -> Checkpoint {
        let tree = try StateTree(
            heap, root: top, opensRecords: opensRecords, limit: 1000,
            fault: CheckpointError(.malformed, "", "", file: displayName, member: member))
        let selection =
            if let root = options.root {
                try RootSelection(at: root, in: top, of: tree, file: displayName)
            } else {
                try RootSelection(choosingIn: top, of: tree, file: displayName)
            }
        let builder = TensorBuilder(heap: heap, storages: storages, file: displayName)
        var table = TableBuilder(tree: tree, builder: builder, file: displayName)
        table.skipsUnsupported = options.skipsUnsupported
        try table.add(selection)
        var checkpoint = Checkpoint(
            format: PyTorchReader.formatName, tensors: table.tensors,
            files: [SourceFile(path: displayName, source: storages.source)],
            skipped: selection.skipped + table.skipped, root: selection.path)
        if table.tensors.isEmpty, case .call(let number) = top {
            let name = heap.globals[Int(heap.calls[Int(number)].global)].qualifiedName
            checkpoint.skipped.append(
                SkippedItem(
                    name: escaped(name.utf8),
                    reason: "an object of plain values, such as settings: `artifact inspect --json` shows it")
            )
        } else {
            checkpoint.skipped += summary(of: tree)
        }
        checkpoint.values = values(beside: selection, of: tree)
        return checkpoint
    }

    /// One line for all values that are not tensors.
    private func summary(of tree: StateTree) -> [SkippedItem] {
        let leaves = tree.count(top).leaves
        guard leaves > 0 else { return [] }
        let arrays = heap.calls.count {
            if case .array = heap.globals[Int($0.global)].role {
                tree.tensorRecipe($0) == nil
            } else {
                false
            }
        }
        let note = arrays > 0 ? ", among them \(arrays) NumPy arrays or scalars" : ""
        return [SkippedItem(name: "(\(leaves) values)", reason: "not tensors\(note)")]
    }

    /// The plain values at the top of the file: a trainer's step and settings, but not the state it goes on from.
    private func values(beside selection: RootSelection, of tree: StateTree) -> [JSONMember] {
        var writer = PickleJSON(heap)
        if case .call = top, tree.count(top).tensors == 0 { return writer.json(top).members ?? [] }
        guard !tree.isModule(top), let dictionary = tree.dictionary(top) else { return [] }
        var plain = PickleDictionary()
        for (key, value) in zip(dictionary.keys, dictionary.values) {
            let name = RootSelection.shown(key, tree)
            let isSetting = name == "hyper_parameters"
            guard tree.component(key) != nil, name != selection.path,
                isSetting || !RootSelection.isTraining(name),
                isSetting || tree.count(value).tensors == 0
            else { continue }
            _ = plain.insert(value, forKey: key)
        }
        return writer.members(of: plain)
    }
}
