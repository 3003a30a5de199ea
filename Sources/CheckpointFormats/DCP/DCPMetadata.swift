internal import TensorCore

/// What the metadata of a `torch.distributed.checkpoint` says is there, and in which files.
struct DCPMetadata {
    /// The items in order.
    var items: [Item] = []
    private var places: [ByteKey: Int] = [:]

    /// Something that was saved under a name.
    struct Item {
        /// The name, its parts joined with dots.
        var name: [UInt8]
        /// The keys that lead to it in the nested dictionary that was saved; the name alone where that is unknown.
        var path: [[UInt8]]
        var content: Content
    }

    /// What an item is.
    enum Content {
        case tensor(element: TorchElement, shape: [UInt64], chunks: [Chunk])
        /// Any other value, pickled.
        case value(Slice)
    }

    /// A rectangle of a tensor.
    struct Chunk {
        var start: [UInt64]
        var shape: [UInt64]
        var slice: Slice
    }

    /// A part of a file that is an archive of its own.
    struct Slice {
        var file: String
        var offset: UInt64
        var byteCount: UInt64
        /// What was done to the bytes, such as `stream.zstd/1`.
        var transforms: [String] = []
    }

    /// Adds what another rank says; nil where all is well, else the name of a tensor that the two disagree on.
    ///
    /// Ranks that write without asking each other all save what they all have; one copy is enough.
    mutating func merge(_ item: Item) -> [UInt8]? {
        guard let place = places[ByteKey(item.name)] else {
            places[ByteKey(item.name)] = items.count
            items.append(item)
            return nil
        }
        switch (items[place].content, item.content) {
        case (.tensor(let element, let shape, var chunks), .tensor(let otherElement, let other, let more)):
            guard element == otherElement, shape == other else { return item.name }
            var known = Set(chunks.map(\.start))
            chunks += more.filter { known.insert($0.start).inserted }
            items[place].content = .tensor(element: element, shape: shape, chunks: chunks)
            return nil
        case (.value, .value): return nil
        default: return item.name
        }
    }
}
