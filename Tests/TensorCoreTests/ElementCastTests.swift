import TensorCore
import TestSupport
import Testing

private func converted<S: FixedWidthInteger, D: FixedWidthInteger>(
    _ input: [S], from: DType, to: DType, as _: D.Type
) -> [D] {
    converted(input.withUnsafeBytes { Array($0) }, from: from, to: to).withUnsafeBytes {
        Array($0.bindMemory(to: D.self))
    }
}

@Suite("Conversion between any two dtypes")
struct ElementCastTests {
    static let dtypes = DType.allCases.filter { $0 != .c64 }

    static func isFloat(_ dtype: DType) -> Bool { !dtype.isInteger }

    /// The rules that can give different results: one for integers.
    static func rules(to: DType) -> [Overflow] { isFloat(to) ? [.special, .saturate] : [.special] }

    @Test(.enabled(if: Oracle.isAvailable), arguments: dtypes)
    func `results equal those of NumPy and ml_dtypes`(from: DType) throws {
        let directory = try TemporaryDirectory()
        let input = CastInputs.bytes(of: from)
        try directory.write("\(from.name).in", input)
        var count = 0
        for to in Self.dtypes where to != from {
            for rule in Self.rules(to: to) {
                let output = converted(input, from: from, to: to, rule)
                try directory.write("\(from.name)-\(to.name)-\(rule).out", output)
                count += 1
            }
        }
        #expect(try Oracle.run("casts.py", directory.path).output == "\(count)\n")
    }

    @Test(
        arguments: dtypes.filter { isFloat($0) },
        KernelLevel.allCases.filter { $0 != .best && $0.isAvailable })
    func `all instructions of the processor give the same bits`(from: DType, level: KernelLevel) {
        let input = CastInputs.bytes(of: from)
        for to in Self.dtypes where Self.isFloat(to) && to != from {
            for rule in Overflow.allCases {
                let best = converted(input, from: from, to: to, rule)
                #expect(converted(input, from: from, to: to, rule, level: level) == best, "\(to) \(rule)")
            }
        }
    }

    @Test(arguments: KernelLevel.allCases.filter(\.isAvailable))
    func `any number of elements at any address gives the same bits`(_ level: KernelLevel) {
        var generator = SeededGenerator(seed: 9)
        let bytes = generator.bytes(8 * 2060)
        for from in Self.dtypes {
            for to in Self.dtypes where to != from {
                for count in [0, 8, 24, 2048, 2056] {
                    let input = Array(bytes.prefix(count * from.bitWidth / 8))
                    let expected = converted(input, from: from, to: to, level: .portable)
                    let shifted = converted([0] + input, from: from, to: to, level: level, offset: 1)
                    if shifted != expected { Issue.record("\(from) \(to) \(count)") }
                }
            }
        }
    }

    @Test func `the same dtype is copied, and complex numbers become nothing else`() {
        #expect(converted([0, 0, 0x80, 0x7F], from: .f32, to: .f32, .saturate) == [0, 0, 0x80, 0x7F])
        for other in Self.dtypes {
            #expect(!ElementCast.isSupported(from: .c64, to: other))
            #expect(!ElementCast.isSupported(from: other, to: .c64))
        }
        #expect(ElementCast.isSupported(from: .c64, to: .c64))
    }

    @Test func `a NaN stays quiet, keeps its sign and the bits of its payload that fit`() {
        let nan: [UInt32] = [0x7F80_0001, 0xFFAA_AAAA]
        #expect(converted(nan, from: .f32, to: .bf16, as: UInt16.self) == [0x7FC0, 0xFFEA])
        #expect(converted(nan, from: .f32, to: .f16, as: UInt16.self) == [0x7E00, 0xFF55])
        #expect(
            converted([0x7C01, 0xFD55] as [UInt16], from: .f16, to: .f32, as: UInt32.self) == [
                0x7FC0_2000, 0xFFEA_A000,
            ])
        #expect(converted(nan, from: .f32, to: .f8E4M3, as: UInt8.self) == [0x7F, 0xFF])
        #expect(converted(nan, from: .f32, to: .f8E5M2, as: UInt8.self) == [0x7E, 0xFE])
        #expect(converted(nan, from: .f32, to: .f8E4M3FNUZ, as: UInt8.self) == [0x80, 0x80])
    }

    @Test func `integers of 64 bits keep every bit or go to the end of the range`() {
        let values: [Int64] = [1 << 53 + 1, .max, .min, -1, 300]
        let unsigned: [UInt64] = [1 << 53 + 1, 1 << 63 - 1, 0, 0, 300]
        #expect(converted(values, from: .i64, to: .u64, as: UInt64.self) == unsigned)
        #expect(converted(values, from: .i64, to: .i32, as: Int32.self) == [.max, .max, .min, -1, 300])
        let large: [UInt64] = [.max, 1 << 63, 1 << 63 - 1]
        #expect(converted(large, from: .u64, to: .i64, as: Int64.self) == [.max, .max, .max])
        // 2^60 + 2^36 + 1 is just above half-way between two F32; by way of F64 it would be half-way.
        let just: [Int64] = [1 << 60 + 1 << 36 + 1]
        #expect(converted(just, from: .i64, to: .f32, as: UInt32.self) == [0x5D80_0001])
    }
}
