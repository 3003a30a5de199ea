/// Lengths of the rows or columns of a matrix that is seen in pieces, and their scaling.
public enum RowNorms {
    /// Adds the squares of consecutive elements to the sums of their rows, or of their columns.
    ///
    /// - Parameters:
    ///   - values: elements of the matrix in row-major order.
    ///   - first: the place of the first in the matrix.
    ///   - columns: the elements of a row.
    ///   - byRow: whether `sums` has an element for each row rather than for each column.
    public static func addSquares(
        _ values: Span<Float>, at first: Int, columns: Int, byRow: Bool, to sums: inout MutableSpan<Double>
    ) {
        forEachRow(values.count, first, columns) { row, column, part in
            if byRow {
                var sum = sums[row]
                for index in part { sum += Double(values[index]) * Double(values[index]) }
                sums[row] = sum
            } else {
                let shift = column - part.lowerBound
                for index in part {
                    sums[index + shift] += Double(values[index]) * Double(values[index])
                }
            }
        }
    }

    /// Multiplies consecutive elements by the factors of their rows, or of their columns.
    public static func scale(
        _ values: inout MutableSpan<Float>, at first: Int, columns: Int, byRow: Bool, by factors: Span<Float>
    ) {
        forEachRow(values.count, first, columns) { row, column, part in
            if byRow {
                let factor = factors[row]
                for index in part { values[index] *= factor }
            } else {
                let shift = column - part.lowerBound
                for index in part { values[index] *= factors[index + shift] }
            }
        }
    }

    /// Calls `body` with each row's number, the column of the first element and the elements of it.
    @inline(__always)
    private static func forEachRow(
        _ count: Int, _ first: Int, _ columns: Int, _ body: (Int, Int, Range<Int>) -> Void
    ) {
        var index = 0
        while index < count {
            let (row, column) = (first + index).quotientAndRemainder(dividingBy: columns)
            let end = min(count, index + columns - column)
            body(row, column, index..<end)
            index = end
        }
    }
}
