public import TensorCore

/// A matrix plus a multiple of the product of two others: `base + scale · (b · a)`.
///
/// Everything is done in `Float`: an element of the product is summed from zero in ascending order of the inner
/// dimension by fused multiplications, multiplied by the scale, added to the base, and rounded to the result's
/// dtype; each step rounds on its own. Elements are so the same in whatever pieces, on whatever threads they are
/// computed, and those that torch computes on a processor.
public struct LowRankUpdate: Sendable {
    /// The matrix that is changed, of `out` rows and `in` columns.
    public internal(set) var base: TensorExpression
    /// The left factor, of `out` rows and as many columns as the rank.
    public let b: TensorExpression
    /// The right factor, of as many rows as the rank and `in` columns.
    public let a: TensorExpression
    /// What the product is multiplied by.
    public let scale: Float
    /// The dtype of the result, one of whole bytes.
    public internal(set) var dtype: DType
    /// Whether the scaled product is rounded to the result's dtype before it is added.
    public let roundsUpdate: Bool

    /// The dimensions of the result.
    public var shape: [UInt64] { base.shape }

    /// The size of the result, in bytes.
    public var byteCount: UInt64 { base.shape[0] * base.shape[1] * UInt64(dtype.groupByteCount) }

    func sliced(_ ranges: [Range<UInt64>]) throws(ExpressionError) -> LowRankUpdate {
        LowRankUpdate(
            base: try base.sliced(ranges), b: try b.sliced(axis: 0, ranges[0]),
            a: try a.sliced(axis: 1, ranges[1]), scale: scale, dtype: dtype,
            roundsUpdate: roundsUpdate)
    }

    func transposed() throws(ExpressionError) -> LowRankUpdate {
        LowRankUpdate(
            base: try base.transposed(), b: try a.transposed(), a: try b.transposed(), scale: scale,
            dtype: dtype, roundsUpdate: roundsUpdate)
    }

    /// Enough rows that reading the right factor for them does not matter.
    var efficientByteCount: Int {
        let row = Int(base.shape[1]) * dtype.groupByteCount
        return max(min(row, 1 << 20) * 64, base.source.preferredPieceByteCount)
    }
}

extension TensorExpression {
    /// `base + scale · (b · a)`, computed as ``LowRankUpdate`` says.
    ///
    /// - Parameters:
    ///   - base: a matrix of `out` rows and `in` columns.
    ///   - b: a matrix of `out` rows and `rank` columns.
    ///   - a: a matrix of `rank` rows and `in` columns.
    ///   - scale: multiplies the product.
    ///   - dtype: the floating dtype of the result; nil for that of `base`.
    ///   - roundsUpdate: whether the scaled product is rounded to that dtype before it is added.
    public static func lowRankUpdated(
        _ base: TensorExpression, b: TensorExpression, a: TensorExpression, scale: Float,
        dtype: DType? = nil, roundsUpdate: Bool = false
    ) throws(ExpressionError) -> TensorExpression {
        let dtype = dtype ?? base.dtype
        guard base.shape.count == 2, b.shape.count == 2, a.shape.count == 2, b.shape[0] == base.shape[0],
            a.shape[1] == base.shape[1], b.shape[1] == a.shape[0]
        else {
            throw ExpressionError(
                "the product of shapes \(b.shape) and \(a.shape) has not the shape \(base.shape) of the base")
        }
        guard base.isReal, b.isReal, a.isReal, dtype.isFloat, dtype.byteWidth != nil else {
            throw ExpressionError(
                "\(base.dtype.name), \(b.dtype.name) and \(a.dtype.name) do not make a matrix of \(dtype.name)"
            )
        }
        guard try byteCount(dtype, base.shape) > 0 else { return TensorExpression(dtype, base.shape, .empty) }
        return TensorExpression(
            dtype, base.shape,
            .lowRank(
                LowRankUpdate(
                    base: base, b: b, a: a, scale: scale, dtype: dtype, roundsUpdate: roundsUpdate)))
    }
}

extension LowRankUpdate {
    /// The update with everything rounded to another dtype instead; so is a base that is itself computed.
    func rounded(to dtype: DType) -> LowRankUpdate {
        var result = self
        result.dtype = dtype
        if let source = base.source.rounded(to: dtype) {
            result.base = TensorExpression(dtype, base.shape, source)
        }
        return result
    }
}

// MARK: - Reading

extension LowRankUpdate {
    /// The sums that are held at once, and the values of a factor.
    private static var sumCount: Int { 1 << 20 }
    private static var factorCount: Int { 1 << 18 }
    /// The rows of the right factor that are applied at once.
    private static var depthCount: Int { 256 }

    /// Fills `buffer` with the result's bytes from `offset`; both are whole numbers of elements.
    func read(at offset: UInt64, into buffer: inout MutableRawSpan) throws(IOError) {
        let width = dtype.groupByteCount
        let columns = Int(base.shape[1])
        // So many rows that the part of the left factor is bounded too, less one as a range may begin within a row.
        let rows = Self.factorCount / Self.depthCount - 1
        let (elements, overflow) = columns.multipliedReportingOverflow(by: rows)
        let most = overflow ? Self.sumCount : min(Self.sumCount, elements)
        let first = Int(offset) / width
        let total = buffer.byteCount / width
        for start in stride(from: 0, to: total, by: most) {
            let count = min(most, total - start)
            var target = buffer._mutatingExtracting(start * width..<(start + count) * width)
            try compute(first + start..<first + start + count, into: &target)
        }
    }

    private func compute(_ range: Range<Int>, into buffer: inout MutableRawSpan) throws(IOError) {
        var sums = [Float](repeating: 0, count: range.count)
        try addProduct(range, to: &sums)
        if roundsUpdate { round(&sums) }
        let scale = roundsUpdate ? 1 : scale
        // Base, sum and rounding, in parts that stay in the processor's cache.
        let width = dtype.groupByteCount
        let block = max(1 << 15, base.source.blockByteCount / 4)
        for start in stride(from: 0, to: range.count, by: block) {
            let count = min(block, range.count - start)
            let first = range.lowerBound + start
            var values = try base.values(first..<first + count)
            var span = values.mutableSpan
            LowRank.add(sums.span.extracting(start..<start + count), times: scale, to: &span)
            var target = buffer._mutatingExtracting(start * width..<(start + count) * width)
            ElementCast.convert(values.span.bytesView, from: .f32, to: dtype, into: &target)
        }
    }

    /// Multiplies sums by the scale and rounds them to the dtype.
    private func round(_ sums: inout [Float]) {
        let width = dtype.groupByteCount
        let block = 1 << 14
        var span = sums.mutableSpan
        for start in stride(from: 0, to: span.count, by: block) {
            var part = span._mutatingExtracting(start..<min(span.count, start + block))
            for index in part.indices { part[index] *= scale }
            let rounded = [UInt8](count: part.count * width) { bytes in
                ElementCast.convert(part.span.bytesView, from: .f32, to: dtype, into: &bytes)
            }
            var bytes = MutableRawSpan(_elements: &part)
            ElementCast.convert(rounded.span.bytesView, from: dtype, to: .f32, into: &bytes)
        }
    }

    /// Adds the product's elements in `range`, in row-major order.
    private func addProduct(_ range: Range<Int>, to sums: inout [Float]) throws(IOError) {
        let columns = Int(base.shape[1])
        let rank = Int(a.shape[0])
        let rows = range.lowerBound / columns..<(range.upperBound + columns - 1) / columns
        for start in stride(from: 0, to: rank, by: Self.depthCount) {
            let depth = start..<min(rank, start + Self.depthCount)
            let left = try Self.block(of: b, rows: rows, columns: depth)
            // Whole panels, so that their columns are the same for every part.
            let together = max(LowRank.panelWidth, Self.factorCount / depth.count / 8 * 8)
            for first in stride(from: 0, to: columns, by: together) {
                let block = first..<min(columns, first + together)
                let parts = parts(of: range, rows: rows, block: block)
                if parts.isEmpty { continue }
                let panels = try packed(rows: depth, columns: block)
                for part in parts {
                    var span = sums.mutableSpan
                    LowRank.accumulate(left.span, panels.span, depth: depth.count, part: part, to: &span)
                }
            }
        }
    }

    /// The rectangles in which a range of elements meets a block of columns: of the first row, of whole rows, of
    /// the last row.
    private func parts(of range: Range<Int>, rows: Range<Int>, block: Range<Int>) -> [LowRank.Part] {
        let columns = Int(base.shape[1])
        var result: [LowRank.Part] = []
        func add(_ part: Range<Int>, _ wanted: Range<Int>) {
            let taken = wanted.clamped(to: block)
            guard !part.isEmpty, !taken.isEmpty else { return }
            result.append(
                LowRank.Part(
                    rows: part.lowerBound - rows.lowerBound..<part.upperBound - rows.lowerBound,
                    columns: taken.lowerBound - block.lowerBound..<taken.upperBound - block.lowerBound,
                    origin: rows.lowerBound * columns + block.lowerBound - range.lowerBound,
                    rowStride: columns))
        }
        if rows.count == 1 {
            add(rows, range.modulo(columns, rows))
            return result
        }
        let head = range.lowerBound - rows.lowerBound * columns
        let tail = range.upperBound - (rows.upperBound - 1) * columns
        add(rows.lowerBound..<rows.lowerBound + 1, head..<columns)
        add(rows.lowerBound + 1..<rows.upperBound - 1, 0..<columns)
        add(rows.upperBound - 1..<rows.upperBound, 0..<tail)
        return result
    }

    /// A block of a matrix, row by row; in one read where the rows are whole.
    private static func block(
        of matrix: TensorExpression, rows: Range<Int>, columns: Range<Int>
    ) throws(IOError) -> [Float] {
        let stride = Int(matrix.shape[1])
        if columns.count == stride {
            return try matrix.values(rows.lowerBound * stride..<rows.upperBound * stride)
        }
        return try [Float](count: rows.count * columns.count) { (buffer) throws(IOError) in
            for (index, row) in rows.enumerated() {
                let size = columns.count * 4
                var target = buffer._mutatingExtracting(index * size..<(index + 1) * size)
                let first = row * stride + columns.lowerBound
                try matrix.readValues(first..<first + columns.count, into: &target)
            }
        }
    }

    /// A block of the right factor in panels.
    private func packed(rows: Range<Int>, columns: Range<Int>) throws(IOError) -> [Float] {
        let plain = try Self.block(of: a, rows: rows, columns: columns)
        var panels = [Float](
            repeating: 0, count: LowRank.packedCount(depth: rows.count, columns: columns.count))
        var span = panels.mutableSpan
        for row in 0..<rows.count {
            LowRank.pack(
                plain.span.extracting(row * columns.count..<(row + 1) * columns.count), index: row,
                depth: rows.count, into: &span)
        }
        return panels
    }
}

extension Range<Int> {
    /// The columns of a range of elements that lie in one row.
    fileprivate func modulo(_ columns: Int, _ rows: Range<Int>) -> Range<Int> {
        lowerBound - rows.lowerBound * columns..<upperBound - rows.lowerBound * columns
    }
}
