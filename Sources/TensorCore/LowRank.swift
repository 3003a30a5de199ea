/// Arithmetic of low-rank updates, in `Float`.
///
/// A product is summed in ascending order of the inner dimension, from zero, each product and each sum rounded on
/// its own (no fused multiplication). So an element is the same whatever the blocks in which it is computed.
public enum LowRank {
    /// Columns that lie together in a packed matrix.
    public static var panelWidth: Int { 8 }

    /// The values that a packed matrix takes.
    public static func packedCount(depth: Int, columns: Int) -> Int {
        (columns + panelWidth - 1) / panelWidth * panelWidth * depth
    }

    /// Puts row `index` of a matrix of `depth` rows into its packed form: panels of eight columns, each with all
    /// rows, the last one filled up with zeros.
    public static func pack(
        _ row: Span<Float>, index: Int, depth: Int, into panels: inout MutableSpan<Float>
    ) {
        precondition(panels.count >= packedCount(depth: depth, columns: row.count) && index < depth)
        for column in stride(from: 0, to: row.count, by: panelWidth) {
            let place = column * depth + index * panelWidth
            let count = min(panelWidth, row.count - column)
            for lane in 0..<count { panels[place + lane] = row[column + lane] }
            for lane in count..<panelWidth { panels[place + lane] = 0 }
        }
    }

    /// A part of a product: which rows and columns, and where they go.
    public struct Part {
        /// The rows of the left matrix that are taken.
        public var rows: Range<Int>
        /// The columns of the packed right matrix that are taken.
        public var columns: Range<Int>
        /// Where row 0 and column 0 go, were they taken; may be negative.
        public var origin: Int
        /// What lies between rows of the sums.
        public var rowStride: Int

        /// Makes a part.
        public init(rows: Range<Int>, columns: Range<Int>, origin: Int, rowStride: Int) {
            self.rows = rows
            self.columns = columns
            self.origin = origin
            self.rowStride = rowStride
        }
    }

    /// Adds a part of the product of `left` (rows of `depth` values) and a packed matrix of `depth` rows to `sums`.
    public static func accumulate(
        _ left: Span<Float>, _ panels: Span<Float>, depth: Int, part: Part,
        to sums: inout MutableSpan<Float>
    ) {
        precondition(left.count >= part.rows.upperBound * depth)
        precondition(panels.count >= packedCount(depth: depth, columns: part.columns.upperBound))
        guard !part.columns.isEmpty, depth > 0 else { return }
        let first = part.columns.lowerBound / panelWidth * panelWidth
        for column in stride(from: first, to: part.columns.upperBound, by: panelWidth) {
            let lanes =
                max(0, part.columns.lowerBound - column)..<min(panelWidth, part.columns.upperBound - column)
            var row = part.rows.lowerBound
            while row + 4 <= part.rows.upperBound {
                quad(left, row, panels, column, depth, part, lanes, &sums)
                row += 4
            }
            while row < part.rows.upperBound {
                single(left, row, panels, column, depth, part, lanes, &sums)
                row += 1
            }
        }
    }

    @inline(__always)
    private static func panelRow(_ panels: RawSpan, _ index: Int) -> SIMD8<Float> {
        // Bounds are checked by the span; any bits are a value.
        unsafe panels.unsafeLoadUnaligned(fromByteOffset: index * 4, as: SIMD8<Float>.self)
    }

    /// Four rows of one panel.
    @inline(__always)
    private static func quad(
        _ left: Span<Float>, _ row: Int, _ panels: Span<Float>, _ column: Int, _ depth: Int, _ part: Part,
        _ lanes: Range<Int>, _ sums: inout MutableSpan<Float>
    ) {
        let place = part.origin + row * part.rowStride + column
        var sum0 = load(sums, place, lanes)
        var sum1 = load(sums, place + part.rowStride, lanes)
        var sum2 = load(sums, place + 2 * part.rowStride, lanes)
        var sum3 = load(sums, place + 3 * part.rowStride, lanes)
        let rows = left.extracting(row * depth..<(row + 4) * depth)
        let panel = panels.bytesView.extracting(column * depth * 4..<(column + panelWidth) * depth * 4)
        for index in 0..<depth {
            let right = panelRow(panel, index * panelWidth)
            sum0 += right * rows[index]
            sum1 += right * rows[depth + index]
            sum2 += right * rows[2 * depth + index]
            sum3 += right * rows[3 * depth + index]
        }
        store(sum0, &sums, place, lanes)
        store(sum1, &sums, place + part.rowStride, lanes)
        store(sum2, &sums, place + 2 * part.rowStride, lanes)
        store(sum3, &sums, place + 3 * part.rowStride, lanes)
    }

    @inline(__always)
    private static func single(
        _ left: Span<Float>, _ row: Int, _ panels: Span<Float>, _ column: Int, _ depth: Int, _ part: Part,
        _ lanes: Range<Int>, _ sums: inout MutableSpan<Float>
    ) {
        let place = part.origin + row * part.rowStride + column
        var sum = load(sums, place, lanes)
        let panel = panels.bytesView.extracting(column * depth * 4..<(column + panelWidth) * depth * 4)
        for index in 0..<depth { sum += panelRow(panel, index * panelWidth) * left[row * depth + index] }
        store(sum, &sums, place, lanes)
    }

    @inline(__always)
    private static func load(_ sums: borrowing MutableSpan<Float>, _ place: Int, _ lanes: Range<Int>)
        -> SIMD8<Float>
    {
        var result = SIMD8<Float>()
        if lanes.count == panelWidth {
            for lane in 0..<panelWidth { result[lane] = sums[place + lane] }
        } else {
            for lane in lanes { result[lane] = sums[place + lane] }
        }
        return result
    }

    @inline(__always)
    private static func store(
        _ value: SIMD8<Float>, _ sums: inout MutableSpan<Float>, _ place: Int, _ lanes: Range<Int>
    ) {
        if lanes.count == panelWidth {
            for lane in 0..<panelWidth { sums[place + lane] = value[lane] }
        } else {
            for lane in lanes { sums[place + lane] = value[lane] }
        }
    }
}

extension LowRank {
    /// Replaces each of `base` by itself plus `scale` times its update; product and sum are rounded each.
    public static func add(_ updates: Span<Float>, times scale: Float, to base: inout MutableSpan<Float>) {
        precondition(updates.count == base.count)
        for index in updates.indices { base[index] = base[index] + scale * updates[index] }
    }
}
