internal import CKernels

/// Arithmetic of low-rank updates, in `Float`.
///
/// A product is summed in ascending order of the inner dimension, from zero, each term added by a fused
/// multiplication, which rounds once. So an element is the same whatever the blocks in which it is computed, and
/// the same as in torch on a processor (its BLAS sums ranks up to some hundreds in this way).
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
        _ left: Span<Float>, _ panels: Span<Float>, depth: Int, part: Part, level: KernelLevel = .best,
        to sums: inout MutableSpan<Float>
    ) {
        precondition(left.count >= part.rows.upperBound * depth && part.rows.lowerBound >= 0)
        precondition(panels.count >= packedCount(depth: depth, columns: part.columns.upperBound))
        precondition(level.isAvailable)
        guard !part.columns.isEmpty, !part.rows.isEmpty, depth > 0 else { return }
        let rows = left.extracting(part.rows.lowerBound * depth..<part.rows.upperBound * depth)
        let first = part.columns.lowerBound / panelWidth * panelWidth
        for column in stride(from: first, to: part.columns.upperBound, by: panelWidth) {
            let panel = panels.extracting(column * depth..<(column + panelWidth) * depth)
            let lanes =
                max(0, part.columns.lowerBound - column)..<min(panelWidth, part.columns.upperBound - column)
            let place = part.origin + part.rows.lowerBound * part.rowStride + column
            if lanes.count == panelWidth {
                let end = place + (part.rows.count - 1) * part.rowStride + panelWidth
                var target = sums._mutatingExtracting(place..<end)
                add(rows, panel, depth, part.rows.count, &target, part.rowStride, level)
            } else {
                addLanes(lanes, rows, panel, depth, part.rows.count, to: &sums, place, part.rowStride, level)
            }
        }
    }

    /// Adds the products of rows with some lanes of a panel.
    private static func addLanes(
        _ lanes: Range<Int>, _ rows: Span<Float>, _ panel: Span<Float>, _ depth: Int, _ rowCount: Int,
        to sums: inout MutableSpan<Float>, _ place: Int, _ rowStride: Int, _ level: KernelLevel
    ) {
        var scratch = [Float](repeating: 0, count: panelWidth)
        for row in 0..<rowCount {
            for lane in lanes { scratch[lane] = sums[place + row * rowStride + lane] }
            var target = scratch.mutableSpan
            add(
                rows.extracting(row * depth..<(row + 1) * depth), panel, depth, 1, &target, panelWidth, level)
            for lane in lanes { sums[place + row * rowStride + lane] = scratch[lane] }
        }
    }

    @inline(__always)
    private static func add(
        _ rows: Span<Float>, _ panel: Span<Float>, _ depth: Int, _ rowCount: Int,
        _ sums: inout MutableSpan<Float>, _ rowStride: Int, _ level: KernelLevel
    ) {
        precondition(rows.count == rowCount * depth && panel.count == panelWidth * depth)
        precondition(rowStride >= 0 && sums.count >= (rowCount - 1) * rowStride + panelWidth)
        // Sound: the loop reads and writes just what was checked.
        unsafe sums.withUnsafeMutableBufferPointer { sums in
            unsafe rows.withUnsafeBufferPointer { rows in
                unsafe panel.withUnsafeBufferPointer { panel in
                    unsafe ckernels_add_product(
                        rows.baseAddress, panel.baseAddress, depth, rowCount, sums.baseAddress, rowStride,
                        level.level)
                }
            }
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
