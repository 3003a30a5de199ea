public import TensorCore

/// What to take of one axis of a tensor, with NumPy's rules.
public enum AxisSelection: Sendable, Hashable {
    /// One index; the axis disappears. Negative ones count from the end.
    case index(Int)
    /// `start:stop:step`. Negative ends count from the end, ends beyond the axis are moved to its ends, a missing
    /// end is the axis's own, and a negative step goes backwards.
    case range(from: Int? = nil, to: Int? = nil, by: Int = 1)
    /// `...`: as many whole axes as the other selections leave; at most once.
    case ellipsis
    /// `newaxis`: a dimension of one that the tensor has not.
    case newAxis

    /// `:`, the whole axis.
    public static let all = AxisSelection.range()
}

/// Part of a tensor: the shape of the result and the bytes that hold it.
///
/// Made from dtype and shape alone, it reads nothing. Elements of F4 and F6 count one by one, wherever in a byte
/// they begin. Takes time and memory in proportion to the number of axes.
public struct TensorSelection: Sendable, Hashable {
    /// The dtype of the tensor.
    public let dtype: DType
    /// The dimensions of the result, outermost first; empty for a single element.
    public let shape: [UInt64]
    /// The first element of the result, counted in the tensor.
    let start: Int
    /// The axes of the result that are walked, outermost first, neighbours joined where they follow each other in
    /// the tensor: how often, and how many elements further each time.
    let axes: [Axis]

    struct Axis: Sendable, Hashable {
        var count: Int
        var stride: Int
    }

    /// Selects part of a tensor.
    ///
    /// - Parameters:
    ///   - selections: one for each axis from the outermost on; the axes without one are taken whole.
    ///   - dtype: the dtype of the tensor.
    ///   - shape: its dimensions.
    /// - Throws: ``SafeTensorsError/Code/outOfRange`` where an index is beyond its axis,
    ///   ``SafeTensorsError/Code/tooManyIndices`` where there are more selections than axes,
    ///   ``SafeTensorsError/Code/badSelection`` where a step is zero or there are two ellipses, and
    ///   ``SafeTensorsError/Code/sizeOverflow`` where the tensor has more elements than can be counted.
    public init(
        _ selections: [AxisSelection], of dtype: DType, shape: [UInt64]
    ) throws(SafeTensorsError) {
        let strides = try Self.strides(of: shape)
        let expanded = try Self.expand(selections, rank: shape.count)
        var result: [UInt64] = []
        var axes: [Axis] = []
        var start = 0
        var number = 0
        for selection in expanded {
            if case .newAxis = selection {
                result.append(1)
                continue
            }
            let (first, axis) = try Self.resolve(selection, axis: number, of: shape[number])
            // No overflow: within the tensor's elements, which are countable.
            start += axis?.count == 0 ? 0 : first * strides[number]
            if let axis {
                result.append(UInt64(axis.count))
                axes.append(
                    Axis(count: axis.count, stride: axis.count < 2 ? 0 : axis.stride * strides[number]))
            }
            number += 1
        }
        self.dtype = dtype
        self.shape = result
        self.start = axes.contains { $0.count == 0 } ? 0 : start
        self.axes = Self.joined(axes)
    }

    /// The number of elements of the result.
    public var elementCount: Int { axes.reduce(1) { $0 * $1.count } }

    /// The size of the result in bytes; the last byte of an F4 or F6 result may be filled up with zeros.
    public var byteCount: Int { (elementCount * dtype.bitWidth + 7) / 8 }

    /// The bytes of the tensor that are the result as they stand, or nil where they must be gathered.
    public var contiguousBytes: Range<Int>? {
        if elementCount == 0 { return 0..<0 }
        guard axes.isEmpty || (axes.count == 1 && axes[0].stride == 1) else { return nil }
        let bits = start * dtype.bitWidth
        guard bits % 8 == 0, elementCount * dtype.bitWidth % 8 == 0 else { return nil }
        return bits / 8..<bits / 8 + byteCount
    }
}

extension TensorSelection {
    /// How many elements further the next index of each axis is.
    private static func strides(of shape: [UInt64]) throws(SafeTensorsError) -> [Int] {
        // With a zero among them the strides of the others do not matter, but must not overflow.
        guard !shape.contains(0) else { return shape.map { _ in 0 } }
        guard let count = DType.elementCount(of: shape), count <= UInt64(Int.max / 64) else {
            throw SafeTensorsError(.sizeOverflow, "the tensor has more elements than can be selected from")
        }
        var stride = 1
        return shape.reversed().map { dimension in
            defer { stride *= Int(dimension) }
            return stride
        }.reversed()
    }

    /// The selections with the ellipsis and what is missing at the end written out.
    private static func expand(
        _ selections: [AxisSelection], rank: Int
    ) throws(SafeTensorsError) -> [AxisSelection] {
        let used = selections.count { $0 != .ellipsis && $0 != .newAxis }
        guard selections.count(where: { $0 == .ellipsis }) <= 1 else {
            throw SafeTensorsError(.badSelection, "a selection may have one ellipsis, not more")
        }
        guard used <= rank else {
            throw SafeTensorsError(.tooManyIndices, "\(used) indices for a tensor of \(rank) axes")
        }
        let rest = [AxisSelection](repeating: .all, count: rank - used)
        guard let ellipsis = selections.firstIndex(of: .ellipsis) else { return selections + rest }
        return selections[..<ellipsis] + rest + selections[(ellipsis + 1)...]
    }

    /// The first index that is taken and, unless the axis disappears, how the others follow.
    private static func resolve(
        _ selection: AxisSelection, axis: Int, of dimension: UInt64
    ) throws(SafeTensorsError) -> (first: Int, axis: Axis?) {
        guard let size = Int(exactly: dimension) else {
            throw SafeTensorsError(.sizeOverflow, "axis \(axis) has more elements than can be counted")
        }
        switch selection {
        case .index(let index):
            let position = index < 0 ? index + size : index
            guard position >= 0, position < size else {
                throw SafeTensorsError(
                    .outOfRange, "index \(index) is out of range for axis \(axis) with size \(size)")
            }
            return (position, nil)
        case .range(let from, let to, let step):
            guard step != 0 else { throw SafeTensorsError(.badSelection, "the step of axis \(axis) is zero") }
            let (first, count) = steps(from: from, to: to, by: step, size: size)
            return (first, Axis(count: count, stride: count < 2 ? 0 : step))
        case .ellipsis, .newAxis: return (0, nil)
        }
    }

    /// The first index and the number of indices of a range, as Python's `slice.indices` has them.
    private static func steps(from: Int?, to: Int?, by step: Int, size: Int) -> (first: Int, count: Int) {
        // Going backwards the ends are one lower: the last index, and the place before the first.
        let lower = step < 0 ? -1 : 0
        let upper = step < 0 ? size - 1 : size
        func placed(_ end: Int) -> Int {
            let position = end < 0 ? end + size : end
            return min(max(position, lower), upper)
        }
        let first = from.map(placed) ?? (step < 0 ? upper : lower)
        let end = to.map(placed) ?? (step < 0 ? lower : upper)
        let distance = step < 0 ? first - end : end - first
        guard distance > 0 else { return (0, 0) }
        // The magnitude of the least integer does not fit, so it is taken as unsigned.
        return (first, Int((UInt(distance) - 1) / step.magnitude) + 1)
    }

    /// The axes without those of one index, and with neighbours joined where the outer one goes on where the
    /// inner one ends.
    private static func joined(_ axes: [Axis]) -> [Axis] {
        if axes.contains(where: { $0.count == 0 }) { return [Axis(count: 0, stride: 0)] }
        var result: [Axis] = []
        for axis in axes where axis.count != 1 {
            if let outer = result.last, outer.stride == axis.count * axis.stride {
                result[result.count - 1] = Axis(count: outer.count * axis.count, stride: axis.stride)
            } else {
                result.append(axis)
            }
        }
        return result
    }
}
