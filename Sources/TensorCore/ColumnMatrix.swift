/// Columns of `Double`, one after another, and what makes them orthogonal.
///
/// Sums run in eight lanes by turns, so results are the same on every processor.
public struct ColumnMatrix: Sendable {
    /// The length of a column.
    public let rows: Int
    /// The number of columns.
    public let columns: Int
    /// The elements, column by column.
    public var elements: [Double]

    /// A matrix of zeros.
    public init(rows: Int, columns: Int) {
        self.rows = rows
        self.columns = columns
        elements = [Double](repeating: 0, count: rows * columns)
    }

    /// The product of two columns of this and another matrix of as many rows.
    public static func dot(_ a: Span<Double>, _ b: Span<Double>) -> Double {
        precondition(a.count == b.count)
        let (left, right) = (a.bytesView, b.bytesView)
        var sums = SIMD8<Double>()
        var index = 0
        while index + 8 <= a.count {
            // Bounds are checked by the spans; any bits are a value.
            let x = unsafe left.unsafeLoadUnaligned(fromByteOffset: index * 8, as: SIMD8<Double>.self)
            let y = unsafe right.unsafeLoadUnaligned(fromByteOffset: index * 8, as: SIMD8<Double>.self)
            sums += x * y
            index += 8
        }
        var sum = sums.sum()
        for index in index..<a.count { sum += a[index] * b[index] }
        return sum
    }

    /// Adds a multiple of `source` to `target`.
    public static func add(_ source: Span<Double>, times factor: Double, to target: inout MutableSpan<Double>)
    {
        precondition(source.count == target.count)
        for index in source.indices { target[index] += factor * source[index] }
    }

    /// Makes the columns orthonormal by the Gram-Schmidt rule, twice for each, and returns the upper triangle by
    /// which the old ones are made of them, column by column.
    ///
    /// A column that the ones before it span becomes zero.
    public mutating func orthonormalize() -> ColumnMatrix {
        var triangle = ColumnMatrix(rows: columns, columns: columns)
        for column in 0..<columns {
            var own = Array(elements[column * rows..<(column + 1) * rows])
            let before = Self.dot(own.span, own.span).squareRoot()
            for _ in 0..<2 {
                for other in 0..<column {
                    let basis = elements.span.extracting(other * rows..<(other + 1) * rows)
                    let product = Self.dot(basis, own.span)
                    var span = own.mutableSpan
                    Self.add(basis, times: -product, to: &span)
                    triangle.elements[column * columns + other] += product
                }
            }
            let length = Self.dot(own.span, own.span).squareRoot()
            // What is left of a dependent column is rounding noise of the inputs.
            let isNew = length > 1e-12 * before && length > 0
            triangle.elements[column * columns + column] = isNew ? length : 0
            for row in 0..<rows { elements[column * rows + row] = isNew ? own[row] / length : 0 }
        }
        return triangle
    }

    /// Turns the columns by rotations until each is orthogonal to all others (one-sided Jacobi), and does the same
    /// to the columns of `other`.
    public mutating func diagonalize(along other: inout ColumnMatrix) {
        precondition(other.columns == columns)
        for _ in 0..<40 {
            var isDone = true
            for p in 0..<max(0, columns - 1) {
                for q in p + 1..<columns where rotate(p, q, &other) { isDone = false }
            }
            if isDone { return }
        }
    }

    private mutating func rotate(_ p: Int, _ q: Int, _ other: inout ColumnMatrix) -> Bool {
        let (alpha, beta, gamma) = (product(p, p), product(q, q), product(p, q))
        guard abs(gamma) > 1e-15 * (alpha * beta).squareRoot(), gamma != 0 else { return false }
        let zeta = (beta - alpha) / (2 * gamma)
        let tangent = (zeta < 0 ? -1.0 : 1.0) / (abs(zeta) + (1 + zeta * zeta).squareRoot())
        let cosine = 1 / (1 + tangent * tangent).squareRoot()
        turn(p, q, cosine, cosine * tangent)
        other.turn(p, q, cosine, cosine * tangent)
        return true
    }

    private func product(_ p: Int, _ q: Int) -> Double {
        Self.dot(
            elements.span.extracting(p * rows..<(p + 1) * rows),
            elements.span.extracting(q * rows..<(q + 1) * rows))
    }

    private mutating func turn(_ p: Int, _ q: Int, _ cosine: Double, _ sine: Double) {
        var (first, second) = (p * rows, q * rows)
        let end = first + rows
        var span = elements.mutableSpan
        while first < end {
            let (x, y) = (span[first], span[second])
            span[first] = cosine * x - sine * y
            span[second] = sine * x + cosine * y
            first += 1
            second += 1
        }
    }

    /// The product with the columns of a square matrix: each new column is a sum of these.
    public func combined(by factors: ColumnMatrix) -> ColumnMatrix {
        precondition(factors.rows == columns)
        var result = ColumnMatrix(rows: rows, columns: factors.columns)
        var span = result.elements.mutableSpan
        for column in 0..<factors.columns {
            var target = span._mutatingExtracting(column * rows..<(column + 1) * rows)
            for own in 0..<columns {
                Self.add(
                    elements.span.extracting(own * rows..<(own + 1) * rows),
                    times: factors.elements[column * factors.rows + own], to: &target)
            }
        }
        return result
    }
}
