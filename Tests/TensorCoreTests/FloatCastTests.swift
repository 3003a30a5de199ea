import TensorCore
import TestSupport
import Testing

/// Converts an array of one dtype's bit patterns to another's.
private func convert<S: FixedWidthInteger & BitwiseCopyable, D: FixedWidthInteger & BitwiseCopyable>(
    _ input: [S], _ from: DType, _ to: DType, as: D.Type
) -> [D] {
    var output = [D](repeating: 0, count: input.count)
    var span = output.mutableSpan
    var raw = MutableRawSpan(_elements: &span)
    FloatCast.convert(RawSpan(_elements: input.span), from: from, to: to, into: &raw)
    return output
}

@Suite("Casts between floating dtypes")
struct FloatCastTests {
    /// Bit patterns around every boundary of F16 and BF16, and many others.
    static let floats: [UInt32] = {
        var generator = SeededGenerator(seed: 1)
        var result: [UInt32] = []
        for exponent in 0..<UInt32(256) {
            for mantissa in [
                0, 1, 0xFFF, 0x1000, 0x1001, 0x1FFF, 0x2000, 0x3000, 0x7FFF, 0x8000, 0x8001, 0xFFFF,
                0x1_0000, 0x1_7FFF, 0x1_8000, 0x7F_DFFF, 0x7F_E000, 0x7F_EFFF, 0x7F_F000, 0x7F_F001,
                0x7F_FFFF,
            ] as [UInt32] {
                for sign in [0, 1] as [UInt32] { result.append(sign << 31 | exponent << 23 | mantissa) }
            }
        }
        for _ in 0..<200_000 { result.append(UInt32(truncatingIfNeeded: generator.next())) }
        return result
    }()

    @Test func `every F16 becomes the F32 of the same value`() {
        let input = (0...UInt16.max).map { $0 }
        let output = convert(input, .f16, .f32, as: UInt32.self)
        for (bits, result) in zip(input, output) {
            let expected = Float(Float16(bitPattern: bits))
            if expected.isNaN {
                #expect(Float(bitPattern: result).isNaN)
            } else if expected.bitPattern != result {
                Issue.record("\(bits): \(result), expected \(expected.bitPattern)")
            }
        }
    }

    @Test func `F32 rounds to the nearest F16 and ties go to even`() {
        let output = convert(Self.floats, .f32, .f16, as: UInt16.self)
        for (bits, result) in zip(Self.floats, output) {
            let expected = Float16(Float(bitPattern: bits))
            if expected.isNaN {
                #expect(Float16(bitPattern: result).isNaN && result >> 15 == UInt16(bits >> 31))
            } else if expected.bitPattern != result {
                Issue.record("\(bits): \(result), expected \(expected.bitPattern)")
            }
        }
    }

    @Test func `F32 rounds to the nearest BF16 and ties go to even`() {
        let output = convert(Self.floats, .f32, .bf16, as: UInt16.self)
        for (bits, result) in zip(Self.floats, output) {
            let value = Float(bitPattern: bits)
            if value.isNaN {
                #expect(Float(bitPattern: UInt32(result) << 16).isNaN)
                continue
            }
            // The candidates are the truncated value and the next one away from zero.
            let low = bits & 0xFFFF_0000
            let rest = bits & 0xFFFF
            let up = rest > 0x8000 || (rest == 0x8000 && low & 0x1_0000 != 0)
            let expected = UInt16((up ? low &+ 0x1_0000 : low) >> 16)
            if expected != result { Issue.record("\(bits): \(result), expected \(expected)") }
        }
    }

    @Test func `every BF16 survives the way through F32 and F64`() {
        let input = (0...UInt16.max).filter { !Float(bitPattern: UInt32($0) << 16).isNaN }
        let f32 = convert(input, .bf16, .f32, as: UInt32.self)
        #expect(convert(f32, .f32, .bf16, as: UInt16.self) == input)
        let f64 = convert(input, .bf16, .f64, as: UInt64.self)
        #expect(convert(f64, .f64, .bf16, as: UInt16.self) == input)
    }

    @Test func `bytes at an odd address convert like aligned ones`() {
        let input = Self.floats.prefix(1000).map { $0 }
        let expected = convert(input, .f32, .f16, as: UInt16.self)
        var shifted: [UInt8] = [0]
        for value in input { withUnsafeBytes(of: value.littleEndian) { shifted.append(contentsOf: $0) } }
        var output = [UInt8](repeating: 0, count: 2 * input.count + 1)
        let end = output.count
        var span = output.mutableSpan
        var raw = MutableRawSpan(_elements: &span)
        var target = raw._mutatingExtracting(1..<end)
        FloatCast.convert(
            RawSpan(_elements: shifted.span).extracting(1..<shifted.count), from: .f32, to: .f16,
            into: &target)
        for (index, value) in expected.enumerated() {
            #expect(UInt16(output[1 + 2 * index]) | UInt16(output[2 + 2 * index]) << 8 == value)
        }
    }

    @Test(
        .enabled(if: Oracle.isAvailable),
        arguments: [
            (DType.f32, DType.bf16), (.f32, .f16), (.f64, .bf16), (.f64, .f16), (.f64, .f32), (.f16, .bf16),
            (.bf16, .f16), (.f16, .f32), (.bf16, .f32), (.f32, .f64), (.f16, .f64), (.bf16, .f64),
        ])
    func `casts equal those of NumPy and ml_dtypes`(from: DType, to: DType) throws {
        let directory = try TemporaryDirectory()
        var generator = SeededGenerator(seed: 7)
        var input: [UInt8] = []
        switch from {
        case .f64:
            for bits in Self.floats {
                // Values between two F32 neighbours, and plain random ones.
                let value = Double(Float(bitPattern: bits)).bitPattern &+ UInt64(generator.next() % 3)
                withUnsafeBytes(of: value) { input.append(contentsOf: $0) }
            }
        case .f32: for bits in Self.floats { withUnsafeBytes(of: bits) { input.append(contentsOf: $0) } }
        default: for bits in 0...UInt16.max { withUnsafeBytes(of: bits) { input.append(contentsOf: $0) } }
        }
        var output = [UInt8](repeating: 0, count: input.count / from.byteWidth! * to.byteWidth!)
        var span = output.mutableSpan
        var raw = MutableRawSpan(_elements: &span)
        FloatCast.convert(RawSpan(_elements: input.span), from: from, to: to, into: &raw)
        try directory.write("input", input)
        try directory.write("output", output)
        try Oracle.run("casts.py", from.name, to.name, directory.file("input"), directory.file("output"))
    }
}
