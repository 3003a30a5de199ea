/// What to make of a number that is larger than the largest finite one of a dtype.
public enum Overflow: Sendable, CaseIterable {
    /// Infinity; where the dtype has none, NaN; where it has neither (F6, F4), the largest. As torch and
    /// ml_dtypes do it. Zero becomes NaN in F8_E8M0, which has no zero.
    case special
    /// The largest finite number, for infinity too. Zero becomes the smallest number of F8_E8M0.
    case saturate
}

/// Conversion of the elements of every dtype to `Float` and `Double`, and back.
///
/// An element is one value, but for C64, whose real and imaginary parts are two. Elements are little-endian;
/// of the dtypes that share bytes, F4 keeps the first of two in the low bits of a byte, and F6 fills three
/// bytes with four, a stream of bits that begins with the lowest of the first byte.
///
/// Decoding is exact wherever the value fits, and else rounds to nearest, ties to even (I32, U32, I64, U64, F64
/// to `Float`; I64, U64 to `Double`). BOOL gives 1 for every byte but 0. Encoding rounds to nearest, ties to
/// even. To integers it rounds in the same way, holds what is beyond at the nearest end of the range and makes NaN
/// zero; to BOOL everything but zero is true. NaN stays NaN, and becomes a zero in F6 and F4, which have none.
/// From `Double` to dtypes narrower than F64 (integers apart) it goes through `Float`, as torch and ml_dtypes.
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
        case .f16: map(source, UInt16.self, &values) { Float(bitPattern: FloatBits.f32(f16: $0)) }
        case .bf16: map(source, UInt16.self, &values) { Float(bitPattern: FloatBits.f32(bf16: $0)) }
        case .f32, .c64: map(source, UInt32.self, &values) { Float(bitPattern: $0) }
        case .f64: map(source, UInt64.self, &values) { Float(Double(bitPattern: $0)) }
        case .f8E5M2, .f8E4M3, .f8E8M0, .f8E4M3FNUZ, .f8E5M2FNUZ:
            let table = ValueTables.of(dtype).span
            map(source, UInt8.self, &values) { table[Int($0)] }
        case .f4: nibbles(source, ValueTables.of(dtype).span, &values) { $0 }
        case .f6E2M3, .f6E3M2: sextets(source, ValueTables.of(dtype).span, &values) { $0 }
        }
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
        case .f16: map(source, UInt16.self, &values) { Double(Float(bitPattern: FloatBits.f32(f16: $0))) }
        case .bf16: map(source, UInt16.self, &values) { Double(Float(bitPattern: FloatBits.f32(bf16: $0))) }
        case .f32, .c64: map(source, UInt32.self, &values) { Double(Float(bitPattern: $0)) }
        case .f64: map(source, UInt64.self, &values) { Double(bitPattern: $0) }
        case .f8E5M2, .f8E4M3, .f8E8M0, .f8E4M3FNUZ, .f8E5M2FNUZ:
            let table = ValueTables.of(dtype).span
            map(source, UInt8.self, &values) { Double(table[Int($0)]) }
        case .f4: nibbles(source, ValueTables.of(dtype).span, &values) { Double($0) }
        case .f6E2M3, .f6E3M2: sextets(source, ValueTables.of(dtype).span, &values) { Double($0) }
        }
    }
}

// MARK: - Loops

extension ElementCodec {
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

    @inline(__always)
    private static func nibbles<V: BitwiseCopyable>(
        _ source: RawSpan, _ table: Span<Float>, _ values: inout MutableSpan<V>, _ body: (Float) -> V
    ) {
        for index in 0..<source.byteCount {
            let pair = Int(source[index])
            values[2 * index] = body(table[pair & 15])
            values[2 * index + 1] = body(table[pair >> 4])
        }
    }

    @inline(__always)
    private static func sextets<V: BitwiseCopyable>(
        _ source: RawSpan, _ table: Span<Float>, _ values: inout MutableSpan<V>, _ body: (Float) -> V
    ) {
        for group in 0..<source.byteCount / 3 {
            let bits =
                Int(source[3 * group]) | Int(source[3 * group + 1]) << 8 | Int(source[3 * group + 2]) << 16
            for offset in 0..<4 { values[4 * group + offset] = body(table[bits >> (6 * offset) & 63]) }
        }
    }
}

/// The values of all patterns of a dtype of at most eight bits.
enum ValueTables {
    private static let e5m2 = table(.f8E5M2)
    private static let e4m3 = table(.f8E4M3)
    private static let e8m0 = table(.f8E8M0)
    private static let e5m2fnuz = table(.f8E5M2FNUZ)
    private static let e4m3fnuz = table(.f8E4M3FNUZ)
    private static let e2m3 = table(.f6E2M3)
    private static let e3m2 = table(.f6E3M2)
    private static let e2m1 = table(.f4)

    /// The values in the order of their patterns.
    static func of(_ dtype: DType) -> [Float] {
        switch dtype {
        case .f8E5M2: e5m2
        case .f8E4M3: e4m3
        case .f8E8M0: e8m0
        case .f8E5M2FNUZ: e5m2fnuz
        case .f8E4M3FNUZ: e4m3fnuz
        case .f6E2M3: e2m3
        case .f6E3M2: e3m2
        default: e2m1
        }
    }

    private static func table(_ dtype: DType) -> [Float] {
        (0..<1 << dtype.bitWidth).map { pattern in
            SmallFloat(dtype)?.value(of: UInt8(pattern)) ?? PowerOfTwo.value(of: UInt8(pattern))
        }
    }
}
