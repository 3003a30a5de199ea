public import TensorCore

/// Tensors one after another along an axis.
public struct Concatenation: Sendable {
    /// The parts, all of one dtype, with the shape of the whole but along the axis; none is empty.
    public let parts: [TensorExpression]
    /// The axis along which they follow each other.
    public let axis: Int
    /// The dimensions of the whole.
    public let shape: [UInt64]
    /// The size, in bytes.
    public let byteCount: UInt64

    init(parts: [TensorExpression], axis: Int, shape: [UInt64]) {
        self.parts = parts
        self.axis = axis
        self.shape = shape
        byteCount = parts.reduce(0) { $0 + $1.byteCount }
    }

    /// The element type.
    public var dtype: DType { parts[0].dtype }

    /// That of all parts together; nil where one is computed.
    var identity: TensorSource.Identity? {
        let own = parts.compactMap(\.source.identity)
        guard own.count == parts.count else { return nil }
        return TensorSource.Identity(path: "", offset: 0, shape: shape, strides: [UInt64(axis)], parts: own)
    }

    /// The simplest source: the parts' own, where that is all.
    var source: TensorSource { parts.count == 1 ? parts[0].source : .concatenated(self) }
}

extension TensorExpression {
    /// The tensor of all `parts`, one after another along an axis.
    public static func concatenated(
        _ parts: [TensorExpression], axis: Int
    ) throws(ExpressionError) -> TensorExpression {
        guard let first = parts.first, first.shape.indices.contains(axis) else {
            throw ExpressionError("there is no axis \(axis) to join \(parts.count) tensors along")
        }
        var shape = first.shape
        shape[axis] = 0
        for part in parts {
            var expected = shape
            guard part.shape.count == shape.count else { throw mismatch(first, part) }
            expected[axis] = part.shape[axis]
            let (length, overflow) = shape[axis].addingReportingOverflow(part.shape[axis])
            guard part.dtype == first.dtype, part.shape == expected, !overflow else {
                throw mismatch(first, part)
            }
            shape[axis] = length
        }
        guard try byteCount(first.dtype, shape) > 0 else {
            return TensorExpression(first.dtype, shape, .empty)
        }
        let full = parts.filter { $0.byteCount > 0 }
        // Rows of a part must be whole bytes.
        guard full.count == 1 || full.allSatisfy({ $0.fillsBytes(from: axis) }) else {
            let wide = try full.map { (part) throws(ExpressionError) in try part.cast(to: .f8E4M3) }
            return try concatenated(wide, axis: axis).cast(to: first.dtype)
        }
        return TensorExpression(
            first.dtype, shape,
            Concatenation(parts: joined(full, axis: axis), axis: axis, shape: shape).source)
    }

    private static func mismatch(_ first: TensorExpression, _ part: TensorExpression) -> ExpressionError {
        ExpressionError(
            "\(first.dtype.name) of shape \(first.shape) and \(part.dtype.name) of shape \(part.shape) do not "
                + "fit together")
    }

    /// Whether what stands at one index of the axes before `axis` is a whole number of bytes.
    func fillsBytes(from axis: Int) -> Bool { dtype.byteCount(of: Array(shape[axis...])) != nil }

    /// The parts with those of nested concatenations in their places, and neighbours in a file as one.
    private static func joined(_ parts: [TensorExpression], axis: Int) -> [TensorExpression] {
        let isOutermost = parts[0].shape[..<axis].allSatisfy { $0 == 1 }
        var result: [TensorExpression] = []
        func add(_ part: TensorExpression) {
            guard isOutermost, let last = result.last, let extent = last.source.extent,
                let next = part.source.extent, let whole = extent.joined(with: next)
            else { return result.append(part) }
            var shape = last.shape
            shape[axis] += part.shape[axis]
            result[result.count - 1] = TensorExpression(last.dtype, shape, .extent(whole))
        }
        for part in parts {
            if case .concatenated(let node) = part.source, node.axis == axis, node.shape == part.shape,
                node.dtype == part.dtype
            {
                for inner in node.parts { add(inner) }
            } else {
                add(part)
            }
        }
        return result
    }
}

extension Concatenation {
    func sliced(_ ranges: [Range<UInt64>]) throws(ExpressionError) -> TensorExpression {
        var result: [TensorExpression] = []
        var start: UInt64 = 0
        for part in parts {
            let end = start + part.shape[axis]
            let range = ranges[axis].clamped(to: start..<end)
            if !range.isEmpty {
                var inner = ranges
                inner[axis] = range.lowerBound - start..<range.upperBound - start
                result.append(try part.sliced(inner))
            }
            start = end
        }
        return try .concatenated(result, axis: axis)
    }

    func permuted(_ order: [Int]) throws(ExpressionError) -> TensorExpression {
        let parts = try parts.map { (part) throws(ExpressionError) in try part.permuted(order) }
        return try .concatenated(parts, axis: order.firstIndex(of: axis) ?? axis)
    }

    /// Fills `buffer` with the result's bytes from `offset`.
    ///
    /// The result is rows, each of a run from every part. Long runs are read one by one, short ones many at once.
    func read(at offset: UInt64, into buffer: inout MutableRawSpan) throws(IOError) {
        let rows = shape[..<axis].reduce(1, *)
        let runs = parts.map { Int($0.byteCount / rows) }
        let rowByteCount = runs.reduce(0, +)
        var row = Int(offset) / rowByteCount
        var position = Int(offset) % rowByteCount
        var done = 0
        while done < buffer.byteCount {
            let whole = position == 0 ? (buffer.byteCount - done) / rowByteCount : 0
            if whole > 0 {
                var target = buffer._mutatingExtracting(done..<done + whole * rowByteCount)
                try readRows(row..<row + whole, runs: runs, into: &target)
                done += whole * rowByteCount
                row += whole
            } else {
                let count = min(rowByteCount - position, buffer.byteCount - done)
                var target = buffer._mutatingExtracting(done..<done + count)
                try readRow(row, runs: runs, from: position, into: &target)
                done += count
                row += 1
                position = 0
            }
        }
    }

    /// Reads a part of one row.
    private func readRow(
        _ row: Int, runs: [Int], from position: Int, into buffer: inout MutableRawSpan
    ) throws(IOError) {
        var start = 0
        for (part, run) in zip(parts, runs) {
            let range = (position..<position + buffer.byteCount).clamped(to: start..<start + run)
            if !range.isEmpty {
                var target = buffer._mutatingExtracting(
                    range.lowerBound - position..<range.upperBound - position)
                try part.source.read(at: UInt64(row * run + range.lowerBound - start), into: &target)
            }
            start += run
        }
    }

    private func readRows(
        _ range: Range<Int>, runs: [Int], into buffer: inout MutableRawSpan
    ) throws(IOError) {
        let rowByteCount = runs.reduce(0, +)
        var column = 0
        for (part, run) in zip(parts, runs) {
            let cost = part.source.readCost
            // A run that is worth a read of its own goes straight to its place.
            let together = range.count == 1 || run >= 2 * cost ? 1 : max(1, min(4 << 20, 64 * cost) / run)
            let scratch = PageBuffer(capacity: together > 1 ? min(together, range.count) * run : 0)
            for first in stride(from: 0, to: range.count, by: together) {
                let count = min(together, range.count - first)
                let offset = UInt64((range.lowerBound + first) * run)
                let place = first * rowByteCount + column
                if together == 1 {
                    var target = buffer._mutatingExtracting(place..<place + run)
                    try part.source.read(at: offset, into: &target)
                    continue
                }
                try scratch.withMutableBytes(count: count * run) { (bytes) throws(IOError) in
                    try part.source.read(at: offset, into: &bytes)
                }
                scratch.withBytes(count: count * run) { bytes in
                    let axes: [StridedCopy.Axis] = [
                        .init(count: count, sourceStride: run, destinationStride: rowByteCount),
                        .init(count: run, sourceStride: 1, destinationStride: 1),
                    ]
                    StridedCopy(width: 1, axes: axes).copy(from: bytes, at: 0, to: &buffer, at: place)
                }
            }
            column += run
        }
    }
}
