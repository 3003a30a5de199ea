internal import Archives
internal import Checkpoints
internal import TensorCore

/// What `torch.save` wrote, as data: the pickled value and where its storages stand.
struct SavedObject {
    var heap: PickleHeap
    var top: PickleValue
    var storages: StorageTable
    /// The CRC-32 of the storages that have one, in order of place.
    var checksums: [RangeChecksum]
    /// The storages that are compressed, each with its own.
    var members: [SourceFile]
    /// Whether a storage has none.
    var lacksChecksum: Bool
    /// The file, for errors.
    let file: String
}

extension SavedObject {
    /// The tensors in the value, each counted once for each way that leads there.
    var tensorCount: Int {
        let nesting = CheckpointError(
            .malformed, "nesting-limit", "containers are nested too deep", file: file)
        let tree = try? StateTree(heap, root: top, opensRecords: false, limit: 1000, fault: nesting)
        return tree?.count(top).tensors ?? 0
    }
}

extension ArchiveCheckpoint {
    /// The whole archive as one value.
    ///
    /// - Parameter globals: what its pickle may name.
    func object(globals: PickleGlobals) throws(CheckpointError) -> SavedObject {
        try checkVersion()
        guard let pickle = archive.entry(named: folder + "data.pkl") else {
            throw CheckpointError(
                .malformed, "entry-name", "the folder's name is not UTF-8", file: displayName)
        }
        let bytes = try contents(of: pickle, limit: limits.byteCount)
        var machine = PickleMachine(bytes, file: displayName, member: pickle.text, globals: globals)
        let top = try machine.run()
        var file = SourceFile(path: displayName, source: archive.source)
        addChecksums(to: &file)
        return SavedObject(
            heap: machine.heap, top: top, storages: try storageTable(), checksums: file.checksums,
            members: file.members,
            lacksChecksum: archive.entries.contains { isStorage($0) && $0.lacksChecksum }, file: displayName)
    }
}

/// Looking into pickled values by the names of their parts.
extension PickleHeap {
    /// The value of a key of a dictionary, or of an attribute of an object; nil where there is none.
    func member(_ name: String, of value: PickleValue) -> PickleValue? {
        guard let key = known(name) else { return nil }
        switch value {
        case .dictionary(let number): return dictionaries[Int(number)][key]
        case .call(let number):
            guard case .dictionary(let state) = calls[Int(number)].state else { return nil }
            return dictionaries[Int(state)][key]
        default: return nil
        }
    }

    /// The class that an object is said to be of, without its module; nil for what is no object.
    func className(of value: PickleValue) -> String? {
        guard case .call(let number) = value else { return nil }
        return globals[Int(calls[Int(number)].global)].name
    }

    /// The pairs of a dictionary; nil for other values.
    func pairs(_ value: PickleValue) -> [(key: PickleValue, value: PickleValue)]? {
        guard case .dictionary(let number) = value else { return nil }
        return Array(zip(dictionaries[Int(number)].keys, dictionaries[Int(number)].values))
            .map { (key: $0.0, value: $0.1) }
    }

    /// A whole number that is not negative; nil for other values.
    func count(_ value: PickleValue) -> UInt64? {
        if case .integer(let number) = value { UInt64(exactly: number) } else { nil }
    }

    /// The dimensions of a shape or the coordinates of an offset; nil where it is none, or of more than 64.
    func dimensions(_ value: PickleValue) -> [UInt64]? {
        guard let items = items(value), items.count <= 64 else { return nil }
        var result: [UInt64] = []
        for item in items {
            guard let number = count(item) else { return nil }
            result.append(number)
        }
        return result
    }
}
