/// How tensors are divided among files of a bounded size.
public enum ShardSplit: String, Sendable, CaseIterable {
    /// The rule of the hub library, to the tensor.
    ///
    /// Tensors are taken in order; one that is larger than the limit is a shard of its own at once; otherwise a
    /// new shard starts where the current one would pass the limit. Source: huggingface_hub 2.4,
    /// `serialization/_base.py`.
    case hub
    /// As few shards as by ``hub``, of sizes as near to each other as the order of the tensors allows.
    ///
    /// Tensors that are larger than the limit are shards of their own; the others are cut into runs such that
    /// the largest is as small as it can be. Shards come in the order of their first tensors.
    case balanced

    /// Divides tensors of the given sizes.
    ///
    /// Takes time in proportion to the number of tensors.
    ///
    /// - Parameters:
    ///   - sizes: the bytes of each tensor.
    ///   - limit: the most bytes of tensors in a shard.
    ///   - storages: for each tensor a number that it has in common with those that share its bytes, or nil;
    ///     such tensors follow the first of them and count once. Empty where no tensors share bytes.
    /// - Returns: the indices of each shard's tensors, shards in order, none empty. No shard passes the limit
    ///   but those of a single larger tensor.
    public func shards(sizes: [UInt64], limit: UInt64, storages: [Int?] = []) -> [[Int]] {
        let sharing = SharedStorages(storages)
        let own = sizes.indices.filter { !sharing.followers.contains($0) }
        var shards: [[Int]] =
            switch self {
            case .hub: Self.hub(own, sizes, limit)
            case .balanced: Self.balanced(own, sizes, limit)
            }
        sharing.add(to: &shards)
        return shards
    }

    private static func hub(_ tensors: [Int], _ sizes: [UInt64], _ limit: UInt64) -> [[Int]] {
        var shards: [[Int]] = []
        var current: [Int] = []
        var room = limit
        for index in tensors {
            let size = sizes[index]
            guard size <= limit else {
                shards.append([index])
                continue
            }
            if size > room {
                shards.append(current)
                current = []
                room = limit
            }
            current.append(index)
            room -= size
        }
        if !current.isEmpty { shards.append(current) }
        return shards
    }

    private static func balanced(_ tensors: [Int], _ sizes: [UInt64], _ limit: UInt64) -> [[Int]] {
        let large = tensors.filter { sizes[$0] > limit }.map { [$0] }
        let small = tensors.filter { sizes[$0] <= limit }
        let runs = EvenRuns(sizes: small.map { sizes[$0] }, limit: limit).runs
        return (large + runs.map { Array(small[$0]) }).sorted { $0[0] < $1[0] }
    }
}

/// Tensors that share bytes with earlier ones.
private struct SharedStorages {
    /// The tensors after the first of each storage.
    private(set) var followers: Set<Int> = []
    /// The first tensor of each storage with those that follow it.
    private var groups: [(first: Int, rest: [Int])] = []

    init(_ storages: [Int?]) {
        var group: [Int: Int] = [:]
        for (index, storage) in storages.enumerated() {
            guard let storage else { continue }
            if let number = group[storage] {
                groups[number].rest.append(index)
                followers.insert(index)
            } else {
                group[storage] = groups.count
                groups.append((index, []))
            }
        }
    }

    /// Appends the followers to the shards of the tensors that they follow.
    func add(to shards: inout [[Int]]) {
        guard !followers.isEmpty else { return }
        var shardOf: [Int: Int] = [:]
        for (number, shard) in shards.enumerated() {
            for index in shard { shardOf[index] = number }
        }
        for group in groups {
            if let shard = shardOf[group.first] { shards[shard] += group.rest }
        }
    }
}

/// The most even division of a sequence of sizes into as few runs as a limit allows.
private struct EvenRuns {
    private(set) var runs: [Range<Int>] = []

    /// - Parameter limit: at least the largest of `sizes`.
    init(sizes: [UInt64], limit: UInt64) {
        guard !sizes.isEmpty else { return }
        let count = Self.ends(sizes, cap: limit).count
        // The smallest cap for which the count is still enough.
        var low = sizes.max() ?? 0
        var high = limit
        while low < high {
            let middle = low + (high - low) / 2
            if Self.ends(sizes, cap: middle).count <= count { high = middle } else { low = middle + 1 }
        }
        runs = Self.runs(sizes, cap: low, count: count)
    }

    /// Where each run ends if each takes all that fits.
    private static func ends(_ sizes: [UInt64], cap: UInt64) -> [Int] {
        var ends: [Int] = []
        var room = cap
        for (index, size) in sizes.enumerated() {
            if size > room {
                ends.append(index)
                room = cap
            }
            room -= size
        }
        return ends + [sizes.count]
    }

    /// Runs within `cap` that each come as near to an equal part of what is left as can be.
    private static func runs(_ sizes: [UInt64], cap: UInt64, count: Int) -> [Range<Int>] {
        let needed = runsNeeded(sizes, cap: cap)
        var left = sizes.reduce(0.0) { $0 + Double($1) }
        var runs: [Range<Int>] = []
        var start = 0
        while start < sizes.count {
            let others = max(0, count - runs.count - 1)
            let part = left / Double(others + 1)
            var end = start
            var size: UInt64 = 0
            while end < sizes.count, sizes[end] <= cap - size {
                // Stop where one more would lead further past the part than this falls short of it.
                let next = Double(size) + Double(sizes[end])
                if end > start, needed[end] <= others, next - part > part - Double(size) { break }
                size += sizes[end]
                end += 1
            }
            runs.append(start..<end)
            left -= Double(size)
            start = end
        }
        return runs
    }

    /// For each index the fewest runs that the sizes from there on take.
    private static func runsNeeded(_ sizes: [UInt64], cap: UInt64) -> [Int] {
        var needed = [Int](repeating: 0, count: sizes.count + 1)
        var end = sizes.count
        var size: UInt64 = 0
        for start in sizes.indices.reversed() {
            // Sizes are at most the cap, so this ends before the run is empty.
            while sizes[start] > cap - size {
                end -= 1
                size -= sizes[end]
            }
            size += sizes[start]
            needed[start] = needed[end] + 1
        }
        return needed
    }
}
