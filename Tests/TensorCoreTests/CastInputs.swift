import TensorCore
import TestSupport

/// Elements of every dtype to convert: all patterns of up to 16 bits; of more, those about which a conversion has to
/// decide, and others at random.
enum CastInputs {
    static func bytes(of dtype: DType) -> [UInt8] {
        switch dtype.bitWidth {
        case 4, 8: (0...255).map { $0 }
        case 6: sextets
        case 16: packed((0...UInt16.max).map { $0 })
        default: wide(dtype)
        }
    }

    private static func wide(_ dtype: DType) -> [UInt8] {
        switch dtype {
        case .f32: packed(floats)
        case .f64: packed(doubles)
        case .i32: packed(integers.map { UInt32(truncatingIfNeeded: $0) })
        case .u32: packed(integers.map { UInt32(truncatingIfNeeded: $0) })
        default: packed(integers)
        }
    }

    /// All pairs of six bits, twice in each place.
    private static let sextets: [UInt8] = (0..<4096).flatMap { pair in
        let bits = UInt32(pair) | UInt32(4095 - pair) << 12
        return (0..<3).map { UInt8(truncatingIfNeeded: bits >> (8 * UInt32($0))) }
    }

    /// At, beside and half-way between all values of formats with up to 16 bits.
    static let floats: [UInt32] = {
        var result: [UInt32] = []
        for high in 0...UInt32(UInt16.max) {
            for low in [0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF] as [UInt32] { result.append(high << 16 | low) }
        }
        // Half-way points of F16, where it is finite.
        for high in UInt32(100 << 10)..<UInt32(144 << 10) {
            for low in [0xFFF, 0x1000, 0x1001] as [UInt32] {
                result.append((high & 1) << 31 | high << 13 | low)
            }
        }
        var generator = SeededGenerator(seed: 1)
        for _ in 0..<40_000 { result.append(UInt32(truncatingIfNeeded: generator.next())) }
        return result
    }()

    /// At, beside and half-way between values of F32 and integers.
    private static let doubles: [UInt64] = {
        var result: [UInt64] = []
        for bits in stride(from: 0, to: floats.count, by: 23).map({ floats[$0] }) {
            let value = Double(Float(bitPattern: bits)).bitPattern
            for offset in [0, 1, 0x0FFF_FFFF, 0x1000_0000, 0x1000_0001, .max] as [UInt64] {
                result.append(value &+ offset)
            }
        }
        for exponent in 0...65 {
            let power = Double(sign: .plus, exponent: exponent, significand: 1)
            for value in [power, power - 0.5, power + 0.5, power - 1, power.nextUp, power.nextDown] {
                result += [value.bitPattern, (-value).bitPattern]
            }
        }
        var generator = SeededGenerator(seed: 2)
        for _ in 0..<20_000 { result.append(generator.next()) }
        return even(result)
    }()

    /// About powers of two, half-way between neighbours in F32 and F64, and at random of all sizes.
    private static let integers: [UInt64] = {
        var result: [UInt64] = []
        for exponent in 0..<64 as Range<UInt64> {
            let power = UInt64(1) << exponent
            let halves = [power >> 24, power >> 53, (power >> 24) * 3, (power >> 53) * 3].map { power &+ $0 }
            for value in [power] + halves {
                for offset in [0, 1, .max] as [UInt64] {
                    result += [value &+ offset, 0 &- (value &+ offset)]
                }
            }
        }
        var generator = SeededGenerator(seed: 4)
        for index in 0..<2000 { result.append(generator.next() >> UInt64(index % 64)) }
        return even(result)
    }()

    /// `values`, and zeros until their number is one that fills bytes in every dtype.
    private static func even(_ values: [UInt64]) -> [UInt64] {
        values + [UInt64](repeating: 0, count: (8 - values.count % 8) % 8)
    }

    private static func packed<T: FixedWidthInteger>(_ values: [T]) -> [UInt8] {
        values.withUnsafeBytes { Array($0) }
    }
}

/// The elements from byte `offset` on, converted to bytes at the same offset of their buffer.
func converted(
    _ input: [UInt8], from: DType, to: DType, _ overflow: Overflow = .special, level: KernelLevel = .best,
    offset: Int = 0
) -> [UInt8] {
    let count = (input.count - offset) * 8 / from.bitWidth
    var output = [UInt8](repeating: 0xA5, count: offset + count * to.bitWidth / 8)
    let end = output.count
    var span = output.mutableSpan
    var raw = MutableRawSpan(_elements: &span)
    var target = raw._mutatingExtracting(offset..<end)
    let source = RawSpan(_elements: input.span).extracting(offset..<input.count)
    ElementCast.convert(source, from: from, to: to, overflow: overflow, level: level, into: &target)
    return Array(output[offset...])
}
