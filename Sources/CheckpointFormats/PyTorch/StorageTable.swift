internal import Archives
internal import Checkpoints
internal import TensorCore

/// The storages of a file by key: where the bytes that tensors are views of stand.
struct StorageTable {
    /// One storage.
    struct Item {
        /// The bytes, decompressed where they are compressed.
        var extent: Extent
        /// The archive member, where the file is an archive.
        var member: String?
    }

    private(set) var source: any ByteSource
    var items: [ByteKey: Item] = [:]
    /// Whether numbers in storages have their most significant byte first.
    var isBigEndian = false

    /// Takes the bytes from another source that has the same at the same places; those that are decompressed stay.
    mutating func replaceSource(by other: any ByteSource) {
        source = other
        for key in items.keys where !(items[key]?.extent.source is DecompressedSource) {
            items[key]?.extent.source = other
        }
    }

    /// The bytes of all storages.
    var byteCount: UInt64 {
        // Ranges lie in the file; only in a sparse one of exabytes could the sum reach the limit.
        items.values.reduce(0) { min($0, .max / 2) + min($1.extent.byteCount, .max / 2) }
    }
}

/// What a persistent id says about a storage: `('storage', class, key, location, count[, view])`.
struct StorageReference {
    var key: [UInt8]
    var element: TorchElement
    var elementCount: UInt64
    /// The elements of a storage that is a part of another, as PyTorch had before 0.4.
    var view: Range<UInt64>?

    init?(_ identifier: PickleValue, in heap: PickleHeap) {
        guard case .tuple = identifier, let items = heap.items(identifier), 5...6 ~= items.count,
            heap.text(items[0]) == Array("storage".utf8),
            case .storage(let element) = heap.global(items[1])?.role,
            let key = heap.text(items[2]), 1...20 ~= key.count, key.allSatisfy({ 0x30...0x39 ~= $0 }),
            case .integer(let count) = items[4], let count = UInt64(exactly: count)
        else { return nil }
        self.key = key
        self.element = element
        elementCount = count
        guard items.count == 6, items[5] != .none else { return }
        guard let parts = heap.items(items[5]), parts.count == 3, case .integer(let offset) = parts[1],
            case .integer(let size) = parts[2], offset >= 0, size >= 0, offset <= Int64.max - size
        else { return nil }
        view = UInt64(offset)..<UInt64(offset + size)
    }
}
