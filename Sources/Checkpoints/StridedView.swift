/// Elements picked from a storage: element `[i, j, …]` is `storage[elementOffset + i·strides[0] + j·strides[1] + …]`.
///
/// Strides count elements and may be zero (a dimension that repeats), never negative. Every index must be known
/// to lie within the storage before a view is made, and the size of the result to be below 2^63 bytes.
public struct StridedView: Sendable {
    /// The storage.
    public var storage: TensorSource
    /// Bytes an element takes.
    public var elementByteCount: Int
    /// The element of the storage at index `[0, 0, …]`.
    public var elementOffset: UInt64
    /// The dimensions, outermost first.
    public var shape: [UInt64]
    /// The elements of storage between neighbours in each dimension.
    public var strides: [UInt64]

    /// Makes a view.
    public init(
        storage: TensorSource, elementByteCount: Int, elementOffset: UInt64, shape: [UInt64],
        strides: [UInt64]
    ) {
        self.storage = storage
        self.elementByteCount = elementByteCount
        self.elementOffset = elementOffset
        self.shape = shape
        self.strides = strides
    }

    /// A view of a whole storage that is a contiguous tensor already.
    init(contiguous storage: TensorSource, elementByteCount: Int, shape: [UInt64]) {
        self.init(
            storage: storage, elementByteCount: elementByteCount, elementOffset: 0, shape: shape,
            strides: Self.contiguousStrides(of: shape))
    }

    /// The size of the contiguous result, in bytes.
    public var byteCount: UInt64 {
        shape.contains(0) ? 0 : shape.reduce(UInt64(elementByteCount), *)
    }

    /// A source for the view of an extent: an extent where the elements already stand in row-major order, else
    /// the view.
    public static func source(
        storage: Extent, elementByteCount: Int, elementOffset: UInt64, shape: [UInt64], strides: [UInt64]
    ) -> TensorSource {
        if shape.contains(0) {
            return .extent(Extent(source: storage.source, offset: storage.offset, byteCount: 0))
        }
        return StridedView(
            storage: .extent(storage), elementByteCount: elementByteCount, elementOffset: elementOffset,
            shape: shape, strides: strides
        ).source
    }

    /// The simplest source for the view: a part of the storage where the elements already stand in row-major
    /// order, else the view.
    var source: TensorSource {
        if shape.contains(0) { return .empty }
        var expected: UInt64 = 1
        for (dimension, stride) in zip(shape, strides).reversed() where dimension != 1 {
            if stride != expected { return .strided(self) }
            expected *= dimension
        }
        let start = elementOffset * UInt64(elementByteCount)
        return storage.part(start..<start + byteCount)
    }

    /// The strides of a tensor without gaps; of no meaning where it has no elements.
    static func contiguousStrides(of shape: [UInt64]) -> [UInt64] {
        var strides = [UInt64](repeating: 1, count: shape.count)
        for index in shape.indices.dropLast().reversed() {
            strides[index] = strides[index + 1] &* shape[index + 1]
        }
        return strides
    }

    /// The storage, or the part of it between the first element and the last where that is no more than a part;
    /// nil where there are no elements.
    var usedStorage: TensorSource? {
        if shape.contains(0) { return nil }
        let width = UInt64(elementByteCount)
        let last = zip(shape, strides).reduce(elementOffset) { $0 + ($1.0 - 1) * $1.1 }
        return storage.simplePart(elementOffset * width..<(last + 1) * width) ?? storage
    }

    /// The same elements in another shape of as many, or nil where no strides lead to them.
    func reshaped(to newShape: [UInt64]) -> StridedView? {
        var result = self
        result.shape = newShape
        if shape.contains(0) {
            result.strides = Self.contiguousStrides(of: newShape)
            return result
        }
        result.strides = [UInt64](repeating: 0, count: newShape.count)
        var axes = Self.coalesced(shape: shape, strides: strides)
        var room: UInt64 = 1
        for index in newShape.indices.reversed() where newShape[index] != 1 {
            // Dimensions are cut from the end of the innermost axis that is left; none may span two.
            if room == 1 {
                guard let axis = axes.popLast() else { return nil }
                axes.append(axis)
                room = UInt64(axis.count)
            }
            guard room % newShape[index] == 0, let axis = axes.last else { return nil }
            result.strides[index] = UInt64(axis.stride) * (UInt64(axis.count) / room)
            room /= newShape[index]
            if room == 1 { axes.removeLast() }
        }
        return result
    }

    /// The same bytes as elements of `width`, a part of the present width, along one more dimension.
    func split(into width: Int) -> StridedView {
        let ratio = UInt64(elementByteCount / width)
        return StridedView(
            storage: storage, elementByteCount: width, elementOffset: elementOffset * ratio,
            // Strides of dimensions of one index may be anything.
            shape: shape + [ratio], strides: strides.map { $0 &* ratio } + [1])
    }

    /// A dimension of what is walked.
    struct Axis {
        var count: Int
        var stride: Int
    }

    /// The axes that are walked, outermost first: without those of one index, and with neighbours that are
    /// walked like one as one.
    static func coalesced(shape: [UInt64], strides: [UInt64]) -> [Axis] {
        var axes: [Axis] = []
        for (dimension, stride) in zip(shape, strides) where dimension != 1 {
            let axis = Axis(count: Int(dimension), stride: Int(stride))
            if let last = axes.last, last.stride == axis.stride * axis.count {
                axes[axes.count - 1] = Axis(count: last.count * axis.count, stride: axis.stride)
            } else {
                axes.append(axis)
            }
        }
        return axes
    }
}
