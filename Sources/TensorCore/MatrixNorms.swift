/// The lengths of the rows or columns of a matrix that is seen once from start to end.
///
/// Squares are summed in `Float` in the order that torch has on a processor: those of a row in eight lanes by turns,
/// which are then added up one after the other, and after them what is left of the row; those of a column one
/// after the other. Each product and each sum is rounded on its own.
public struct MatrixNorms {
    private let columns: Int
    private let byRow: Bool
    private var sums: [Float]
    /// The lanes of the row that is at hand.
    private var lanes = SIMD8<Float>()
    private var position = 0

    /// Begins with nothing seen.
    ///
    /// - Parameters:
    ///   - rows: the rows of the matrix.
    ///   - columns: its columns, at least one.
    ///   - byRow: whether the lengths are those of rows rather than of columns.
    public init(rows: Int, columns: Int, byRow: Bool) {
        self.columns = columns
        self.byRow = byRow
        sums = [Float](repeating: 0, count: byRow ? rows : columns)
    }

    /// Takes the next elements in row-major order.
    public mutating func add(_ values: Span<Float>) {
        var index = 0
        while index < values.count {
            let (row, column) = position.quotientAndRemainder(dividingBy: columns)
            let count = min(values.count - index, columns - column)
            let part = values.extracting(index..<index + count)
            if byRow { addRow(part, row, column) } else { addColumns(part, column) }
            position += count
            index += count
        }
    }

    /// The lengths of what was seen.
    public var lengths: [Float] { sums.map { $0.squareRoot() } }

    private mutating func addRow(_ part: Span<Float>, _ row: Int, _ column: Int) {
        if column == 0 { lanes = SIMD8() }
        let laneEnd = columns / 8 * 8
        let end = min(part.count, max(0, laneEnd - column))
        var index = 0
        while index < end, (column + index) % 8 != 0 || index + 8 > end {
            lanes[(column + index) % 8] += part[index] * part[index]
            index += 1
        }
        let bytes = part.bytesView
        while index + 8 <= end {
            // Bounds are checked by the span; any bits are a value.
            let block = unsafe bytes.unsafeLoadUnaligned(fromByteOffset: index * 4, as: SIMD8<Float>.self)
            lanes += block * block
            index += 8
        }
        while index < end {
            lanes[(column + index) % 8] += part[index] * part[index]
            index += 1
        }
        if column <= laneEnd, column + part.count >= laneEnd {
            var sum = lanes[0]
            for lane in 1..<8 { sum += lanes[lane] }
            sums[row] = sum
        }
        for index in index..<part.count { sums[row] += part[index] * part[index] }
    }

    private mutating func addColumns(_ part: Span<Float>, _ column: Int) {
        var span = sums.mutableSpan
        var target = span._mutatingExtracting(column..<column + part.count)
        precondition(target.count == part.count)
        for index in target.indices { target[index] += part[index] * part[index] }
    }
}

/// The scaling of rows or columns.
public enum MatrixScale {
    /// Multiplies consecutive elements of a matrix, row-major, by the factors of their rows or columns.
    ///
    /// - Parameter first: the place of the first in the matrix.
    public static func apply(
        _ factors: Span<Float>, to values: inout MutableSpan<Float>, at first: Int, columns: Int, byRow: Bool
    ) {
        var index = 0
        while index < values.count {
            let (row, column) = (first + index).quotientAndRemainder(dividingBy: columns)
            let count = min(values.count - index, columns - column)
            var part = values._mutatingExtracting(index..<index + count)
            if byRow {
                let factor = factors[row]
                for index in part.indices { part[index] *= factor }
            } else {
                let own = factors.extracting(column..<column + count)
                precondition(own.count == part.count)
                for index in part.indices { part[index] *= own[index] }
            }
            index += count
        }
    }
}
