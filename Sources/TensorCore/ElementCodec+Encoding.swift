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
        precondition(valueCount(dtype, byteCount: destination.byteCount) == values.count)
        switch dtype {
        case .bool: map(values, &destination, UInt8.self) { $0 == 0 ? 0 : 1 }
        case .u8: map(values, &destination, UInt8.self) { integer(Double($0)) }
        case .i8: map(values, &destination, Int8.self) { integer(Double($0)) }
        case .u16: map(values, &destination, UInt16.self) { integer(Double($0)) }
        case .i16: map(values, &destination, Int16.self) { integer(Double($0)) }
        case .u32: map(values, &destination, UInt32.self) { integer(Double($0)) }
        case .i32: map(values, &destination, Int32.self) { integer(Double($0)) }
        case .u64: map(values, &destination, UInt64.self) { integer(Double($0)) }
        case .i64: map(values, &destination, Int64.self) { integer(Double($0)) }
        case .f64:
            let largest = overflow == .saturate ? Double.greatestFiniteMagnitude : .infinity
            map(values, &destination, UInt64.self) { limited(Double($0), to: largest).bitPattern }
        default: encodeFloat(values, as: dtype, overflow, into: &destination) { $0.bitPattern }
        }
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
            map(values, &destination, UInt64.self) { limited($0, to: largest).bitPattern }
        default: encodeFloat(values, as: dtype, overflow, into: &destination) { Float($0).bitPattern }
        }
    }
}

extension ElementCodec {
    /// Encodes floating dtypes narrower than F64 from the bits of a `Float`.
    @inline(__always)
    private static func encodeFloat<V: BitwiseCopyable>(
        _ values: Span<V>, as dtype: DType, _ overflow: Overflow, into destination: inout MutableRawSpan,
        _ bits: (V) -> UInt32
    ) {
        let saturates = overflow == .saturate
        switch dtype {
        case .f32, .c64:
            let infinity: UInt32 = saturates ? 0x7F7F_FFFF : 0x7F80_0000
            map(values, &destination, UInt32.self) { limited(bits($0), 0x7F80_0000, to: infinity) }
        case .f16:
            let infinity: UInt16 = saturates ? 0x7BFF : 0x7C00
            map(values, &destination, UInt16.self) {
                limited(FloatBits.f16(f32: bits($0)), 0x7C00, to: infinity)
            }
        case .bf16:
            let infinity: UInt16 = saturates ? 0x7F7F : 0x7F80
            map(values, &destination, UInt16.self) {
                limited(FloatBits.bf16(f32: bits($0)), 0x7F80, to: infinity)
            }
        case .f8E8M0:
            let (beyond, zero): (UInt32, UInt32) = saturates ? (0xFE, 0) : (0xFF, 0xFF)
            map(values, &destination, UInt8.self) {
                PowerOfTwo.pattern(of: bits($0), beyond: beyond, zero: zero)
            }
        default:
            guard let format = SmallFloat(dtype) else { preconditionFailure("\(dtype.name) is no float") }
            let beyond = saturates ? format.largest : format.overflow
            switch dtype.bitWidth {
            case 4: nibbles(values, &destination) { format.pattern(of: bits($0), beyond: beyond) }
            case 6: sextets(values, &destination) { format.pattern(of: bits($0), beyond: beyond) }
            default:
                map(values, &destination, UInt8.self) { format.pattern(of: bits($0), beyond: beyond) }
            }
        }
    }

    /// `pattern`, with `replacement` for an infinity of either sign.
    @inline(__always)
    private static func limited<T: FixedWidthInteger>(_ pattern: T, _ infinity: T, to replacement: T) -> T {
        let sign = pattern & (1 << (T.bitWidth - 1))
        return pattern ^ sign == infinity ? replacement | sign : pattern
    }

    @inline(__always)
    private static func limited(_ value: Double, to largest: Double) -> Double {
        value.magnitude == .infinity ? Double(signOf: value, magnitudeOf: largest) : value
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
}

// MARK: - Loops

extension ElementCodec {
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

    @inline(__always)
    private static func nibbles<V: BitwiseCopyable>(
        _ values: Span<V>, _ destination: inout MutableRawSpan, _ body: (V) -> UInt8
    ) {
        for index in 0..<values.count / 2 {
            let pair = body(values[2 * index]) | body(values[2 * index + 1]) << 4
            destination.storeBytes(of: pair, toByteOffset: index, as: UInt8.self)
        }
    }

    @inline(__always)
    private static func sextets<V: BitwiseCopyable>(
        _ values: Span<V>, _ destination: inout MutableRawSpan, _ body: (V) -> UInt8
    ) {
        for group in 0..<values.count / 4 {
            var bits: UInt32 = 0
            for offset in 0..<4 { bits |= UInt32(body(values[4 * group + offset])) << UInt32(6 * offset) }
            for offset in 0..<3 {
                let byte = UInt8(truncatingIfNeeded: bits >> UInt32(8 * offset))
                destination.storeBytes(of: byte, toByteOffset: 3 * group + offset, as: UInt8.self)
            }
        }
    }
}
