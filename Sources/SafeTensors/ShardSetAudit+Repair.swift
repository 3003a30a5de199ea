internal import StrictJSON
public import TensorCore

extension ShardSetAudit {
    /// An index with what the headers contradict put right.
    public struct Repaired: Sendable {
        /// The index: the entries in their order, tensors that it did not list at the end.
        public let index: ShardIndex
        /// What was changed, in the order of the index.
        public let changes: [Change]
        /// True where entries name a shard that is not there or cannot be read, which no header can put right.
        public let isIncomplete: Bool
    }

    /// One change to an index.
    public struct Change: Sendable, Hashable {
        /// What was done.
        public enum Kind: String, Sendable {
            /// A tensor that the index did not list was added.
            case added
            /// A tensor was sent to the file that holds it.
            case moved
            /// A tensor that no file holds was removed.
            case removed
            /// `total_size` was put right.
            case totalSize
            /// The `metadata` that transformers requires was added.
            case metadata
        }

        /// What was done.
        public let kind: Kind
        /// The tensor, for changes of entries.
        public let tensor: TensorName?
        /// What the index said before, as text.
        public let before: String?
        /// What it says now, as text.
        public let after: String?
    }

    /// Puts right what the headers contradict in an index, and keeps its order and its metadata.
    ///
    /// Entries whose shard is not there stay, since the missing header may be right.
    ///
    /// - Parameter index: one of ``indexes``.
    /// - Throws: a finding where the document has not the shape of an index, when a new one has to be made, or
    ///   where a file could not be read, whose tensors the index would lose.
    public func repaired(_ index: Index) throws(Finding) -> Repaired {
        if let finding = findings.first(where: { $0.severity == .unreadable }) { throw finding }
        guard let old = index.index, let root = try? JSONValue(parsing: index.document),
            let map = root["weight_map"]?.members
        else {
            throw Finding(
                .error, .badIndex, file: index.name,
                "it has not the shape of an index: make a new one with artifact index rebuild")
        }
        var repair = Repair(audit: self, old: old, name: index.name)
        for member in map { repair.settle(member) }
        repair.addMissing()
        return repair.finished
    }
}

/// A repair that is under way.
private struct Repair {
    let old: ShardIndex
    /// The shards of the set, by what the index says.
    let members: [ShardSetAudit.Shard]
    /// What the names of the shards begin with, by the name of the index.
    let base: String
    let audit: ShardSetAudit
    private var entries: [ShardIndex.Entry] = []
    private var changes: [ShardSetAudit.Change] = []
    private var isIncomplete = false

    init(audit: ShardSetAudit, old: ShardIndex, name: String) {
        self.audit = audit
        base = String(name.dropLast(".safetensors.index.json".count))
        self.old = old
        members = audit.members(of: old.files.compactMap { audit.shard($0) })
    }

    /// Decides on one entry of the old index.
    mutating func settle(_ member: JSONMember) {
        let tensor = TensorName(member.key)
        let file = member.value.string.flatMap { Path.isSafeRelative($0) ? $0 : nil }
        let stated = file.flatMap { audit.shard($0) }
        if let file, stated?.header?.index(of: tensor) != nil {
            entries.append(ShardIndex.Entry(tensor: tensor, file: file))
        } else if let holder = holder(of: tensor) {
            entries.append(ShardIndex.Entry(tensor: tensor, file: holder.name))
            note(.moved, tensor, before: member.value.string, after: holder.name)
        } else if let file, file.hasSuffix(".safetensors"), stated?.header == nil {
            entries.append(ShardIndex.Entry(tensor: tensor, file: file))
            isIncomplete = true
        } else {
            note(.removed, tensor, before: member.value.string, after: nil)
        }
    }

    /// Adds the tensors that the shards hold and the index did not list.
    mutating func addMissing() {
        var listed = Set(entries.map(\.tensor))
        // By where the tensors really are, since the files that the index named may have been wrong.
        var files = Set(entries.map(\.file))
        if files.isEmpty { files = Set(audit.shards.map(\.name).filter { $0.hasPrefix(base) }) }
        for shard in audit.members(of: audit.shards.filter { files.contains($0.name) }) {
            for tensor in shard.tensors where listed.insert(tensor.name).inserted {
                entries.append(ShardIndex.Entry(tensor: tensor.name, file: shard.name))
                note(.added, tensor.name, before: nil, after: shard.name)
            }
        }
    }

    var finished: ShardSetAudit.Repaired {
        var result = self
        let metadata = result.settledMetadata()
        return ShardSetAudit.Repaired(
            index: ShardIndex(entries: entries, metadata: metadata, others: old.others),
            changes: result.changes, isIncomplete: isIncomplete)
    }

    private func holder(of tensor: TensorName) -> ShardSetAudit.Shard? {
        let holds = { (shard: ShardSetAudit.Shard) in shard.header?.index(of: tensor) != nil }
        return members.first(where: holds) ?? audit.shards.first(where: holds)
    }

    private mutating func settledMetadata() -> [JSONMember] {
        guard !isIncomplete else { return old.metadata }
        var size: UInt64 = 0
        for entry in entries {
            size = saturatingSum(size, audit.shard(entry.file)?.header?[entry.tensor]?.byteCount ?? 0)
        }
        if old.warnings.count(of: .indexWithoutMetadata) > 0 {
            note(.metadata, nil, before: nil, after: "total_size \(size)")
            return [JSONMember(key: "total_size", value: .integer(size))]
        }
        var metadata = old.metadata
        if let place = metadata.firstIndex(where: { $0.key == "total_size" }),
            metadata[place].value.uint64 != size
        {
            let before = String(decoding: metadata[place].value.serialized().prefix(64), as: UTF8.self)
            note(.totalSize, nil, before: before, after: String(size))
            metadata[place].value = .integer(size)
        }
        return metadata
    }

    private mutating func note(
        _ kind: ShardSetAudit.Change.Kind, _ tensor: TensorName?, before: String?, after: String?
    ) {
        changes.append(.init(kind: kind, tensor: tensor, before: before, after: after))
    }
}
