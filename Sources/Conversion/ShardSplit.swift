/// Division of tensors into files of a bounded size.
enum ShardSplit {
    /// The hub library's rule: tensors are taken in order; one that is larger than the limit is a shard of its
    /// own at once; otherwise a new shard starts where the current one would pass the limit.
    ///
    /// - Parameters:
    ///   - sizes: the bytes of each tensor.
    ///   - limit: the most bytes of tensors in a shard.
    /// - Returns: the indexes of each shard's tensors, shards in order.
    static func hub(sizes: [UInt64], limit: UInt64) -> [[Int]] {
        var shards: [[Int]] = []
        var current: [Int] = []
        var currentSize: UInt64 = 0
        for (index, size) in sizes.enumerated() {
            if size > limit {
                shards.append([index])
                continue
            }
            if currentSize + size > limit {
                shards.append(current)
                current = []
                currentSize = 0
            }
            current.append(index)
            currentSize += size
        }
        if !current.isEmpty { shards.append(current) }
        return shards
    }

    /// `model.safetensors`, or `model-00001-of-00003.safetensors` where there are several.
    static func fileName(base: String, index: Int, count: Int) -> String {
        guard count > 1 else { return base + ".safetensors" }
        func padded(_ number: Int) -> String {
            let digits = String(number)
            return String(repeating: "0", count: max(0, 5 - digits.utf8.count)) + digits
        }
        return "\(base)-\(padded(index + 1))-of-\(padded(count)).safetensors"
    }
}
