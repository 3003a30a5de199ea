import TensorCore
import Testing

private func floats(_ bytes: [UInt8], _ dtype: DType) -> [Float] {
    var result = [Float](repeating: 0, count: ElementCodec.valueCount(dtype, byteCount: bytes.count) ?? 0)
    var span = result.mutableSpan
    ElementCodec.decode(RawSpan(_elements: bytes.span), dtype, into: &span)
    return result
}

private func doubles(_ bytes: [UInt8], _ dtype: DType) -> [Double] {
    var result = [Double](repeating: 0, count: ElementCodec.valueCount(dtype, byteCount: bytes.count) ?? 0)
    var span = result.mutableSpan
    ElementCodec.decode(RawSpan(_elements: bytes.span), dtype, into: &span)
    return result
}

private func encoded(_ values: [Float], _ dtype: DType, _ overflow: Overflow) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: values.count * (dtype == .c64 ? 32 : dtype.bitWidth) / 8)
    var span = bytes.mutableSpan
    var raw = MutableRawSpan(_elements: &span)
    ElementCodec.encode(values.span, as: dtype, overflow: overflow, into: &raw)
    return bytes
}

private func encoded(_ values: [Double], _ dtype: DType, _ overflow: Overflow) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: values.count * (dtype == .c64 ? 32 : dtype.bitWidth) / 8)
    var span = bytes.mutableSpan
    var raw = MutableRawSpan(_elements: &span)
    ElementCodec.encode(values.span, as: dtype, overflow: overflow, into: &raw)
    return bytes
}

private func bytes<T: BitwiseCopyable>(of values: [T]) -> [UInt8] { values.withUnsafeBytes { Array($0) } }

/// The conversions themselves are judged in `ElementCastTests`.
@Suite("Elements of every dtype as Float and Double")
struct ElementCodecTests {
    @Test(arguments: DType.allCases)
    func `values are the elements converted to F32 and F64`(_ dtype: DType) {
        // The parts of a complex number are F32.
        let from = dtype == .c64 ? .f32 : dtype
        let input = CastInputs.bytes(of: from)
        #expect(bytes(of: floats(input, dtype)) == converted(input, from: from, to: .f32))
        #expect(bytes(of: doubles(input, dtype)) == converted(input, from: from, to: .f64))
    }

    @Test(arguments: DType.allCases, Overflow.allCases)
    func `elements are the values converted from F32 and F64`(_ dtype: DType, _ overflow: Overflow) {
        let to = dtype == .c64 ? .f32 : dtype
        let halves = CastInputs.bytes(of: .f16)
        let floats = floats(halves, .f16) + [1e30, -.infinity, 0.1, -0]
        let doubles = doubles(halves, .f16) + [1e300, -.infinity, 0.1, -0]
        if to != .f32 {
            #expect(
                encoded(floats, dtype, overflow) == converted(bytes(of: floats), from: .f32, to: to, overflow)
            )
        }
        if to != .f64 {
            #expect(
                encoded(doubles, dtype, overflow)
                    == converted(bytes(of: doubles), from: .f64, to: to, overflow))
        }
    }

    @Test func `an infinite value saturates in its own dtype too`() {
        let largest = Float.greatestFiniteMagnitude
        #expect(encoded([-.infinity, 1] as [Float], .f32, .saturate) == bytes(of: [-largest, 1]))
        #expect(encoded([.infinity, 1] as [Float], .c64, .saturate) == bytes(of: [largest, 1]))
        #expect(
            encoded([-.infinity, 1] as [Double], .f64, .saturate)
                == bytes(of: [-Double.greatestFiniteMagnitude, 1]))
        #expect(encoded([.infinity, 1] as [Float], .f32, .special) == bytes(of: [Float.infinity, 1]))
    }

    @Test(arguments: DType.allCases.filter { $0.bitWidth <= 16 && $0 != .bool })
    func `every pattern survives decoding and encoding`(_ dtype: DType) {
        let input = CastInputs.bytes(of: dtype)
        let values = floats(input, dtype)
        let again = encoded(values, dtype, .special)
        // Any NaN will do for a NaN.
        #expect(
            bytes(of: floats(again, dtype).map { $0.isNaN ? 0 : $0 })
                == bytes(of: values.map { $0.isNaN ? 0 : $0 }))
        if !values.contains(where: \.isNaN) { #expect(again == input) }
    }

    @Test func `the first F4 of a byte is in its low bits and F6 is a stream from the lowest bit`() {
        #expect(floats([0x42], .f4) == [1, 2])
        // 1.0 is 0b001000 in E2M3, 2.0 is 0b010000, 4.0 is 0b011000, 0.125 is 0b000001.
        let bits: UInt32 = 0b00_1000 | 0b01_0000 << 6 | 0b01_1000 << 12 | 0b00_0001 << 18
        let bytes = (0..<3).map { UInt8(truncatingIfNeeded: bits >> (8 * UInt32($0))) }
        #expect(floats(bytes, .f6E2M3) == [1, 2, 4, 0.125])
    }

    @Test func `bytes that are no whole number of elements hold none`() {
        #expect(ElementCodec.valueCount(.f6E3M2, byteCount: 4) == nil)
        #expect(ElementCodec.valueCount(.f32, byteCount: 7) == nil)
        #expect(ElementCodec.valueCount(.f4, byteCount: 3) == 6)
        #expect(ElementCodec.valueCount(.c64, byteCount: 16) == 4)
    }
}
