public import TensorCore

/// Numbers times the scales that blocks of them share.
///
/// Each product is made in `Float` and rounded to the result's dtype.
public struct BlockDequantisation: Sendable {
    /// The numbers.
    public let values: TensorExpression
    /// A scale for each block, in as many dimensions.
    public let scales: TensorExpression
    /// The elements of a block along each axis; the last block may have fewer.
    public let block: [UInt64]
    /// Where in its first block the tensor begins, along each axis.
    public let origin: [UInt64]
    /// The dtype of the result, one of whole bytes.
    public internal(set) var dtype: DType

    /// The dimensions of the result.
    public var shape: [UInt64] { values.shape }

    /// The size of the result, in bytes.
    public var byteCount: UInt64 { shape.reduce(UInt64(dtype.groupByteCount), *) }

    func sliced(_ ranges: [Range<UInt64>]) throws(ExpressionError) -> BlockDequantisation {
        var blocks: [Range<UInt64>] = []
        var starts: [UInt64] = []
        for (axis, range) in ranges.enumerated() {
            let (low, high) = (range.lowerBound + origin[axis], range.upperBound + origin[axis])
            blocks.append(low / block[axis]..<(high - 1) / block[axis] + 1)
            starts.append(low % block[axis])
        }
        return BlockDequantisation(
            values: try values.sliced(ranges), scales: try scales.sliced(blocks), block: block,
            origin: starts, dtype: dtype)
    }

    func permuted(_ order: [Int]) throws(ExpressionError) -> BlockDequantisation {
        BlockDequantisation(
            values: try values.permuted(order), scales: try scales.permuted(order),
            block: order.map { block[$0] }, origin: order.map { origin[$0] }, dtype: dtype)
    }
}

extension TensorExpression {
    /// The numbers of `values`, each times the scale of its block.
    ///
    /// - Parameters:
    ///   - values: the numbers, of any real dtype.
    ///   - scales: as many dimensions, along each one scale for every block; the last block may be cut short.
    ///   - block: the elements of a block along each axis, at least one.
    ///   - dtype: the floating dtype of the result.
    public static func blockDequantised(
        _ values: TensorExpression, scales: TensorExpression, block: [UInt64], dtype: DType
    ) throws(ExpressionError) -> TensorExpression {
        guard !block.contains(0), block.count == values.shape.count,
            scales.shape == zip(values.shape, block).map({ $0 / $1 + ($0 % $1 == 0 ? 0 : 1) })
        else {
            throw ExpressionError(
                "scales of shape \(scales.shape) are not one for each block \(block) of shape \(values.shape)"
            )
        }
        guard values.isReal, scales.isReal, dtype.isFloat, dtype.byteWidth != nil else {
            throw ExpressionError(
                "\(values.dtype.name) and scales of \(scales.dtype.name) do not make \(dtype.name)")
        }
        guard try byteCount(dtype, values.shape) > 0 else {
            return TensorExpression(dtype, values.shape, .empty)
        }
        // A block longer than the axis is the axis.
        let block = zip(block, values.shape).map { min($0, $1) }
        return TensorExpression(
            dtype, values.shape,
            .blockDequantised(
                BlockDequantisation(
                    values: values, scales: scales, block: block, origin: block.map { _ in 0 }, dtype: dtype))
        )
    }
}

// MARK: - Reading

extension BlockDequantisation {
    /// The elements that are computed at once.
    private static var pieceCount: Int { 1 << 16 }
    /// The scales that are held at once.
    private static var scaleCount: Int { 1 << 17 }

    /// Fills `buffer` with the result's bytes from `offset`; both are whole numbers of elements.
    func read(at offset: UInt64, into buffer: inout MutableRawSpan) throws(IOError) {
        let width = dtype.groupByteCount
        let first = Int(offset) / width
        let total = buffer.byteCount / width
        let rows = BlockRows(self)
        let most = min(total, max(Self.pieceCount, min(1 << 20, values.source.blockByteCount)))
        for start in stride(from: 0, to: total, by: most) {
            let count = min(most, total - start)
            var floats = try values.values(first + start..<first + start + count)
            try multiply(&floats, rows, first + start..<first + start + count)
            var target = buffer._mutatingExtracting(start * width..<(start + count) * width)
            ElementCast.convert(floats.span.bytesView, from: .f32, to: dtype, into: &target)
        }
    }

    /// Multiplies the elements of `range`, in row-major order, by their scales.
    private func multiply(_ floats: inout [Float], _ rows: BlockRows, _ range: Range<Int>) throws(IOError) {
        var first = range.lowerBound
        while first < range.upperBound {
            // As many rows as have their scales near each other.
            let run = rows.run(from: first, to: range.upperBound, limit: Self.scaleCount)
            let scales = try scales.values(run.scales)
            for part in run.parts {
                var span = floats.mutableSpan
                var target = span._mutatingExtracting(
                    part.elements.lowerBound - range.lowerBound..<part.elements.upperBound - range.lowerBound)
                BlockScale.apply(
                    scales.span.extracting(droppingFirst: part.firstScale - run.scales.lowerBound),
                    to: &target,
                    blockLength: rows.blockLength, phase: part.phase)
            }
            first = run.end
        }
    }
}

/// Which scales belong to which elements, row by row of the last axis.
private struct BlockRows {
    /// The length of a row, and of a block in it.
    let length: Int
    let blockLength: Int
    /// How many elements of the first block come before a row.
    private let origin: Int
    /// The axes but the last, and what one block along each is in scales.
    private let outer: [(count: Int, block: Int, origin: Int, scaleStride: Int)]

    /// Elements of one row, the scale of the first, and how many elements of its block come before it.
    struct Part {
        var elements: Range<Int>
        var firstScale: Int
        var phase: Int
    }

    init(_ node: BlockDequantisation) {
        let last = node.shape.count - 1
        length = last < 0 ? 1 : Int(node.shape[last])
        blockLength = last < 0 ? 1 : Int(node.block[last])
        origin = last < 0 ? 0 : Int(node.origin[last])
        let strides = StridedView.contiguousStrides(of: node.scales.shape)
        outer = (0..<max(0, last)).map {
            (Int(node.shape[$0]), Int(node.block[$0]), Int(node.origin[$0]), Int(strides[$0]))
        }
    }

    /// The part of a range of elements that lies in the row of its first one.
    private func part(from first: Int, to end: Int) -> Part {
        let row = first / length
        var rest = row
        var scale = 0
        for axis in outer.reversed() {
            scale += (rest % axis.count + axis.origin) / axis.block * axis.scaleStride
            rest /= axis.count
        }
        let column = first - row * length + origin
        return Part(
            elements: first..<min(end, (row + 1) * length), firstScale: scale + column / blockLength,
            phase: column % blockLength)
    }

    /// The longest run of rows from `first` whose scales lie within `limit` of each other; at least one row, or
    /// as much of it as has no more scales.
    func run(from first: Int, to end: Int, limit: Int) -> (scales: Range<Int>, parts: [Part], end: Int) {
        var parts: [Part] = []
        var scales = 0..<0
        var position = first
        while position < end {
            var part = part(from: position, to: end)
            let room = (limit * blockLength - part.phase)
            if parts.isEmpty, part.elements.count > room {
                part.elements = part.elements.lowerBound..<part.elements.lowerBound + room
            }
            let needed = (part.phase + part.elements.count - 1) / blockLength + 1
            let own = part.firstScale..<part.firstScale + needed
            let all =
                parts.isEmpty
                ? own : min(scales.lowerBound, own.lowerBound)..<max(scales.upperBound, own.upperBound)
            if !parts.isEmpty, all.count > limit { break }
            scales = all
            parts.append(part)
            position = part.elements.upperBound
        }
        return (scales, parts, position)
    }
}
