public import TensorCore

/// How a tensor's bytes come about: an expression over ranges of bytes, evaluated piece by piece.
///
/// The result is always contiguous, row-major and little-endian. Expressions with shapes are built with
/// ``TensorExpression``, which keeps them simple.
public indirect enum TensorSource: Sendable {
    /// Bytes as they stand in a source.
    case extent(Extent)
    /// Elements picked from another source by strides.
    case strided(StridedView)
    /// Tensors one after another along an axis.
    case concatenated(Concatenation)
    /// The elements of another source, converted from one dtype to another.
    case cast(TensorSource, from: DType, to: DType, overflow: Overflow)
    /// The elements of another source, each with its `width` bytes reversed.
    case byteSwapped(TensorSource, width: Int)
    /// The elements of another source with the top bit of byte `byte` of every `every` bytes flipped: the sign
    /// of each number, or of each imaginary part.
    case signFlipped(TensorSource, byte: Int, every: Int)
    /// A few bytes (at least one) over and over.
    case filled(pattern: [UInt8], byteCount: UInt64)
    /// A matrix plus a multiple of the product of two others.
    case lowRank(LowRankUpdate)
    /// Numbers times the scales of their blocks.
    case blockDequantised(BlockDequantisation)
    /// Bytes that are computed by a rule of their own.
    case computed(any ComputedTensor)
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

    /// Both as one, where the other begins in the same source right after this one.
    func joined(with next: Extent) -> Extent? {
        guard offset + byteCount == next.offset, source.isSame(as: next.source) else { return nil }
        return Extent(source: source, offset: offset, byteCount: byteCount + next.byteCount)
    }
}

extension ByteSource {
    /// Whether both are one object; values in memory are never taken for the same.
    fileprivate func isSame(as other: any ByteSource) -> Bool {
        guard type(of: self) is AnyObject.Type else { return false }
        return (self as AnyObject) === (other as AnyObject)
    }
}

extension TensorSource {
    /// Nothing.
    static var empty: TensorSource { .filled(pattern: [0], byteCount: 0) }

    /// The size of the result, in bytes.
    public var byteCount: UInt64 {
        switch self {
        case .extent(let extent): extent.byteCount
        case .strided(let view): view.byteCount
        case .concatenated(let node): node.byteCount
        case .cast(let inner, let from, let to, _):
            inner.byteCount / UInt64(from.groupByteCount) * UInt64(from.groupElementCount)
                / UInt64(to.groupElementCount) * UInt64(to.groupByteCount)
        case .byteSwapped(let inner, _), .signFlipped(let inner, _, _): inner.byteCount
        case .filled(_, let byteCount): byteCount
        case .lowRank(let node): node.byteCount
        case .blockDequantised(let node): node.byteCount
        case .computed(let node): node.byteCount
        }
    }

    /// The range of stored bytes where the result stands unchanged, or nil where it is computed.
    public var extent: Extent? {
        if case .extent(let extent) = self { extent } else { nil }
    }

    /// Calls `body` with each range of stored bytes that the result depends on, in the order of the expression.
    ///
    /// Between the first and the last byte of a range there may be some that do not matter.
    public func forEachExtent(_ body: (Extent) -> Void) {
        switch self {
        case .extent(let extent): if extent.byteCount > 0 { body(extent) }
        case .strided(let view): view.usedStorage?.forEachExtent(body)
        case .concatenated(let node): for part in node.parts { part.source.forEachExtent(body) }
        case .cast(let inner, _, _, _), .byteSwapped(let inner, _), .signFlipped(let inner, _, _):
            inner.forEachExtent(body)
        case .filled: break
        case .lowRank(let node): for part in [node.base, node.b, node.a] { part.source.forEachExtent(body) }
        case .blockDequantised(let node):
            for part in [node.values, node.scales] { part.source.forEachExtent(body) }
        case .computed(let node): for input in node.inputs { input.forEachExtent(body) }
        }
    }

    /// The ranges of stored bytes that the result depends on.
    public var extents: [Extent] {
        var result: [Extent] = []
        forEachExtent { result.append($0) }
        return result
    }

    /// The source that the first bytes depend on, and the first byte of the tensor or of its storage in it; nil
    /// where nothing is stored.
    public var location: (source: any ByteSource, offset: UInt64)? {
        switch self {
        case .extent(let extent): (extent.source, extent.offset)
        case .strided(let view): view.storage.location
        case .cast(let inner, _, _, _), .byteSwapped(let inner, _), .signFlipped(let inner, _, _):
            inner.location
        case .concatenated, .filled, .lowRank, .blockDequantised, .computed:
            extents.first.map { ($0.source, $0.offset) }
        }
    }

    /// What makes two sources the same bytes: where they are stored and how they are picked.
    public struct Identity: Sendable, Hashable {
        let path: String
        let offset: UInt64
        let shape: [UInt64]
        let strides: [UInt64]
        /// What it is put together from.
        var parts: [Identity] = []

        /// Whether it is bytes as they stand.
        fileprivate var isPlain: Bool { strides.isEmpty && parts.isEmpty }
    }

    /// The identity, or nil for computed sources.
    var identity: Identity? {
        switch self {
        case .extent(let extent):
            Identity(path: extent.source.name, offset: extent.offset, shape: [extent.byteCount], strides: [])
        case .strided(let view):
            view.storage.identity.map { storage in
                Identity(
                    path: storage.path,
                    offset: storage.offset + view.elementOffset * UInt64(view.elementByteCount),
                    shape: view.shape, strides: view.strides,
                    // What is more than bytes as they stand counts too.
                    parts: storage.isPlain ? [] : [storage])
            }
        case .byteSwapped(let inner, _): inner.identity
        case .concatenated(let node): node.identity
        case .cast, .signFlipped, .filled, .lowRank, .blockDequantised, .computed: nil
        }
    }

    /// The bytes in `range` of the result as a source of its own.
    ///
    /// The range must not split an element.
    func part(_ range: Range<UInt64>) -> TensorSource {
        if let part = simplePart(range) { return part }
        let count = range.upperBound - range.lowerBound
        return .strided(
            StridedView(
                storage: self, elementByteCount: 1, elementOffset: range.lowerBound, shape: [count],
                strides: [1]))
    }

    /// The same where that takes no node more than there are, else nil.
    func simplePart(_ range: Range<UInt64>) -> TensorSource? {
        if range.isEmpty { return .empty }
        if range == 0..<byteCount { return self }
        let count = range.upperBound - range.lowerBound
        switch self {
        case .extent(let extent):
            return .extent(
                Extent(source: extent.source, offset: extent.offset + range.lowerBound, byteCount: count))
        case .byteSwapped(let inner, let width):
            return inner.simplePart(range).map { .byteSwapped($0, width: width) }
        case .signFlipped(let inner, let byte, let step) where range.isMultiple(of: step):
            return inner.simplePart(range).map { .signFlipped($0, byte: byte, every: step) }
        case .filled(let pattern, _) where range.isMultiple(of: pattern.count):
            return .filled(pattern: pattern, byteCount: count)
        case .cast(let inner, let from, let to, let overflow) where range.isMultiple(of: granularity):
            let elements = UInt64(max(from.groupElementCount, to.groupElementCount))
            let bytes = elements / UInt64(from.groupElementCount) * UInt64(from.groupByteCount)
            let unit = UInt64(granularity)
            let stored = range.lowerBound / unit * bytes..<range.upperBound / unit * bytes
            return inner.simplePart(stored).map { .cast($0, from: from, to: to, overflow: overflow) }
        default: return nil
        }
    }
}

extension Range<UInt64> {
    func isMultiple(of unit: Int) -> Bool {
        lowerBound.isMultiple(of: UInt64(unit)) && upperBound.isMultiple(of: UInt64(unit))
    }
}

extension DType {
    /// The elements of the smallest group that fills whole bytes.
    var groupElementCount: Int {
        switch bitWidth {
        case 4: 2
        case 6: 4
        default: 1
        }
    }

    /// The bytes of that group.
    var groupByteCount: Int { groupElementCount * bitWidth / 8 }
}
