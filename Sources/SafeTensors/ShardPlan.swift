public import StrictJSON
public import TensorCore

/// A checkpoint divided into files: which tensor goes into which, and what the files are called.
///
/// ```swift
/// let plan = ShardPlan(sizes: tensors.map(\.byteCount), limit: 5_000_000_000)
/// for shard in plan.shards {
///     let layout = try SafeTensorsLayout(
///         tensors: shard.tensors.map { (tensors[$0].name, tensors[$0].dtype, tensors[$0].shape) },
///         metadata: [("format", "pt")])
///     // Write shard.fileName.
/// }
/// if let index = plan.index(names: tensors.map(\.name)) {
///     // Write index.serialized(.hub) to plan.indexFileName.
/// }
/// ```
public struct ShardPlan: Sendable {
    /// One file.
    public struct Shard: Sendable, Hashable {
        /// The name, such as `model-00001-of-00003.safetensors`.
        public let fileName: String
        /// The tensors, as indices of the sizes that were planned.
        public let tensors: [Int]
        /// The bytes of its tensors, shared ones counted once; the file is larger by its header.
        public let byteCount: UInt64
    }

    /// The files, in order.
    public let shards: [Shard]
    /// The bytes of all tensors, shared ones counted once.
    public let totalSize: UInt64
    /// What the index is called, such as `model.safetensors.index.json`.
    public let indexFileName: String

    /// Divides tensors into files.
    ///
    /// Sizes that add up to more than 64 bits hold are counted as 2^64-1.
    ///
    /// - Parameters:
    ///   - sizes: the bytes of each tensor, in the order of the checkpoint.
    ///   - limit: the most bytes of tensors in a file; only a single larger tensor passes it.
    ///   - split: the rule.
    ///   - storages: which tensors share bytes; see ``ShardSplit/shards(sizes:limit:storages:)``.
    ///   - base: what the names of the files begin with.
    ///   - fileExtension: what they end with.
    public init(
        sizes: [UInt64], limit: UInt64, split: ShardSplit = .hub, storages: [Int?] = [],
        base: String = "model", fileExtension: String = "safetensors"
    ) {
        let parts = split.shards(sizes: sizes, limit: limit, storages: storages)
        var isCounted: Set<Int> = []
        func counts(_ index: Int) -> Bool {
            guard index < storages.count, let storage = storages[index] else { return true }
            return isCounted.insert(storage).inserted
        }
        shards = parts.enumerated().map { number, tensors in
            Shard(
                fileName: Self.fileName(
                    base: base, number: number + 1, count: parts.count, fileExtension: fileExtension),
                tensors: tensors,
                byteCount: tensors.reduce(0) { counts($1) ? saturatingSum($0, sizes[$1]) : $0 })
        }
        totalSize = shards.reduce(0) { saturatingSum($0, $1.byteCount) }
        indexFileName = "\(base).\(fileExtension).index.json"
    }

    /// The name of a file: `model-00001-of-00003.safetensors`, or `model.safetensors` where there is only one.
    ///
    /// - Parameters:
    ///   - base: what the name begins with.
    ///   - number: the number of the file, from 1.
    ///   - count: the number of files.
    ///   - fileExtension: what the name ends with.
    public static func fileName(
        base: String, number: Int, count: Int, fileExtension: String = "safetensors"
    ) -> String {
        guard count > 1 else { return "\(base).\(fileExtension)" }
        func padded(_ number: Int) -> String {
            let digits = String(number)
            return String(repeating: "0", count: max(0, 5 - digits.utf8.count)) + digits
        }
        return "\(base)-\(padded(number))-of-\(padded(count)).\(fileExtension)"
    }

    /// The index of the files, or nil where there is only one, which needs none.
    ///
    /// - Parameters:
    ///   - names: the name of each tensor, in the order of the sizes that were planned.
    ///   - totalParameters: the number of elements, if known; transformers states it, the hub library does not.
    ///   - extra: further members of the index's metadata.
    public func index(
        names: [TensorName], totalParameters: UInt64? = nil, extra: [JSONMember] = []
    ) -> ShardIndex? {
        guard shards.count > 1 else { return nil }
        let entries = shards.flatMap { shard in
            shard.tensors.map { ShardIndex.Entry(tensor: names[$0], file: shard.fileName) }
        }
        return ShardIndex(
            entries: entries, totalSize: totalSize, totalParameters: totalParameters, extra: extra)
    }
}

/// The sum, or the largest number where it does not fit.
func saturatingSum(_ a: UInt64, _ b: UInt64) -> UInt64 {
    let (sum, overflow) = a.addingReportingOverflow(b)
    return overflow ? .max : sum
}
