internal import StrictJSON
internal import TensorCore

extension ShardSetAudit {
    /// Compares the indexes with the headers, and the shards of each set with each other.
    mutating func compare() {
        var listed: Set<ByteKey> = []
        for index in indexes {
            guard let document = index.index else { continue }
            listed.formUnion(document.files.map { ByteKey($0) })
            compare(document, named: index.name)
        }
        // Without an index the numbers in the names tell which files are a set.
        guard indexes.contains(where: { $0.index != nil }) else {
            if indexes.isEmpty { compareGroups() }
            return
        }
        for shard in shards where !listed.contains(ByteKey(shard.name)) {
            add(
                Finding(
                    .warning, .unreferencedShard, file: shard.name,
                    "no index lists it, but loaders that take every file would read it"))
        }
    }

    private mutating func compare(_ index: ShardIndex, named name: String) {
        let files = index.files
        var isComplete = checkEntries(of: index, named: name)
        let holders = files.compactMap { shard($0) }
        isComplete = isComplete && holders.count == files.count && holders.allSatisfy { $0.header != nil }
        let sizes = checkTensors(of: holders, index, named: name)
        if isComplete { checkTotalSize(index, sizes, named: name) }
        checkDuplicates(among: members(of: holders))
        for (group, listed) in Self.groups(of: files.compactMap { ShardFileName($0) }) {
            checkCount(group, listed, file: name)
        }
    }

    /// Looks for each entry's tensor in its shard; false where one is not there.
    private mutating func checkEntries(of index: ShardIndex, named name: String) -> Bool {
        var areAllThere = true
        for entry in index.entries {
            guard let header = shard(entry.file)?.header, header.index(of: entry.tensor) == nil else {
                continue
            }
            areAllThere = false
            let other = shards.first { $0.header?.index(of: entry.tensor) != nil }
            add(
                Finding(
                    .error, .tensorMissing, file: name, tensor: entry.tensor,
                    "the index says that it is in \(escapedForDisplay(entry.file)), but it is "
                        + (other.map { "in \(escapedForDisplay($0.name))" } ?? "nowhere")))
        }
        return areAllThere
    }

    /// Looks for each tensor of the shards in the index; the bytes of those that it lists, and of all.
    private mutating func checkTensors(
        of holders: [Shard], _ index: ShardIndex, named name: String
    ) -> (indexed: UInt64, all: UInt64) {
        let listed = Set(index.entries.map(\.tensor))
        var indexed: UInt64 = 0
        var all: UInt64 = 0
        for shard in holders {
            for tensor in shard.tensors {
                all = saturatingSum(all, tensor.byteCount)
                if listed.contains(tensor.name) {
                    indexed = saturatingSum(indexed, tensor.byteCount)
                } else {
                    add(
                        Finding(
                            .warning, .tensorNotIndexed, file: name, tensor: tensor.name,
                            "it is in \(escapedForDisplay(shard.name)), but the index does not list it"))
                }
            }
        }
        return (indexed, all)
    }

    private mutating func checkTotalSize(
        _ index: ShardIndex, _ sizes: (indexed: UInt64, all: UInt64), named name: String
    ) {
        guard let stated = index.metadata.first(where: { $0.key == "total_size" })?.value else { return }
        // Some writers state a fraction of zero.
        let isRight = [sizes.indexed, sizes.all].contains { size in
            stated.uint64 == size || (stated.uint64 == nil && stated.double == Double(size))
        }
        guard !isRight else { return }
        add(
            Finding(
                .warning, .totalSizeMismatch, file: name,
                "total_size is \(Self.shown(stated)), the tensors have \(sizes.all) bytes"))
    }

    private static func shown(_ value: JSONValue) -> String {
        if case .number(let text) = value { String(text.prefix(32)) } else { "not a number" }
    }

    /// The shards that a loader of these takes for one set: they and those numbered like them.
    func members(of holders: [Shard]) -> [Shard] {
        let groups = Set(holders.compactMap(\.fileName?.group))
        let names = Set(holders.map { ByteKey($0.name) })
        return shards.filter {
            names.contains(ByteKey($0.name)) || ($0.fileName.map { groups.contains($0.group) } ?? false)
        }
    }

    private mutating func checkDuplicates(among shards: [Shard]) {
        guard shards.count > 1 else { return }
        var holder: [TensorName: String] = [:]
        for shard in shards {
            for tensor in shard.tensors {
                guard let other = holder.updateValue(shard.name, forKey: tensor.name) else { continue }
                add(
                    Finding(
                        .error, .duplicateAcrossShards, file: shard.name, tensor: tensor.name,
                        "it is in \(escapedForDisplay(other)) too"))
            }
        }
    }
}

// MARK: - Numbers in names

extension ShardSetAudit {
    /// Files with the same base and count, in the order of their first ones.
    static func groups(of names: [ShardFileName]) -> [(group: ShardFileName.Group, names: [ShardFileName])] {
        var numbers: [ShardFileName.Group: Int] = [:]
        var groups: [(group: ShardFileName.Group, names: [ShardFileName])] = []
        for name in names {
            if let number = numbers[name.group] {
                groups[number].names.append(name)
            } else {
                numbers[name.group] = groups.count
                groups.append((name.group, [name]))
            }
        }
        return groups
    }

    private mutating func compareGroups() {
        for (group, names) in Self.groups(of: shards.compactMap(\.fileName)) {
            let members = shards.filter { $0.fileName?.group == group }
            checkDuplicates(among: members)
            checkCount(group, names, file: members[0].name)
            guard group.count > 1 else { continue }
            add(
                Finding(
                    .warning, .indexMissing, file: members[0].name,
                    "it is one of \(group.count) shards without an index, which most loaders need: make one "
                        + "with artifact index rebuild"))
        }
    }

    private mutating func checkCount(_ group: ShardFileName.Group, _ names: [ShardFileName], file: String) {
        // Numbers from 0 may go up to the count.
        let startsAtZero = names.contains { $0.number == 0 }
        let count = UInt64(names.count)
        guard count != group.count, !(startsAtZero && count - 1 == group.count) else { return }
        let base = escapedForDisplay(String(decoding: group.base, as: UTF8.self))
        add(
            Finding(
                .warning, .shardCountMismatch, file: file,
                "there are \(count) files of \(base) whose names say that there are \(group.count)"))
    }
}

extension ShardSetAudit.Shard {
    /// The tensors of the header, none where it is refused.
    var tensors: some Sequence<TensorInfo> { [header].lazy.compactMap { $0 }.joined() }
}
