import TensorCore
import Testing

@Suite struct BlockDecoderTests {
    @Test(arguments: BlockFormat.allCases)
    func `all instructions give the same bits, at any address`(format: BlockFormat) {
        let count = 9
        // Bytes without a pattern.
        let bytes = (0..<UInt64(count * format.byteCount + 1)).map { index in
            UInt8(truncatingIfNeeded: (index &+ 1) &* 0x9E37_79B9_7F4A_7C15 >> 40)
        }
        var results: [[UInt32]] = []
        for level in KernelLevel.allCases where level.isAvailable {
            let decoder = BlockDecoder(format, level: level)
            let size = count * decoder.outputByteCount
            let result = [UInt8](count: size + 1) { buffer in
                var target = buffer._mutatingExtracting(1..<size + 1)
                decoder.convert(
                    bytes.span.bytesView.extracting(1..<count * format.byteCount + 1), into: &target)
            }
            // What kind of NaN comes of one is the processor's choice.
            results.append(Array(result.dropFirst()).withoutNaNs)
        }
        for result in results { #expect(result == results[0]) }
    }
}

extension [UInt8] {
    /// The F32 in these bytes with one pattern for all NaNs.
    fileprivate var withoutNaNs: [UInt32] {
        stride(from: 0, to: count, by: 4).map { start in
            let bits = self[start..<start + 4].reversed().reduce(0 as UInt32) { $0 << 8 | UInt32($1) }
            return Float(bitPattern: bits).isNaN ? 0x7FC0_0000 : bits
        }
    }
}
