internal import Checkpoints
internal import TensorCore

/// The difference of two matrices, seen in blocks of rows; neither is ever in memory as a whole.
struct DifferenceMatrix: Sendable {
    let rows: Int
    let columns: Int
    private let tuned: TensorExpression
    private let base: TensorExpression

    /// The elements of a block.
    private static let blockCount = 1 << 20

    /// - Parameters:
    ///   - tuned: a matrix.
    ///   - base: one of the same shape; both of real numbers.
    init(_ tuned: TensorExpression, less base: TensorExpression) throws(ExpressionError) {
        guard tuned.shape == base.shape, tuned.shape.count == 2, tuned.byteCount > 0 else {
            throw ExpressionError(
                "shapes \(tuned.shape) and \(base.shape) are not those of two like matrices")
        }
        self.tuned = try tuned.cast(to: .f32)
        self.base = try base.cast(to: .f32)
        rows = Int(tuned.shape[0])
        columns = Int(tuned.shape[1])
    }

    /// Calls `body` with each block: its rows and its elements, row by row, until it returns false.
    func forEachBlock(_ body: (Range<Int>, Span<Float>) -> Bool) throws(IOError) {
        let step = max(1, Self.blockCount / columns)
        for first in stride(from: 0, to: rows, by: step) {
            let range = first..<min(rows, first + step)
            var values = try Self.values(tuned, range.lowerBound * columns..<range.upperBound * columns)
            let other = try Self.values(base, range.lowerBound * columns..<range.upperBound * columns)
            var span = values.mutableSpan
            LowRank.add(other.span, times: -1, to: &span)
            guard body(range, values.span) else { return }
        }
    }

    private static func values(_ matrix: TensorExpression, _ range: Range<Int>) throws(IOError) -> [Float] {
        try [Float](count: range.count) { (bytes) throws(IOError) in
            try matrix.source.read(at: UInt64(range.lowerBound) * 4, into: &bytes)
        }
    }

    /// The sum of the squares of all elements; reads no further than the first one that is not finite.
    func squareSum() throws(IOError) -> Double {
        var total = 0.0
        try forEachBlock { _, values in
            var sum = 0.0
            for index in values.indices { sum += Double(values[index]) * Double(values[index]) }
            total += sum
            return total.isFinite
        }
        return total
    }

    /// The product with a matrix of as many rows as this has columns.
    func times(_ factor: ColumnMatrix) throws(IOError) -> ColumnMatrix {
        let count = factor.columns
        var panels = [Float](
            repeating: 0, count: LowRank.packedCount(depth: columns, columns: count))
        var packed = panels.mutableSpan
        var row = [Float](repeating: 0, count: count)
        for index in 0..<columns {
            for column in 0..<count { row[column] = Float(factor.elements[column * columns + index]) }
            LowRank.pack(row.span, index: index, depth: columns, into: &packed)
        }
        var result = ColumnMatrix(rows: rows, columns: count)
        try forEachBlock { range, values in
            var sums = [Float](repeating: 0, count: range.count * count)
            var span = sums.mutableSpan
            LowRank.accumulate(
                values, panels.span, depth: columns,
                part: .init(rows: 0..<range.count, columns: 0..<count, origin: 0, rowStride: count), to: &span
            )
            for index in 0..<range.count {
                for column in 0..<count {
                    result.elements[column * rows + range.lowerBound + index] =
                        Double(sums[index * count + column])
                }
            }
            return true
        }
        return result
    }

    /// The product of the transposed matrix with one of as many rows as this has.
    func transposedTimes(_ factor: ColumnMatrix) throws(IOError) -> ColumnMatrix {
        let count = factor.columns
        var sums = [Float](repeating: 0, count: count * columns)
        try forEachBlock { range, values in
            let depth = range.count
            var left = [Float](repeating: 0, count: count * depth)
            for column in 0..<count {
                for index in 0..<depth {
                    left[column * depth + index] = Float(
                        factor.elements[column * rows + range.lowerBound + index])
                }
            }
            var panels = [Float](
                repeating: 0, count: LowRank.packedCount(depth: depth, columns: columns))
            var packed = panels.mutableSpan
            for index in 0..<depth {
                LowRank.pack(
                    values.extracting(index * columns..<(index + 1) * columns), index: index, depth: depth,
                    into: &packed)
            }
            var span = sums.mutableSpan
            LowRank.accumulate(
                left.span, panels.span, depth: depth,
                part: .init(rows: 0..<count, columns: 0..<columns, origin: 0, rowStride: columns), to: &span)
            return true
        }
        var result = ColumnMatrix(rows: columns, columns: count)
        for index in sums.indices { result.elements[index] = Double(sums[index]) }
        return result
    }
}
