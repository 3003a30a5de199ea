import SafeTensors
import TensorCore
import Testing

@Suite struct RoundTripTests {
    @Test(arguments: 0..<40 as Range<UInt64>)
    func `random files are read back as they were written`(_ seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let tensors = randomTensors(&random)
        let metadata = (0..<Int.random(in: 0...3, using: &random)).map { ("key \($0)", randomText(&random)) }
        let layout = try SafeTensorsLayout(tensors: tensors, metadata: metadata)
        let directory = try TemporaryDirectory()
        let path = directory.file("m.safetensors")
        var contents: [TensorName: [UInt8]] = [:]
        for tensor in layout.tensors {
            contents[tensor.name] = (0..<Int(tensor.byteCount)).map { _ in .random(in: 0...1, using: &random)
            }
        }
        try writeFile(path, layout, chunk: Int.random(in: 1...64, using: &random)) { contents[$0] ?? [] }

        for mode in ValidationMode.allCases {
            let file = try SafeTensorsFile(mapping: path, mode: mode)
            #expect(file.header.count == tensors.count)
            #expect(
                file.header.warnings.kept.allSatisfy {
                    $0.code == .emptyName || $0.code == .controlCharInName
                })
            #expect(file.header.metadata.map(\.value) == metadata.map(\.1))
            for tensor in tensors {
                let view = try #require(file.tensor(named: tensor.name))
                let bytes = view.bytes.array()
                #expect(view.info.dtype == tensor.dtype && view.info.shape == tensor.shape)
                #expect(bytes == contents[tensor.name])
                #expect(view.info.fileRange.lowerBound % UInt64(min(tensor.dtype.alignment, 2)) == 0)
            }
            #expect(try SafeTensorsReader(opening: path, mode: mode).scanValues().isEmpty)
        }
    }

    private func randomTensors(
        _ random: inout SeededGenerator
    ) -> [(name: TensorName, dtype: DType, shape: [UInt64])] {
        var names: Set<TensorName> = []
        for _ in 0..<Int.random(in: 0...30, using: &random) { names.insert(TensorName(randomText(&random))) }
        return names.sorted().map { name in
            let dtype = DType.allCases.randomElement(using: &random) ?? .f32
            var shape = (0..<Int.random(in: 0...4, using: &random)).map { _ in
                UInt64.random(in: 0...5, using: &random)
            }
            // Elements of sub-byte dtypes must fill bytes.
            if dtype.byteWidth == nil { shape.append(4) }
            return (name, dtype, shape)
        }
    }

    private func randomText(_ random: inout SeededGenerator) -> String {
        let scalars: [Unicode.Scalar] = [
            "a", "B", "0", ".", "\"", "\\", "/", "\n", "\u{1}", "\u{7F}", "é", "\u{301}", "字", "\u{1F600}",
        ]
        var text = String.UnicodeScalarView()
        for _ in 0..<Int.random(in: 0...24, using: &random) {
            text.append(scalars.randomElement(using: &random) ?? "x")
        }
        return String(text)
    }
}
