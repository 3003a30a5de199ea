internal import Archives
internal import Checkpoints
internal import TensorCore

/// The chunks of a zarr array: found, checked, decompressed and in row-major order.
struct ZarrChunks: ChunkSource {
    private let array: ZarrArray
    /// The array's name, for messages, and its number in the cache.
    private let name: String
    private let number: Int
    /// What is stored at each position of the grid of keys, in row-major order.
    private let stored: [Extent?]
    private let cache: ChunkCache

    /// The largest chunk that is decompressed as a whole.
    private static let wholeLimit: UInt64 = 4 << 20
    /// What is kept of larger ones behind what was read.
    private static let window = 2 << 20

    init(_ array: ZarrArray, name: String, number: Int, stored: [Extent?], cache: ChunkCache) {
        self.array = array
        self.name = name
        self.number = number
        self.stored = stored
        self.cache = cache
    }

    var inputs: [TensorSource] { stored.compactMap { $0.map(TensorSource.extent) } }

    func chunk(at position: [UInt64]) throws(IOError) -> (any ByteSource)? {
        guard let shard = array.shard else {
            let index = Self.index(of: position, in: array.keyCounts)
            guard let extent = stored[Int(index)] else { return nil }
            return try decoded(extent, index)
        }
        let ratio = zip(array.storedShape, shard.chunkShape).map { $0 / $1 }
        let outer = Self.index(of: zip(position, ratio).map { $0 / $1 }, in: array.keyCounts)
        guard let extent = stored[Int(outer)] else { return nil }
        let inner = Self.index(of: zip(position, ratio).map { $0 % $1 }, in: ratio)
        let count = ratio.reduce(1, *)
        guard let part = try entry(inner, of: count, in: extent, outer, shard) else { return nil }
        return try decoded(part, outer * count + inner)
    }

    private static func index(of position: [UInt64], in counts: [UInt64]) -> UInt64 {
        zip(position, counts).reduce(0) { $0 * $1.1 + $1.0 }
    }

    private func failure(_ detail: String, _ extent: Extent) -> IOError {
        IOError(
            .unreadable, path: extent.source.name, operation: "read", offset: extent.offset,
            detail: "a chunk of '\(escapedForDisplay(name))': \(detail)")
    }

    /// Where a chunk stands in its shard.
    private func entry(
        _ inner: UInt64, of count: UInt64, in extent: Extent, _ outer: UInt64, _ shard: ZarrArray.Shard
    ) throws(IOError) -> Extent? {
        let key = ChunkCache.Key(array: number, chunk: outer, isIndex: true)
        let index = try cache.entry(key) { () throws(IOError) in
            let (entries, overflow) = count.multipliedReportingOverflow(by: 16)
            let (size, more) = entries.addingReportingOverflow(shard.hasIndexChecksum ? 4 : 0)
            guard !overflow, !more, size <= extent.byteCount, size <= 16 << 20 else {
                throw failure("its shard has no room for an index of \(count) chunks", extent)
            }
            let start = extent.offset + (shard.isIndexAtEnd ? extent.byteCount - size : 0)
            let bytes = try extent.source.bytes(at: start, count: Int(size))
            if shard.hasIndexChecksum {
                var crc = CRC32C()
                crc.update(bytes.span.bytesView.extracting(0..<Int(entries)))
                guard crc.value == bytes.span.bytesView.load(littleEndian: UInt32.self, at: Int(entries))
                else {
                    throw failure("the CRC-32C of its shard's index does not match", extent)
                }
            }
            return (MemorySource(name: extent.source.name, contents: bytes), bytes.count)
        }
        let pair = try index.bytes(at: inner * 16, count: 16)
        let offset = pair.span.bytesView.load(littleEndian: UInt64.self, at: 0)
        let size = pair.span.bytesView.load(littleEndian: UInt64.self, at: 8)
        if offset == .max, size == .max { return nil }
        guard offset <= extent.byteCount, size <= extent.byteCount - offset else {
            throw failure("its shard's index leads out of the shard", extent)
        }
        return Extent(source: extent.source, offset: extent.offset + offset, byteCount: size)
    }

    /// The elements of a chunk as they stand in its row-major order.
    private func decoded(_ extent: Extent, _ index: UInt64) throws(IOError) -> any ByteSource {
        try cache.entry(ChunkCache.Key(array: number, chunk: index)) { () throws(IOError) in
            var extent = extent
            if array.hasChecksum { extent = try checked(extent) }
            let (source, cost) = try decompressed(extent)
            guard array.isColumnMajor, array.chunkShape.count > 1 else { return (source, cost) }
            return (transposed(source), cost)
        }
    }

    private func checked(_ extent: Extent) throws(IOError) -> Extent {
        guard extent.byteCount >= 4 else { throw failure("it is too short for its checksum", extent) }
        let end = extent.offset + extent.byteCount - 4
        let footer = try extent.source.bytes(at: end, count: 4)
        let stated = footer.span.bytesView.load(littleEndian: UInt32.self, at: 0)
        guard try CRC32C.value(of: extent.offset..<end, in: extent.source) == stated else {
            throw failure("its CRC-32C does not match", extent)
        }
        return Extent(source: extent.source, offset: extent.offset, byteCount: extent.byteCount - 4)
    }

    private func decompressed(_ extent: Extent) throws(IOError) -> (source: any ByteSource, cost: Int) {
        let size = array.chunkShape.reduce(UInt64(array.dtype.byteWidth ?? 1), *)
        guard let compression = array.compression else {
            guard extent.byteCount == size else {
                throw failure("it has \(extent.byteCount) bytes in place of \(size)", extent)
            }
            return (ExpressionBytes(name: extent.source.name, source: .extent(extent)), 0)
        }
        let range = extent.offset..<extent.offset + extent.byteCount
        if size > Self.wholeLimit {
            let source = DecompressedSource(
                name: extent.source.name, of: extent.source, range: range, compression: compression,
                byteCount: size, window: Self.window)
            return (PatientSource(source), Self.window + (3 << 20))
        }
        let bytes = try DecompressedSource.contents(
            of: extent.source, range: range, compression: compression, limit: Int(size))
        guard let bytes, bytes.count == Int(size) else {
            throw failure("it does not hold \(size) bytes", extent)
        }
        return (MemorySource(name: extent.source.name, contents: bytes), bytes.count)
    }

    /// The row-major order of a chunk that is stored column by column.
    private func transposed(_ source: any ByteSource) -> any ByteSource {
        let bytes = TensorSource.extent(Extent(source: source, offset: 0, byteCount: source.byteCount))
        let expression = try? TensorExpression(
            dtype: array.dtype, shape: array.chunkShape.reversed(), source: bytes)
        let view = try? expression?.permuted(Array(array.chunkShape.indices.reversed()))
        return ExpressionBytes(name: source.name, source: view?.source ?? bytes)
    }
}

/// What a tensor's source gives, as a source of bytes.
private struct ExpressionBytes: ByteSource {
    let name: String
    let source: TensorSource
    var byteCount: UInt64 { source.byteCount }

    func read(at offset: UInt64, into buffer: inout MutableRawSpan) throws(IOError) {
        try source.read(at: offset, into: &buffer)
    }
}
