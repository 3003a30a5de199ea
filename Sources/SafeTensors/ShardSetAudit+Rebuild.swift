internal import StrictJSON
internal import TensorCore

extension ShardSetAudit {
    /// An index made from the headers of shards.
    public struct Rebuilt: Sendable {
        /// What it is called.
        public let name: String
        /// The index: shards in the order of their numbers, the tensors of each in the order of its header.
        public let index: ShardIndex
        /// The shards.
        public let files: [String]
    }

    /// Makes the index of the shards that stand in the directory, from their headers alone.
    ///
    /// - Parameters:
    ///   - base: what the names of the shards begin with, where there are several sets.
    ///   - layout: the library whose index it shall be like; transformers states the number of elements.
    ///   - allowingGaps: whether numbers may lack in the names of the shards.
    /// - Throws: a finding that says why there is no such index: no shards, several sets, a header that is
    ///   refused, a number that lacks, or a tensor in two shards.
    public func rebuiltIndex(
        base: String? = nil, layout: ShardIndex.Layout = .transformers, allowingGaps: Bool = false
    ) throws(Finding) -> Rebuilt {
        let (base, members) = try shardsToIndex(base: base)
        if !allowingGaps { try checkGaps(members) }
        var holder: [TensorName: String] = [:]
        var entries: [ShardIndex.Entry] = []
        var bytes: UInt64 = 0
        var elements: UInt64 = 0
        for shard in members {
            try checkReadable(shard)
            for tensor in shard.tensors {
                if let other = holder.updateValue(shard.name, forKey: tensor.name) {
                    throw Finding(
                        .error, .duplicateAcrossShards, file: shard.name, tensor: tensor.name,
                        "it is in \(escapedForDisplay(other)) too, so no index is right: remove one of the two"
                    )
                }
                entries.append(ShardIndex.Entry(tensor: tensor.name, file: shard.name))
                bytes = saturatingSum(bytes, tensor.byteCount)
                elements = saturatingSum(elements, DType.elementCount(of: tensor.shape) ?? 0)
            }
        }
        let names = ShardFileName.indexNames(base: base)
        return Rebuilt(
            name: names.first { name in indexes.contains { $0.name == name } } ?? names[0],
            index: ShardIndex(
                entries: entries, totalSize: bytes, totalParameters: layout == .transformers ? elements : nil),
            files: members.map(\.name))
    }

    /// The shards of the set that is meant, in the order of their numbers.
    private func shardsToIndex(base: String?) throws(Finding) -> (base: String, shards: [Shard]) {
        let top = shards.filter { !$0.name.utf8.contains(UInt8(ascii: "/")) }
        var groups = Self.groups(of: top.compactMap(\.fileName)).map(\.group)
        if let base { groups = groups.filter { $0.base == Array(base.utf8) } }
        if groups.count > 1 {
            let names = groups.map { escapedForDisplay(String(decoding: $0.base, as: UTF8.self)) }
            throw Finding(
                .error, .shardCountMismatch, file: directory,
                "there are several sets of shards (\(names.joined(separator: ", "))): name one with --base")
        }
        if let group = groups.first {
            let members = top.filter { $0.fileName?.group == group }
                .sorted { ($0.fileName?.number ?? 0) < ($1.fileName?.number ?? 0) }
            return (String(decoding: group.base, as: UTF8.self), members)
        }
        guard base == nil, top.count > 1 else {
            throw Finding(
                .error, .shardMissing, file: directory,
                top.count == 1 && base == nil
                    ? "there is a single file, which needs no index"
                    : "there are no shards\(base.map { " named \(escapedForDisplay($0))-…" } ?? "")")
        }
        return ("model", top)
    }

    private func checkReadable(_ shard: Shard) throws(Finding) {
        guard shard.header == nil else { return }
        throw findings.first { $0.file == shard.name && $0.severity != .warning }
            ?? Finding(.unreadable, .shardUnreadable, file: shard.name, "its header is not known")
    }

    private func checkGaps(_ members: [Shard]) throws(Finding) {
        let numbers = members.compactMap(\.fileName?.number)
        guard let count = members.first?.fileName?.count, let first = numbers.first else { return }
        let start: UInt64 = first == 0 ? 0 : 1
        for (place, number) in numbers.enumerated() where number != start + UInt64(place) {
            throw gap(start + UInt64(place), of: count, in: members)
        }
        let end = start + UInt64(numbers.count)
        if end <= count && !(start == 0 && end == count) { throw gap(end, of: count, in: members) }
    }

    private func gap(_ number: UInt64, of count: UInt64, in members: [Shard]) -> Finding {
        Finding(
            .error, .shardMissing, file: members[0].name,
            "number \(number) of \(count) is not there, so the index would lack its tensors: fetch it first")
    }
}
