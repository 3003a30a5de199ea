import TensorCore
import TestSupport
import Testing

private func floats(_ bytes: [UInt8], _ dtype: DType) -> [Float] {
    var result = [Float](repeating: 0, count: ElementCodec.valueCount(dtype, byteCount: bytes.count) ?? 0)
    var span = result.mutableSpan
    ElementCodec.decode(RawSpan(_elements: bytes.span), dtype, into: &span)
    return result
}

private func doubles(_ bytes: [UInt8], _ dtype: DType, from start: Int = 0) -> [Double] {
    let count = bytes.count - start
    var result = [Double](repeating: 0, count: ElementCodec.valueCount(dtype, byteCount: count) ?? 0)
    var span = result.mutableSpan
    let source = RawSpan(_elements: bytes.span).extracting(start..<bytes.count)
    ElementCodec.decode(source, dtype, into: &span)
    return result
}

private func encoded(_ values: [Float], _ dtype: DType, _ overflow: Overflow = .special) -> [UInt8] {
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

private func bytes<T: BitwiseCopyable>(of values: [T]) -> [UInt8] {
    values.withUnsafeBytes { Array($0) }
}

@Suite("Elements of every dtype as Float and Double")
struct ElementCodecTests {
    /// F32 patterns at, just above, just below and half-way between all values of 16 bits: every number at which
    /// rounding to a narrower float changes is among them.
    static let sweep: [Float] = (0...UInt16.max).flatMap { high in
        [0, 1, 0x1000, 0x7FFF, 0x8000, 0x8001, 0xFFFF].map { low in
            Float(bitPattern: UInt32(high) << 16 | low)
        }
    }

    /// Half-way points of F16 and random numbers.
    static let others: [Float] = {
        var generator = SeededGenerator(seed: 3)
        var result: [Float] = []
        for high in 0..<UInt32(1 << 19) where high % 7 == 0 {
            for low in [0xFFF, 0x1000, 0x1001] as [UInt32] {
                result.append(Float(bitPattern: high << 13 | low))
            }
        }
        for _ in 0..<50_000 { result.append(Float(bitPattern: UInt32(truncatingIfNeeded: generator.next()))) }
        return result + [
            0, -0.0, 0.5, 1.5, 2.5, -0.5, -1.5, 127.5, 128, -128.5, 255.5, 65535.5, 2_147_483_648,
        ]
            + [Float](repeating: 0, count: (4 - (result.count + 13) % 4) % 4)
    }()

    private func patterns(of dtype: DType) -> [UInt8] {
        var generator = SeededGenerator(seed: 5)
        switch dtype.bitWidth {
        case 4, 8: return (0...255).map { $0 }
        case 6:
            // All pairs of six bits in every place.
            return generator.bytes(3 * 10_000)
        case 16: return (0...UInt16.max).flatMap { [UInt8(truncatingIfNeeded: $0), UInt8($0 >> 8)] }
        default: return generator.bytes(80_000) + [UInt8](repeating: 0xFF, count: 8)
        }
    }

    @Test(.enabled(if: Oracle.isAvailable), arguments: DType.allCases)
    func `decoding agrees with NumPy and ml_dtypes`(_ dtype: DType) throws {
        let input = patterns(of: dtype)
        let directory = try TemporaryDirectory()
        try directory.write("bytes", input)
        try directory.write("values32", bytes(of: floats(input, dtype)))
        try directory.write("values64", bytes(of: doubles(input, dtype)))
        for values in ["values32", "values64"] {
            try Oracle.run(
                "elements.py", "decode", dtype.name, directory.file(values), directory.file("bytes"))
        }
    }

    @Test(
        .enabled(if: Oracle.isAvailable),
        arguments: DType.allCases, [Overflow.special, .saturate])
    func `encoding agrees with NumPy and ml_dtypes`(_ dtype: DType, _ overflow: Overflow) throws {
        let directory = try TemporaryDirectory()
        let isNarrow = dtype.bitWidth <= 8 && dtype > .bool && ![.u8, .i8].contains(dtype)
        let floats = isNarrow ? Self.sweep : Self.others
        var doubles = floats.map { Double($0) }
        if dtype == .f64 { doubles += doubles.map { $0.nextUp } }
        try directory.write("values32", bytes(of: floats))
        try judge("values32", encoded(floats, dtype, overflow), dtype, overflow, in: directory)
        try directory.write("values64", bytes(of: doubles))
        try judge("values64", encoded(doubles, dtype, overflow), dtype, overflow, in: directory)
    }

    private func judge(
        _ values: String, _ bytes: [UInt8], _ dtype: DType, _ overflow: Overflow,
        in directory: TemporaryDirectory
    ) throws {
        try directory.write("bytes", bytes)
        try Oracle.run(
            "elements.py", overflow == .special ? "special" : "saturate", dtype.name, directory.file(values),
            directory.file("bytes"))
    }

    @Test(arguments: DType.allCases.filter { $0.bitWidth <= 16 && $0 != .bool })
    func `every pattern survives decoding and encoding`(_ dtype: DType) throws {
        let bytes = patterns(of: dtype)
        let floats = floats(bytes, dtype)
        let again = encoded(floats, dtype)
        if floats.contains(where: \.isNaN) {
            let width = dtype.bitWidth / 8
            for index in floats.indices where !floats[index].isNaN {
                let place = index * width..<(index + 1) * width
                if bytes[place] != again[place] { Issue.record("\(floats[index])") }
            }
        } else {
            #expect(bytes == again)
        }
    }

    @Test func `the first F4 of a byte is in its low bits and F6 is a stream from the lowest bit`() {
        #expect(floats([0x42], .f4) == [1, 2])
        // 1.0 is 0b001000 in E2M3, 2.0 is 0b010000, 4.0 is 0b011000, 0.125 is 0b000001.
        let bits: UInt32 = 0b00_1000 | 0b01_0000 << 6 | 0b01_1000 << 12 | 0b00_0001 << 18
        let bytes = (0..<3).map { UInt8(truncatingIfNeeded: bits >> (8 * UInt32($0))) }
        #expect(floats(bytes, .f6E2M3) == [1, 2, 4, 0.125])
    }

    @Test func `bytes at an odd address decode and encode like aligned ones`() {
        var generator = SeededGenerator(seed: 11)
        let bytes = generator.bytes(801)
        for dtype in [DType.f16, .i32, .f64, .u64, .c64] {
            let shifted = doubles(bytes, dtype, from: 1)
            #expect(shifted.map(\.bitPattern) == doubles(Array(bytes[1...]), dtype).map(\.bitPattern))
        }
    }

    @Test func `bytes that are no whole number of elements hold none`() {
        #expect(ElementCodec.valueCount(.f6E3M2, byteCount: 4) == nil)
        #expect(ElementCodec.valueCount(.f32, byteCount: 7) == nil)
        #expect(ElementCodec.valueCount(.f4, byteCount: 3) == 6)
        #expect(ElementCodec.valueCount(.c64, byteCount: 16) == 4)
    }
}
