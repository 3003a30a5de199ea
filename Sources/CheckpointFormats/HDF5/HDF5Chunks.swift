internal import Archives
internal import Checkpoints
internal import Synchronization
internal import TensorCore

/// Where the chunks of a dataset stand.
struct HDF5ChunkIndex {
    struct Chunk {
        let address: UInt64
        let byteCount: UInt64
        /// The filters that were left out, one bit each.
        let mask: UInt64
    }

    /// The dimensions of a chunk.
    let shape: [UInt64]
    /// The chunks that there are, by their number in row-major order.
    private(set) var chunks: [Int: Chunk] = [:]
    /// How many there may be along each axis.
    let grid: [Int]
    private var nodes: Set<UInt64> = []

    init(
        _ dataset: HDF5Dataset, _ layout: inout HDF5Cursor, version: Int
    ) throws(CheckpointError) {
        let flags = version == 4 ? try layout.u8() : 0
        let rank = dataset.shape.count
        guard try layout.u8() == rank + 1 else {
            throw layout.broken("chunks of another rank than their dataset")
        }
        let width = version == 4 ? try layout.u8() : 4
        var address = HDF5File.nowhere
        if version == 3 { address = try layout.u64() }
        var shape: [UInt64] = []
        guard 1...8 ~= width else { throw layout.broken("chunks whose size cannot be read") }
        for _ in 0..<rank { shape.append(try layout.number(width)) }
        try layout.skip(width)
        guard !shape.contains(0), let size = dataset.dtype.byteCount(of: shape), size < 1 << 32 else {
            throw layout.broken("chunks of shape \(shape)")
        }
        self.shape = shape
        let counts = zip(dataset.shape, shape).map { ($0 - 1) / $1 + 1 }
        let total = DType.elementCount(of: counts) ?? .max
        try dataset.object.file.countChunks(total, at: dataset.object.address)
        grid = counts.map(Int.init)
        if version == 3 {
            if address != HDF5File.nowhere { try readNode(dataset, at: address, below: 256) }
            return
        }
        switch try layout.u8() {
        case 1:
            var (stored, mask) = (size, 0 as UInt64)
            if flags & 2 != 0 { (stored, mask) = (try layout.u64(), try layout.number(4)) }
            address = try layout.u64()
            if address != HDF5File.nowhere {
                chunks[0] = Chunk(address: address, byteCount: stored, mask: mask)
            }
        case 2:
            address = try layout.u64()
            guard address < UInt64(Int64.max) else { return }
            for number in 0..<Int(total) {
                chunks[number] = Chunk(address: address + UInt64(number) * size, byteCount: size, mask: 0)
            }
        default:
            throw dataset.refusal(
                "its chunks are listed in a way that is not read; write the file again without libver='latest'"
            )
        }
    }

    private mutating func readNode(
        _ dataset: HDF5Dataset, at address: UInt64, below level: Int
    ) throws(CheckpointError) {
        let file = dataset.object.file
        guard nodes.insert(address).inserted else {
            throw file.error(.malformed, "hdf5", "the tree of a dataset comes back to itself", at: address)
        }
        var head = try file.cursor(at: address, count: 24)
        try head.signature("TREE")
        let kind = try head.u8()
        let own = try head.u8()
        let count = try head.u16()
        guard kind == 1, own < level else { throw head.broken("no node of this tree stands here") }
        let keySize = 8 + 8 * (shape.count + 1)
        var body = try file.cursor(at: address + 24, count: (keySize + 8) * count)
        for _ in 0..<count {
            let size = try body.u32()
            let mask = try body.number(4)
            var number = 0
            for axis in shape.indices {
                let (index, rest) = try body.u64().quotientAndRemainder(dividingBy: shape[axis])
                guard rest == 0, index < UInt64(grid[axis]) || own > 0 else {
                    throw body.broken("a chunk lies outside its dataset")
                }
                number = own > 0 ? 0 : number * grid[axis] + Int(index)
            }
            try body.skip(8)
            let child = try body.u64()
            if own > 0 {
                try readNode(dataset, at: child, below: own)
            } else {
                chunks[number] = Chunk(address: child, byteCount: UInt64(size), mask: mask)
            }
        }
    }
}

/// The tensor that the chunks of a dataset make up.
struct HDF5ChunkGrid {
    let dataset: HDF5Dataset
    let index: HDF5ChunkIndex
    let cache: HDF5ChunkCache
    private let filters: [HDF5Filter]

    init(
        dataset: HDF5Dataset, index: HDF5ChunkIndex, cache: HDF5ChunkCache
    ) throws(CheckpointError) {
        self.dataset = dataset
        self.index = index
        self.cache = cache
        filters =
            try dataset.object.message(.filters).map { (message) throws(CheckpointError) in
                try HDF5Filter.read(message.body, dataset)
            } ?? []
    }

    func expression() throws(CheckpointError) -> TensorExpression { try box(axis: 0, first: 0, sizes: []) }

    /// The part of the tensor at one index of the chunks along each axis before `axis`.
    private func box(axis: Int, first: Int, sizes: [UInt64]) throws(CheckpointError) -> TensorExpression {
        guard axis < index.grid.count else { return try chunk(first, sizes) }
        var parts: [TensorExpression] = []
        for position in 0..<index.grid[axis] {
            let size = min(index.shape[axis], dataset.shape[axis] - UInt64(position) * index.shape[axis])
            parts.append(
                try box(axis: axis + 1, first: first * index.grid[axis] + position, sizes: sizes + [size]))
        }
        return try dataset.made { () throws(ExpressionError) in try .concatenated(parts, axis: axis) }
    }

    /// A chunk, less what stands over the edge.
    private func chunk(_ number: Int, _ sizes: [UInt64]) throws(CheckpointError) -> TensorExpression {
        guard let chunk = index.chunks[number] else { return try dataset.filled(sizes) }
        let file = dataset.object.file
        let size = dataset.dtype.byteCount(of: index.shape) ?? 0
        let used = filters.indices.filter { chunk.mask & (1 << UInt64($0)) == 0 }.map { filters[$0] }
        var stored = try file.extent(at: chunk.address, count: chunk.byteCount)
        if used.isEmpty {
            guard chunk.byteCount == size else {
                throw file.error(
                    .malformed, "size-mismatch", "a chunk has \(chunk.byteCount) bytes and not \(size)",
                    at: chunk.address)
            }
        } else {
            guard size <= UInt64(HDF5ChunkCache.chunkByteLimit),
                chunk.byteCount <= UInt64(HDF5ChunkCache.chunkByteLimit)
            else { throw dataset.refusal("its compressed chunks have \(size) bytes") }
            let source = HDF5Chunk(
                name: file.source.name + "@\(stored.offset)", stored: stored, byteCount: size,
                filters: used.reversed(), width: dataset.dtype.bitWidth / 8, cache: cache)
            stored = Extent(source: source, offset: 0, byteCount: size)
        }
        let whole = try dataset.tensor(.extent(stored), index.shape)
        return try dataset.made { () throws(ExpressionError) in try whole.sliced(sizes.map { 0..<$0 }) }
    }
}

/// What is done to a chunk before it is written.
enum HDF5Filter {
    case deflate
    case shuffle

    static func read(
        _ message: HDF5Cursor, _ dataset: HDF5Dataset
    ) throws(CheckpointError) -> [HDF5Filter] {
        var body = message
        let version = try body.u8()
        let count = try body.u8()
        guard 1...2 ~= version, count <= 32 else { throw body.broken("filters of an unknown version") }
        if version == 1 { try body.skip(6) }
        var filters: [HDF5Filter] = []
        for _ in 0..<count {
            let number = try body.u16()
            let nameSize = version == 1 || number >= 256 ? try body.u16() : 0
            try body.skip(2)
            let values = try body.u16()
            try body.skip((version == 1 ? (nameSize + 7) / 8 * 8 : nameSize) + 4 * values)
            if version == 1, values % 2 == 1 { try body.skip(4) }
            switch number {
            case 1: filters.append(.deflate)
            case 2: filters.append(.shuffle)
            default:
                throw dataset.refusal("it is written with filter \(number); deflate and shuffle are read")
            }
        }
        return filters
    }
}

/// The bytes of a chunk, with its filters undone when they are asked for.
final class HDF5Chunk: ByteSource {
    let name: String
    let byteCount: UInt64
    private let stored: Extent
    /// The filters in the order in which they are undone.
    private let filters: [HDF5Filter]
    private let width: Int
    private let cache: HDF5ChunkCache

    init(
        name: String, stored: Extent, byteCount: UInt64, filters: [HDF5Filter], width: Int,
        cache: HDF5ChunkCache
    ) {
        self.name = name
        self.stored = stored
        self.byteCount = byteCount
        self.filters = filters
        self.width = width
        self.cache = cache
    }

    func read(at offset: UInt64, into buffer: inout MutableRawSpan) throws(IOError) {
        let total = buffer.byteCount
        guard offset <= byteCount, UInt64(total) <= byteCount - offset else {
            throw IOError(.unexpectedEnd, path: name, operation: "read", offset: offset)
        }
        let bytes = try cache.bytes(at: stored.offset, make: made)
        copyBytes(from: bytes.span.bytesView, at: Int(offset), to: &buffer, at: 0, count: total)
    }

    private func made() throws(IOError) -> [UInt8] {
        var bytes = try stored.source.bytes(at: stored.offset, count: Int(stored.byteCount))
        for filter in filters {
            switch filter {
            case .deflate:
                let input = MemorySource(name: name, contents: bytes)
                bytes =
                    try DecompressedSource.contents(
                        of: input, range: 0..<input.byteCount, compression: .zlib, limit: Int(byteCount))
                    ?? []
            case .shuffle: bytes = ElementBits.unshuffled(bytes, width: width)
            }
        }
        guard UInt64(bytes.count) == byteCount else {
            throw IOError(
                .unexpectedEnd, path: name, operation: "decompress", offset: stored.offset,
                detail: "a chunk holds \(bytes.count) bytes and not \(byteCount)")
        }
        return bytes
    }
}

/// The chunks of a file that were decompressed last.
final class HDF5ChunkCache: Sendable {
    private struct Item {
        let place: UInt64
        let bytes: [UInt8]
    }

    private let items = Mutex<[Item]>([])
    static let chunkByteLimit = 32 << 20
    private static let byteLimit = 64 << 20

    func bytes(at place: UInt64, make: () throws(IOError) -> [UInt8]) throws(IOError) -> [UInt8] {
        let found = items.withLock { items -> [UInt8]? in
            guard let index = items.firstIndex(where: { $0.place == place }) else { return nil }
            let item = items.remove(at: index)
            items.append(item)
            return item.bytes
        }
        if let found { return found }
        let bytes = try make()
        items.withLock { items in
            items.append(Item(place: place, bytes: bytes))
            var total = items.reduce(0) { $0 + $1.bytes.count }
            while total > Self.byteLimit, items.count > 1 { total -= items.removeFirst().bytes.count }
        }
        return bytes
    }
}
