import SafeTensors
import TensorCore
import Testing

@Suite struct AlignedLayoutTests {
    private typealias Tensor = (name: TensorName, dtype: DType, shape: [UInt64])

    private func randomTensors(_ random: inout SeededGenerator) -> [Tensor] {
        (0..<Int.random(in: 0...40, using: &random)).map { number in
            let dtype = DType.allCases.randomElement(using: &random) ?? .f32
            var shape = (0..<Int.random(in: 0...3, using: &random)).map { _ in
                UInt64([0, 1, 2, 3, 7, 8, 64, 96].randomElement(using: &random) ?? 1)
            }
            if dtype.byteWidth == nil { shape.append(4) }
            return (TensorName("t\(number)"), dtype, shape)
        }
    }

    @Test(arguments: 0..<60 as Range<UInt64>)
    func `each tensor begins at a multiple of the power of two in its size, without holes`(_ seed: UInt64)
        throws
    {
        var random = SeededGenerator(seed: seed)
        let alignment = UInt64(1) << UInt64.random(in: 4...14, using: &random)
        let tensors = randomTensors(&random)
        let layout = try SafeTensorsLayout(tensors: tensors, metadata: [("k", "v")], alignment: alignment)
        #expect(layout.header.count % Int(alignment) == 0)
        for tensor in layout.tensors where tensor.byteCount > 0 {
            let divisor = min(alignment, 1 << UInt64(tensor.byteCount.trailingZeroBitCount))
            #expect(tensor.fileRange.lowerBound % divisor == 0, "\(tensor.name)")
        }
        // Strict validation knows holes, overlaps and unaligned tensors.
        let header = try SafeTensorsHeader(
            parsing: Array(layout.header[8...]), fileByteCount: layout.fileByteCount)
        #expect(header.warnings.isEmpty && header.count == tensors.count)
        #expect(
            try SafeTensorsLayout(tensors: tensors.shuffled(), metadata: [("k", "v")], alignment: alignment)
                .header == layout.header)
    }

    @Test func `matrices come first, on pages, and odd sizes last`() throws {
        let layout = try SafeTensorsLayout(
            tensors: [
                ("odd", .u8, [3]), ("scalar", .f32, []), ("bias", .f32, [7]), ("w", .bf16, [64, 64]),
                ("mask", .bool, [5]), ("v", .f32, [64, 32]), ("big", .u8, [4096]),
            ], alignment: 4096)
        #expect(layout.tensors.map(\.name) == ["v", "w", "big", "bias", "scalar", "odd", "mask"])
        #expect(layout.tensors[0].fileRange.lowerBound == 4096)
        #expect(layout.tensors[2].fileRange.lowerBound % 4096 == 0)
    }

    @Test func `an alignment of eight is the layout of the reference`() throws {
        for golden in GoldenFile.all {
            #expect(
                try SafeTensorsLayout(tensors: golden.tensors, metadata: golden.metadata, alignment: 8).header
                    == SafeTensorsLayout(tensors: golden.tensors, metadata: golden.metadata).header)
        }
    }

    @Test(arguments: [0, 1, 4, 12, 4095, 1 << 27, .max] as [UInt64])
    func `an alignment that is no power of two within bounds is refused`(_ alignment: UInt64) {
        let error = #expect(throws: SafeTensorsError.self) {
            try SafeTensorsLayout(tensors: [], alignment: alignment)
        }
        #expect(error?.code == .badAlignment)
    }
}
