extension ElementCodec {
    /// Encodes `values` as elements of `dtype`.
    ///
    /// - Parameters:
    ///   - values: the values, two for each element of C64.
    ///   - dtype: the dtype to make.
    ///   - overflow: what to make of numbers too large for a floating dtype.
    ///   - destination: has room for exactly the elements, which fill whole bytes; the call traps where it has
    ///     not.
    public static func encode(
        _ values: Span<Float>, as dtype: DType, overflow: Overflow = .special,
        into destination: inout MutableRawSpan
    ) {
        encode(values, as: dtype, overflow, .best, into: &destination)
    }

    /// Encodes `values` as elements of `dtype`.
    ///
    /// - Parameters:
    ///   - values: the values, two for each element of C64.
    ///   - dtype: the dtype to make.
    ///   - overflow: what to make of numbers too large for a floating dtype.
    ///   - destination: has room for exactly the elements, which fill whole bytes; the call traps where it has
    ///     not.
    public static func encode(
        _ values: Span<Double>, as dtype: DType, overflow: Overflow = .special,
        into destination: inout MutableRawSpan
    ) {
        precondition(valueCount(dtype, byteCount: destination.byteCount) == values.count)
        switch dtype {
        case .bool: map(values, &destination, UInt8.self) { $0 == 0 ? 0 : 1 }
        case .u8: map(values, &destination, UInt8.self) { integer($0) }
        case .i8: map(values, &destination, Int8.self) { integer($0) }
        case .u16: map(values, &destination, UInt16.self) { integer($0) }
        case .i16: map(values, &destination, Int16.self) { integer($0) }
        case .u32: map(values, &destination, UInt32.self) { integer($0) }
        case .i32: map(values, &destination, Int32.self) { integer($0) }
        case .u64: map(values, &destination, UInt64.self) { integer($0) }
        case .i64: map(values, &destination, Int64.self) { integer($0) }
        case .f64:
            let largest = overflow == .saturate ? Double.greatestFiniteMagnitude : .infinity
            map(values, &destination, UInt64.self) {
                ($0.magnitude > largest ? Double(signOf: $0, magnitudeOf: largest) : $0).bitPattern
            }
        default:
            ElementCast.convert(
                values.bytesView, from: .f64, to: dtype == .c64 ? .f32 : dtype, overflow: overflow,
                into: &destination)
        }
    }

    static func encode(
        _ values: Span<Float>, as dtype: DType, _ overflow: Overflow, _ level: KernelLevel,
        into destination: inout MutableRawSpan
    ) {
        precondition(valueCount(dtype, byteCount: destination.byteCount) == values.count)
        switch dtype {
        case .bool: map(values, &destination, UInt8.self) { $0 == 0 ? 0 : 1 }
        case .u8: map(values, &destination, UInt8.self) { integer($0) }
        case .i8: map(values, &destination, Int8.self) { integer($0) }
        case .u16: map(values, &destination, UInt16.self) { integer($0) }
        case .i16: map(values, &destination, Int16.self) { integer($0) }
        case .u32: map(values, &destination, UInt32.self) { integer($0) }
        case .i32: map(values, &destination, Int32.self) { integer($0) }
        case .u64: map(values, &destination, UInt64.self) { integer($0) }
        case .i64: map(values, &destination, Int64.self) { integer($0) }
        default:
            guard let loop = FloatLoop(from: .f32, to: dtype == .c64 ? .f32 : dtype, overflow, level) else {
                preconditionFailure("\(dtype.name) is no float")
            }
            loop.run(values.bytesView, into: &destination)
        }
    }

    /// Encodes `values` as elements of an integer dtype, or BOOL; what is beyond its range becomes the nearest end.
    static func encode(_ values: Span<Int64>, as dtype: DType, into destination: inout MutableRawSpan) {
        precondition(valueCount(dtype, byteCount: destination.byteCount) == values.count)
        switch dtype {
        case .bool: map(values, &destination, UInt8.self) { $0 == 0 ? 0 : 1 }
        case .u8: map(values, &destination, UInt8.self) { .init(clamping: $0) }
        case .i8: map(values, &destination, Int8.self) { .init(clamping: $0) }
        case .u16: map(values, &destination, UInt16.self) { .init(clamping: $0) }
        case .i16: map(values, &destination, Int16.self) { .init(clamping: $0) }
        case .u32: map(values, &destination, UInt32.self) { .init(clamping: $0) }
        case .i32: map(values, &destination, Int32.self) { .init(clamping: $0) }
        case .u64: map(values, &destination, UInt64.self) { .init(clamping: $0) }
        case .i64: map(values, &destination, Int64.self) { $0 }
        default: preconditionFailure("\(dtype.name) is no integer")
        }
    }

    /// The nearest integer in range, ties to even; zero for NaN.
    @inline(__always)
    private static func integer<T: FixedWidthInteger>(_ value: Float) -> T {
        if T.bitWidth > 16 { return integer(Double(value)) }
        var limited = value < Float(T.min) ? Float(T.min) : value
        limited = limited > Float(T.max) ? Float(T.max) : limited
        limited = value == value ? limited : 0
        // Adding 1.5 · 2^23 rounds, and leaves the integer in the low bits.
        return T(truncatingIfNeeded: (limited + 0xC0_0000).bitPattern)
    }

    /// The nearest integer in range, ties to even; zero for NaN.
    @inline(__always)
    private static func integer<T: FixedWidthInteger>(_ value: Double) -> T {
        if T.bitWidth <= 32 {
            var limited = value < Double(T.min) ? Double(T.min) : value
            limited = limited > Double(T.max) ? Double(T.max) : limited
            limited = value == value ? limited : 0
            // Adding 1.5 · 2^52 rounds, and leaves the integer in the low bits.
            return T(truncatingIfNeeded: (limited + 0x18_0000_0000_0000).bitPattern)
        }
        let rounded = value.rounded(.toNearestOrEven)
        if rounded.isNaN { return 0 }
        // The upper end as a Double may be one more than the largest integer, which is why it is excluded.
        if rounded <= Double(T.min) { return .min }
        return rounded >= Double(T.max) ? .max : T(rounded)
    }

    @inline(__always)
    private static func map<V: BitwiseCopyable, D: FixedWidthInteger & BitwiseCopyable>(
        _ values: Span<V>, _ destination: inout MutableRawSpan, _: D.Type, _ body: (V) -> D
    ) {
        let aligned = unsafe destination.withUnsafeMutableBytes { bytes in
            Int(bitPattern: bytes.baseAddress) % MemoryLayout<D>.alignment == 0
        }
        if aligned {
            // Sound: the address is aligned, and the view covers the span.
            var output = unsafe destination._unsafeMutableView(as: D.self)
            precondition(output.count == values.count)
            for index in values.indices { output[index] = body(values[index]).littleEndian }
        } else {
            for index in values.indices {
                destination.storeBytes(
                    of: body(values[index]).littleEndian, toByteOffset: index * MemoryLayout<D>.size,
                    as: D.self)
            }
        }
    }
}
