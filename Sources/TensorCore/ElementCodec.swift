/// Conversion of the elements of every dtype to `Float` and `Double`, and back.
///
/// An element is one value, but for C64, whose real and imaginary parts are two. Elements are little-endian;
/// of the dtypes that share bytes, F4 keeps the first of two in the low bits of a byte, and F6 fills three
/// bytes with four, a stream of bits that begins with the lowest of the first byte.
///
/// Decoding is exact wherever the value fits, and else rounds to nearest, ties to even (I32, U32, I64, U64, F64
/// to `Float`; I64, U64 to `Double`). BOOL gives 1 for every byte but 0. Encoding follows the rules of
/// ``ElementCast``: a `Float` is F32 and a `Double` F64.
public enum ElementCodec {
    /// The number of values in `byteCount` bytes of `dtype`, or nil where they are no whole number of elements.
    ///
    /// Whole bytes of F4 and F6 hold two elements each and four in three.
    public static func valueCount(_ dtype: DType, byteCount: Int) -> Int? {
        let (bits, overflow) = byteCount.multipliedReportingOverflow(by: 8)
        let width = dtype == .c64 ? 32 : dtype.bitWidth
        return overflow || bits % dtype.bitWidth != 0 ? nil : bits / width
    }

    /// Decodes all elements of `source`.
    ///
    /// - Parameters:
    ///   - source: whole elements, at any address.
    ///   - dtype: their dtype.
    ///   - values: has room for exactly ``valueCount(_:byteCount:)`` values; the call traps where it has not.
    public static func decode(_ source: RawSpan, _ dtype: DType, into values: inout MutableSpan<Float>) {
        decode(source, dtype, .best, into: &values)
    }

    /// Decodes all elements of `source`.
    ///
    /// - Parameters:
    ///   - source: whole elements, at any address.
    ///   - dtype: their dtype.
    ///   - values: has room for exactly ``valueCount(_:byteCount:)`` values; the call traps where it has not.
    public static func decode(_ source: RawSpan, _ dtype: DType, into values: inout MutableSpan<Double>) {
        precondition(valueCount(dtype, byteCount: source.byteCount) == values.count)
        switch dtype {
        case .bool: map(source, UInt8.self, &values) { $0 == 0 ? 0 : 1 }
        case .u8: map(source, UInt8.self, &values) { Double($0) }
        case .i8: map(source, Int8.self, &values) { Double($0) }
        case .u16: map(source, UInt16.self, &values) { Double($0) }
        case .i16: map(source, Int16.self, &values) { Double($0) }
        case .u32: map(source, UInt32.self, &values) { Double($0) }
        case .i32: map(source, Int32.self, &values) { Double($0) }
        case .u64: map(source, UInt64.self, &values) { Double($0) }
        case .i64: map(source, Int64.self, &values) { Double($0) }
        default:
            var bytes = MutableRawSpan(_elements: &values)
            ElementCast.convert(source, from: dtype == .c64 ? .f32 : dtype, to: .f64, into: &bytes)
        }
    }

    static func decode(
        _ source: RawSpan, _ dtype: DType, _ level: KernelLevel, into values: inout MutableSpan<Float>
    ) {
        precondition(valueCount(dtype, byteCount: source.byteCount) == values.count)
        switch dtype {
        case .bool: map(source, UInt8.self, &values) { $0 == 0 ? 0 : 1 }
        case .u8: map(source, UInt8.self, &values) { Float($0) }
        case .i8: map(source, Int8.self, &values) { Float($0) }
        case .u16: map(source, UInt16.self, &values) { Float($0) }
        case .i16: map(source, Int16.self, &values) { Float($0) }
        case .u32: map(source, UInt32.self, &values) { Float($0) }
        case .i32: map(source, Int32.self, &values) { Float($0) }
        case .u64: map(source, UInt64.self, &values) { Float($0) }
        case .i64: map(source, Int64.self, &values) { Float($0) }
        default:
            var bytes = MutableRawSpan(_elements: &values)
            guard let loop = FloatLoop(from: dtype == .c64 ? .f32 : dtype, to: .f32, .special, level) else {
                preconditionFailure("\(dtype.name) is no float")
            }
            loop.run(source, into: &bytes)
        }
    }

    /// Decodes the elements of integer dtypes, and BOOL; what is larger than an `Int64` becomes the largest.
    static func decode(_ source: RawSpan, _ dtype: DType, into values: inout MutableSpan<Int64>) {
        precondition(valueCount(dtype, byteCount: source.byteCount) == values.count)
        switch dtype {
        case .bool: map(source, UInt8.self, &values) { $0 == 0 ? 0 : 1 }
        case .u8: map(source, UInt8.self, &values) { Int64($0) }
        case .i8: map(source, Int8.self, &values) { Int64($0) }
        case .u16: map(source, UInt16.self, &values) { Int64($0) }
        case .i16: map(source, Int16.self, &values) { Int64($0) }
        case .u32: map(source, UInt32.self, &values) { Int64($0) }
        case .i32: map(source, Int32.self, &values) { Int64($0) }
        case .u64: map(source, UInt64.self, &values) { Int64(clamping: $0) }
        case .i64: map(source, Int64.self, &values) { $0 }
        default: preconditionFailure("\(dtype.name) is no integer")
        }
    }

    /// Decodes elements of whole bytes; a typed view where they are aligned, byte-wise loads elsewhere.
    @inline(__always)
    private static func map<S: FixedWidthInteger & BitwiseCopyable, V: BitwiseCopyable>(
        _ source: RawSpan, _: S.Type, _ values: inout MutableSpan<V>, _ body: (S) -> V
    ) {
        if let input = source.view(as: S.self) {
            precondition(input.count == values.count)
            for index in input.indices { values[index] = body(input[index].littleEndian) }
        } else {
            let size = MemoryLayout<S>.size
            for index in values.indices {
                values[index] = body(source.load(littleEndian: S.self, at: index * size))
            }
        }
    }
}
