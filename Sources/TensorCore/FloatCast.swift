/// Conversion of whole spans between F64, F32, F16 and BF16.
///
/// Rounds to nearest, ties to even; overflow gives infinity; NaN stays NaN. F64 to F16 or BF16 goes through F32,
/// as in torch and ml_dtypes, so that results are equal to theirs.
public enum FloatCast {
    /// True where ``convert(_:from:to:into:)`` can make the conversion.
    public static func isSupported(from: DType, to: DType) -> Bool {
        from.isCastableFloat && to.isCastableFloat
    }

    /// Converts all elements of `source` into `destination`, little-endian on both sides.
    ///
    /// - Precondition: the conversion is supported, `source` holds whole elements, and `destination` has
    ///   exactly the room that they need.
    public static func convert(
        _ source: RawSpan, from: DType, to: DType, into destination: inout MutableRawSpan
    ) {
        precondition(isSupported(from: from, to: to))
        let count = source.byteCount / from.byteWidth!
        precondition(count * from.byteWidth! == source.byteCount)
        precondition(count * to.byteWidth! == destination.byteCount)
        switch (from, to) {
        case _ where from == to: copyBytes(from: source, to: &destination)
        case (.f32, .bf16):
            map(source, &destination, UInt32.self, UInt16.self) { FloatBits.bf16(f32: $0) }
        case (.f32, .f16):
            map(source, &destination, UInt32.self, UInt16.self) { FloatBits.f16(f32: $0) }
        case (.f32, .f64):
            map(source, &destination, UInt32.self, UInt64.self) { Double(Float(bitPattern: $0)).bitPattern }
        case (.bf16, .f32):
            map(source, &destination, UInt16.self, UInt32.self) { FloatBits.f32(bf16: $0) }
        case (.bf16, .f16):
            map(source, &destination, UInt16.self, UInt16.self) {
                FloatBits.f16(f32: FloatBits.f32(bf16: $0))
            }
        case (.bf16, .f64):
            map(source, &destination, UInt16.self, UInt64.self) {
                Double(Float(bitPattern: FloatBits.f32(bf16: $0))).bitPattern
            }
        case (.f16, .f32):
            map(source, &destination, UInt16.self, UInt32.self) { FloatBits.f32(f16: $0) }
        case (.f16, .bf16):
            map(source, &destination, UInt16.self, UInt16.self) {
                FloatBits.bf16(f32: FloatBits.f32(f16: $0))
            }
        case (.f16, .f64):
            map(source, &destination, UInt16.self, UInt64.self) {
                Double(Float(bitPattern: FloatBits.f32(f16: $0))).bitPattern
            }
        case (.f64, .f32):
            map(source, &destination, UInt64.self, UInt32.self) { Float(Double(bitPattern: $0)).bitPattern }
        case (.f64, .bf16):
            map(source, &destination, UInt64.self, UInt16.self) {
                FloatBits.bf16(f32: Float(Double(bitPattern: $0)).bitPattern)
            }
        case (.f64, .f16):
            map(source, &destination, UInt64.self, UInt16.self) {
                FloatBits.f16(f32: Float(Double(bitPattern: $0)).bitPattern)
            }
        default: preconditionFailure("no conversion from \(from.name) to \(to.name)")
        }
    }

    /// Applies `body` to each element; typed views where the bytes are aligned, byte-wise loads elsewhere.
    @inline(__always)
    private static func map<S: FixedWidthInteger & BitwiseCopyable, D: FixedWidthInteger & BitwiseCopyable>(
        _ source: RawSpan, _ destination: inout MutableRawSpan, _: S.Type, _: D.Type, _ body: (S) -> D
    ) {
        let count = source.byteCount / MemoryLayout<S>.size
        let aligned = unsafe destination.withUnsafeMutableBytes { bytes in
            Int(bitPattern: bytes.baseAddress) % MemoryLayout<D>.alignment == 0
        }
        if aligned, let input = source.view(as: S.self) {
            var output = unsafe destination._unsafeMutableView(as: D.self)
            precondition(output.count == count && input.count == count)
            for index in input.indices { output[index] = body(input[index].littleEndian).littleEndian }
        } else {
            for index in 0..<count {
                let value = body(source.load(littleEndian: S.self, at: index * MemoryLayout<S>.size))
                destination.storeBytes(
                    of: value.littleEndian, toByteOffset: index * MemoryLayout<D>.size, as: D.self)
            }
        }
    }
}
