/// Conversion of whole spans from one dtype to another.
///
/// Floats round to nearest, ties to even; ``Overflow`` chooses what becomes of numbers too large for a floating
/// target. NaN stays NaN: a quiet one with its sign and the bits of its payload that fit in F64, F32, F16 and BF16,
/// the format's own in F8, with the sign where it has two, and a zero in F6 and F4, which have none. Floats become
/// other floats by way of F32, as in torch and ml_dtypes, so F64 rounds twice on its way to BF16. So do integers,
/// but for F64, which they become in one step; each is rounded once to F32.
///
/// To integers, floats round to nearest too, are held within the range, and give zero for NaN, where torch cuts off
/// the fraction and leaves the rest undefined. Integers beyond the range of another integer dtype become its nearest
/// end, where torch and NumPy keep the low bits. To BOOL everything but zero is true, NaN too. A dtype converted to
/// itself is copied.
public enum ElementCast {
    /// True where ``convert(_:from:to:overflow:into:)`` can make the conversion.
    ///
    /// Complex numbers convert to nothing else.
    public static func isSupported(from: DType, to: DType) -> Bool {
        from == to || (from != .c64 && to != .c64)
    }

    /// Converts all elements of `source` into `destination`, little-endian on both sides and at any address.
    ///
    /// The memory it takes beside them is small and does not grow with them.
    ///
    /// - Precondition: the conversion is supported, `source` holds whole elements, and `destination` has
    ///   exactly the room that they need, in whole bytes.
    public static func convert(
        _ source: RawSpan, from: DType, to: DType, overflow: Overflow = .special,
        into destination: inout MutableRawSpan
    ) {
        convert(source, from: from, to: to, overflow: overflow, level: .best, into: &destination)
    }

    /// The same with the instructions of one level, to compare levels.
    ///
    /// - Precondition: the processor has the instructions too.
    public static func convert(
        _ source: RawSpan, from: DType, to: DType, overflow: Overflow = .special, level: KernelLevel,
        into destination: inout MutableRawSpan
    ) {
        precondition(isSupported(from: from, to: to))
        precondition(level.isAvailable)
        let count = ElementCodec.valueCount(from, byteCount: source.byteCount)
        precondition(count != nil && count == ElementCodec.valueCount(to, byteCount: destination.byteCount))
        if from == to { return copyBytes(from: source, to: &destination) }
        if let loop = FloatLoop(from: from, to: to, overflow, level) {
            return loop.run(source, into: &destination)
        }
        let step = Step(from: from, to: to)
        if from.isInteger, to.isInteger {
            step.run(source, into: &destination, through: Int64(0)) { (source, values: inout _) in
                ElementCodec.decode(source, from, into: &values)
            } encode: { (values, destination: inout _) in
                ElementCodec.encode(values, as: to, into: &destination)
            }
        } else if from == .f64 && to.isInteger || from.isInteger && to == .f64 {
            step.run(source, into: &destination, through: 0.0) { (source, values: inout _) in
                ElementCodec.decode(source, from, into: &values)
            } encode: { (values, destination: inout _) in
                ElementCodec.encode(values, as: to, overflow: overflow, into: &destination)
            }
        } else {
            step.run(source, into: &destination, through: Float(0)) { (source, values: inout _) in
                ElementCodec.decode(source, from, level, into: &values)
            } encode: { (values, destination: inout _) in
                ElementCodec.encode(values, as: to, overflow, level, into: &destination)
            }
        }
    }
}

/// A conversion in two steps by way of a block of values that stays in the processor's nearest cache.
private struct Step {
    let from: DType
    let to: DType

    /// Elements of a block; such a number of any dtype fills bytes.
    private static var blockCount: Int { 2048 }

    @inline(__always)
    func run<Value: BitwiseCopyable>(
        _ source: RawSpan, into destination: inout MutableRawSpan, through zero: Value,
        decode: (RawSpan, inout MutableSpan<Value>) -> Void,
        encode: (Span<Value>, inout MutableRawSpan) -> Void
    ) {
        var block = InlineArray<2048, Value>(repeating: zero)
        let total = source.byteCount * 8 / from.bitWidth
        for start in stride(from: 0, to: total, by: Self.blockCount) {
            let end = min(total, start + Self.blockCount)
            let part = source.extracting(start * from.bitWidth / 8..<end * from.bitWidth / 8)
            var all = block.mutableSpan
            var values = all._mutatingExtracting(0..<end - start)
            decode(part, &values)
            var target = destination._mutatingExtracting(start * to.bitWidth / 8..<end * to.bitWidth / 8)
            encode(block.span.extracting(0..<end - start), &target)
        }
    }
}
