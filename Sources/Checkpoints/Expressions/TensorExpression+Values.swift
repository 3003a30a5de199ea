internal import TensorCore

extension TensorExpression {
    /// Reads elements as `Float`, native byte order.
    ///
    /// - Parameters:
    ///   - range: the elements, in row-major order.
    ///   - buffer: has four bytes for each.
    func readValues(_ range: Range<Int>, into buffer: inout MutableRawSpan) throws(IOError) {
        if range.isEmpty { return }
        let group = dtype.groupElementCount
        let bytes = dtype.groupByteCount
        if dtype == .f32 { return try source.read(at: UInt64(range.lowerBound * 4), into: &buffer) }
        let units = range.lowerBound / group..<(range.upperBound + group - 1) / group
        let block = min(units.count, max(1, source.blockByteCount / bytes))
        let scratch = PageBuffer(capacity: block * bytes)
        for start in stride(from: units.lowerBound, to: units.upperBound, by: block) {
            let count = min(block, units.upperBound - start)
            try scratch.withMutableBytes(count: count * bytes) { (part) throws(IOError) in
                try source.read(at: UInt64(start * bytes), into: &part)
            }
            let covered = start * group..<(start + count) * group
            let wanted = covered.clamped(to: range)
            var target = buffer._mutatingExtracting(
                (wanted.lowerBound - range.lowerBound) * 4..<(wanted.upperBound - range.lowerBound) * 4)
            scratch.withBytes(count: count * bytes) { part in
                if covered == wanted {
                    return ElementCast.convert(part, from: dtype, to: .f32, into: &target)
                }
                // Only at the ends of a range that splits a group.
                let values = [UInt8](count: covered.count * 4) { values in
                    ElementCast.convert(part, from: dtype, to: .f32, into: &values)
                }
                copyBytes(
                    from: values.span.bytesView, at: (wanted.lowerBound - covered.lowerBound) * 4,
                    to: &target, at: 0, count: wanted.count * 4)
            }
        }
    }

    /// The values of elements.
    func values(_ range: Range<Int>) throws(IOError) -> [Float] {
        try [Float](count: range.count) { (buffer) throws(IOError) in
            try readValues(range, into: &buffer)
        }
    }

    /// Whether the elements are real numbers, as the arithmetic here needs.
    var isReal: Bool { dtype != .c64 && dtype != .bool }
}
