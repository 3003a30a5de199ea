internal import TensorCore

/// The largest singular values of a matrix with their vectors.
///
/// Found by projection on what the matrix makes of random vectors, some more than are wanted, with steps of
/// subspace iteration; deterministic. Vectors and small matrices are in `Double`, products with the matrix in
/// `Float`.
struct LowRankFactors: Sendable {
    /// The singular values, descending.
    let values: [Double]
    /// The left vectors, each a column.
    let left: ColumnMatrix
    /// The right vectors.
    let right: ColumnMatrix

    /// Vectors beyond those that are wanted.
    private static let spare = 16
    private static let iterationCount = 3

    /// - Parameter rank: how many values are wanted; there are more, up to the smaller dimension.
    init(of matrix: DifferenceMatrix, rank: Int) throws(IOError) {
        let count = min(min(matrix.rows, matrix.columns), rank + Self.spare)
        var start = ColumnMatrix(rows: matrix.columns, columns: count)
        var random = SplitMix(state: 0x5EED)
        for index in start.elements.indices { start.elements[index] = random.next() }
        var basis = try matrix.times(start)
        _ = basis.orthonormalize()
        for _ in 0..<Self.iterationCount {
            var other = try matrix.transposedTimes(basis)
            _ = other.orthonormalize()
            basis = try matrix.times(other)
            _ = basis.orthonormalize()
        }
        // The matrix is nearly basis · projectionᵀ, and projection = own · triangle.
        var own = try matrix.transposedTimes(basis)
        var triangle = own.orthonormalize()
        triangle.diagonalize(along: &basis)
        var lengths: [Double] = []
        for column in 0..<count {
            let vector = triangle.elements.span.extracting(column * count..<(column + 1) * count)
            lengths.append(ColumnMatrix.dot(vector, vector).squareRoot())
        }
        let order = lengths.indices.sorted { (-lengths[$0], $0) < (-lengths[$1], $1) }
        var turned = ColumnMatrix(rows: count, columns: count)
        var left = ColumnMatrix(rows: matrix.rows, columns: count)
        for (place, column) in order.enumerated() {
            let length = lengths[column]
            for row in 0..<count where length > 0 {
                turned.elements[place * count + row] = triangle.elements[column * count + row] / length
            }
            for row in 0..<matrix.rows {
                left.elements[place * matrix.rows + row] = basis.elements[column * matrix.rows + row]
            }
        }
        values = order.map { lengths[$0] }
        self.left = left
        right = own.combined(by: turned)
    }

    /// The factors of a rank: the left one (outputs by rank) and the right one (rank by inputs), row by row; the
    /// singular values are divided evenly between them.
    func factors(rank: Int) -> (b: [Float], a: [Float]) {
        var b = [Float](repeating: 0, count: left.rows * rank)
        var a = [Float](repeating: 0, count: rank * right.rows)
        for column in 0..<min(rank, values.count) {
            let root = values[column].squareRoot()
            for row in 0..<left.rows {
                b[row * rank + column] = Float(left.elements[column * left.rows + row] * root)
            }
            for row in 0..<right.rows {
                a[column * right.rows + row] = Float(right.elements[column * right.rows + row] * root)
            }
        }
        return (b, a)
    }
}

/// Numbers between -1 and 1 that look random and are the same each time.
private struct SplitMix {
    var state: UInt64

    mutating func next() -> Double {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        z ^= z >> 31
        return Double(Int64(bitPattern: z)) / 9_223_372_036_854_775_808
    }
}
