public import TensorCore

/// How a tensor's bytes come about: an expression over ranges of bytes, evaluated piece by piece.
///
/// The result is always contiguous, row-major and little-endian.
public indirect enum TensorSource: Sendable {
    /// Bytes as they stand in a source.
    case extent(Extent)
    /// Elements picked from a storage by strides.
    case strided(StridedView)
    /// The elements of another source, converted from one floating dtype to another.
    case cast(TensorSource, from: DType, to: DType)
    /// The elements of another source, each with its `width` bytes reversed.
    case byteSwapped(TensorSource, width: Int)
    /// The elements of another source with the top bit of byte `byte` of every `every` bytes flipped: the sign
    /// of each number, or of each imaginary part.
    case signFlipped(TensorSource, byte: Int, every: Int)
}

/// A range of bytes of a source.
public struct Extent: Sendable {
    /// Where the bytes are.
    public var source: any ByteSource
    /// The first byte.
    public var offset: UInt64
    /// The number of bytes.
    public var byteCount: UInt64

    /// Makes an extent; it must lie within the source.
    public init(source: any ByteSource, offset: UInt64, byteCount: UInt64) {
        self.source = source
        self.offset = offset
        self.byteCount = byteCount
    }
}

extension TensorSource {
    /// The size of the result, in bytes.
    public var byteCount: UInt64 {
        switch self {
        case .extent(let extent): extent.byteCount
        case .strided(let view): view.byteCount
        case .cast(let inner, let from, let to):
            inner.byteCount / UInt64(from.byteWidth ?? 1) * UInt64(to.byteWidth ?? 1)
        case .byteSwapped(let inner, _), .signFlipped(let inner, _, _): inner.byteCount
        }
    }

    /// The range of stored bytes where the result stands unchanged, or nil where it is computed.
    public var extent: Extent? {
        if case .extent(let extent) = self { extent } else { nil }
    }

    /// Fills `buffer` with the result's bytes from `offset`.
    ///
    /// Takes time and memory for the piece asked for, whatever the size of the tensor. Offsets and counts must
    /// not split an element of a computed source.
    public func read(at offset: UInt64, into buffer: inout MutableRawSpan) throws(IOError) {
        switch self {
        case .extent(let extent): try extent.source.read(at: extent.offset + offset, into: &buffer)
        case .strided(let view): try view.read(at: offset, into: &buffer)
        case .cast(let inner, let from, let to):
            try Self.readCast(inner, from: from, to: to, at: offset, into: &buffer)
        case .byteSwapped(let inner, let width):
            try inner.read(at: offset, into: &buffer)
            reverseBytes(of: &buffer, width: width)
        case .signFlipped(let inner, let byte, let step):
            try inner.read(at: offset, into: &buffer)
            for index in stride(from: byte, to: buffer.byteCount, by: step) {
                buffer.storeBytes(of: buffer.bytes[index] ^ 0x80, toByteOffset: index, as: UInt8.self)
            }
        }
    }

    /// Converts in blocks that stay in the processor's cache.
    private static func readCast(
        _ inner: TensorSource, from: DType, to: DType, at offset: UInt64, into buffer: inout MutableRawSpan
    ) throws(IOError) {
        let inWidth = from.byteWidth ?? 1
        let outWidth = to.byteWidth ?? 1
        // A gather wants large pieces, so that neighbours in the storage are fetched together.
        let blockElements = min(inner.extent == nil ? 1 << 19 : 8192, max(1, buffer.byteCount / outWidth))
        let scratch = PageBuffer(capacity: blockElements * inWidth)
        var done = 0
        let total = buffer.byteCount / outWidth
        let first = offset / UInt64(outWidth)
        while done < total {
            let count = min(blockElements, total - done)
            let start = (first + UInt64(done)) * UInt64(inWidth)
            try scratch.withMutableBytes(count: count * inWidth) { (bytes) throws(IOError) in
                try inner.read(at: start, into: &bytes)
            }
            var target = buffer._mutatingExtracting(done * outWidth..<(done + count) * outWidth)
            scratch.withBytes(count: count * inWidth) { bytes in
                ElementCast.convert(bytes, from: from, to: to, into: &target)
            }
            done += count
        }
    }

    /// What makes two sources the same bytes: where they are stored and how they are picked.
    public struct Identity: Sendable, Hashable {
        let path: String
        let offset: UInt64
        let shape: [UInt64]
        let strides: [UInt64]
    }

    /// The identity, or nil for computed sources.
    var identity: Identity? {
        switch self {
        case .extent(let extent):
            Identity(path: extent.source.name, offset: extent.offset, shape: [extent.byteCount], strides: [])
        case .strided(let view):
            Identity(
                path: view.storage.source.name,
                offset: view.storage.offset + view.elementOffset * UInt64(view.elementByteCount),
                shape: view.shape, strides: view.strides)
        case .byteSwapped(let inner, _): inner.identity
        case .cast, .signFlipped: nil
        }
    }
}

/// Reverses each group of `width` bytes.
private func reverseBytes(of buffer: inout MutableRawSpan, width: Int) {
    guard width > 1 else { return }
    for start in stride(from: 0, to: buffer.byteCount - width + 1, by: width) {
        for index in 0..<width / 2 {
            let low = start + index
            let high = start + width - 1 - index
            let a = buffer.bytes[low]
            let b = buffer.bytes[high]
            buffer.storeBytes(of: b, toByteOffset: low, as: UInt8.self)
            buffer.storeBytes(of: a, toByteOffset: high, as: UInt8.self)
        }
    }
}

extension TensorSource {
    /// The source that the bytes come from, and the first byte of the tensor or of its storage in it.
    public var location: (source: any ByteSource, offset: UInt64) {
        switch self {
        case .extent(let extent): (extent.source, extent.offset)
        case .strided(let view): (view.storage.source, view.storage.offset)
        case .cast(let inner, _, _), .byteSwapped(let inner, _), .signFlipped(let inner, _, _): inner.location
        }
    }
}
