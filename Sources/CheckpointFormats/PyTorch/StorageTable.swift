internal import TensorCore

/// The storages of a file by key: where the bytes that tensors are views of stand.
struct StorageTable {
    /// One storage.
    struct Item {
        /// The bytes in the source.
        var range: Range<UInt64>
        /// The archive member, where the file is an archive.
        var member: String?
        /// Whether the bytes are compressed.
        var isDeflated = false

        var byteCount: UInt64 { range.upperBound - range.lowerBound }
    }

    let source: any ByteSource
    var items: [[UInt8]: Item] = [:]
    /// Whether numbers in storages have their most significant byte first.
    var isBigEndian = false

    /// The bytes of all storages.
    var byteCount: UInt64 {
        // Ranges lie in the file; only in a sparse one of exabytes could the sum reach the limit.
        items.values.reduce(0) { min($0, .max / 2) + min($1.byteCount, .max / 2) }
    }
}
