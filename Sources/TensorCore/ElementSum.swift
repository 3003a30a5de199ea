/// Elements added to others, each sum rounded to their dtype.
public enum ElementSum {
    /// Whether elements of a dtype can be added.
    public static func isSupported(_ dtype: DType) -> Bool {
        switch dtype {
        case .f4, .f6E2M3, .f6E3M2, .f8E8M0: false
        default: true
        }
    }

    /// Adds `values` to `sums`, which are as many elements; integers wrap around, and of truth values one that is
    /// true is enough.
    public static func add(_ values: RawSpan, _ dtype: DType, to sums: inout MutableRawSpan) {
        precondition(values.byteCount == sums.byteCount)
        switch dtype {
        case .bool: apply(UInt8.self, values, &sums) { $0 | $1 }
        case .u8, .i8: apply(UInt8.self, values, &sums, &+)
        case .u16, .i16: apply(UInt16.self, values, &sums, &+)
        case .u32, .i32: apply(UInt32.self, values, &sums, &+)
        case .u64, .i64: apply(UInt64.self, values, &sums, &+)
        case .f32, .c64:
            apply(UInt32.self, values, &sums) { (Float(bitPattern: $0) + Float(bitPattern: $1)).bitPattern }
        case .f64:
            apply(UInt64.self, values, &sums) { (Double(bitPattern: $0) + Double(bitPattern: $1)).bitPattern }
        default: addInFloat(values, dtype, to: &sums)
        }
    }

    @inline(__always)
    private static func apply<T: FixedWidthInteger & BitwiseCopyable>(
        _: T.Type, _ values: RawSpan, _ sums: inout MutableRawSpan, _ body: (T, T) -> T
    ) {
        let width = MemoryLayout<T>.size
        for offset in stride(from: 0, to: values.byteCount, by: width) {
            let sum = sums.bytes.load(littleEndian: T.self, at: offset)
            let value = values.load(littleEndian: T.self, at: offset)
            sums.storeBytes(of: body(sum, value).littleEndian, toByteOffset: offset, as: T.self)
        }
    }

    /// Small floats, by way of F32.
    private static func addInFloat(_ values: RawSpan, _ dtype: DType, to sums: inout MutableRawSpan) {
        let width = dtype.byteWidth ?? 1
        let block = 512
        var (a, b) = ([Float](repeating: 0, count: block), [Float](repeating: 0, count: block))
        for start in stride(from: 0, to: values.byteCount, by: block * width) {
            let bytes = start..<min(values.byteCount, start + block * width)
            let count = bytes.count / width
            a.removeLast(a.count - count)
            b.removeLast(b.count - count)
            decode(sums.bytes.extracting(bytes), dtype, into: &a)
            decode(values.extracting(bytes), dtype, into: &b)
            for index in 0..<count { a[index] += b[index] }
            var part = sums._mutatingExtracting(bytes)
            ElementCodec.encode(a.span, as: dtype, into: &part)
        }
    }

    private static func decode(_ bytes: RawSpan, _ dtype: DType, into values: inout [Float]) {
        var span = values.mutableSpan
        ElementCodec.decode(bytes, dtype, into: &span)
    }
}
