/// Conversion of whole spans from one dtype to another.
///
/// Rounds to nearest, ties to even. What becomes of numbers too large for the target is chosen by ``Overflow``;
/// NaN stays NaN where the target has one.
public enum ElementCast {
    /// True where ``convert(_:from:to:overflow:into:)`` can make the conversion.
    ///
    /// Complex numbers convert to nothing else.
    public static func isSupported(from: DType, to: DType) -> Bool {
        from == to || (from != .c64 && to != .c64)
    }

    /// Converts all elements of `source` into `destination`, little-endian on both sides.
    ///
    /// - Precondition: the conversion is supported, `source` holds whole elements, and `destination` has
    ///   exactly the room that they need.
    public static func convert(
        _ source: RawSpan, from: DType, to: DType, overflow: Overflow = .special,
        into destination: inout MutableRawSpan
    ) {
        precondition(isSupported(from: from, to: to))
        if from == to { return copyBytes(from: source, to: &destination) }
        if overflow == .special, FloatCast.isSupported(from: from, to: to) {
            return FloatCast.convert(source, from: from, to: to, into: &destination)
        }
        guard let count = ElementCodec.valueCount(from, byteCount: source.byteCount) else {
            preconditionFailure("the source splits an element")
        }
        var values = [Double](repeating: 0, count: count)
        var span = values.mutableSpan
        ElementCodec.decode(source, from, into: &span)
        ElementCodec.encode(values.span, as: to, overflow: overflow, into: &destination)
    }
}
