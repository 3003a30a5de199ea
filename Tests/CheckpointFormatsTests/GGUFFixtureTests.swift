import CheckpointFormats
import Checkpoints
import Foundation
import StrictJSON
import TensorCore
import Testing

/// GGUF files under `Tests/Fixtures/formats/gguf` and what gguf's own package reads from them.
@Suite struct GGUFFixtureTests {
    static let directory = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .appending(path: "Fixtures/formats").path

    static let cases: [String: JSONValue] = {
        guard
            let bytes = try? FileSystem.contents(of: directory + "/expected-gguf.json", limit: 1 << 20),
            let members = try? JSONValue(parsing: bytes).members
        else { fatalError("the list of fixtures") }
        return Dictionary(members.map { ($0.key, $0.value) }) { first, _ in first }
    }()
    static let good = cases.keys.filter { cases[$0]?["tensors"] != nil }.sorted()
    static let refused = cases.keys.filter { cases[$0]?["error"] != nil }.sorted()

    static func read(
        _ name: String, options: ReadOptions = ReadOptions()
    ) throws(CheckpointError) -> Checkpoint {
        try FormatRegistry.open(path: directory + "/" + name, options: options).checkpoint
    }

    static func header(_ name: String) throws -> GGUFHeader {
        try GGUFHeader(reading: InputFile(path: directory + "/" + name), file: name)
    }

    @Test(arguments: good)
    func `every tensor has the name, dtype, shape and values that gguf gives it`(name: String) throws {
        let expected = try #require(Self.cases[name]?["tensors"]?.members)
        let checkpoint = try Self.read(name)
        #expect(Set(checkpoint.tensors.map(\.name.string)) == Set(expected.map(\.key)))
        for tensor in checkpoint.tensors {
            let want = try #require(expected.first { $0.key == tensor.name.string }?.value)
            #expect(tensor.dtype.name == want["dtype"]?.string)
            #expect(tensor.shape == want["shape"]?.elements?.compactMap(\.uint64))
            #expect(tensor.byteCount == want["nbytes"]?.uint64)
            for piece in tensor.byteCount < 10_000 ? [7, 100, 1 << 20] : [1000, 1 << 20] {
                #expect(
                    try tensor.digest(piece: piece) == want["sha256"]?.string, "\(tensor.name) by \(piece)")
            }
        }
        let warnings = Self.cases[name]?["warnings"]?.elements ?? []
        #expect(checkpoint.warnings.map(\.code) == warnings.map { $0.string })
    }

    @Test(arguments: refused)
    func `a file that GGML would refuse is refused with its code`(name: String) throws {
        let expected = try #require(Self.cases[name])
        let error = try #require(throws: CheckpointError.self) { try Self.read(name) }
        #expect(error.code == expected["error"]?.string, "\(error)")
        #expect(error.class.rawValue == expected["class"]?.string)
    }

    @Test(arguments: good.filter { !$0.hasSuffix("split") })
    func `a header that is written again has the same bytes`(name: String) throws {
        let header = try Self.header(name)
        let again = try GGUFHeader(
            pairs: header.pairs, tensors: header.tensors.map { ($0.name, $0.shape, $0.type) }, file: name)
        #expect(again.tensors == header.tensors)
        #expect(again.dataOffset == header.dataOffset)
        var bytes = try FileSystem.contents(of: Self.directory + "/" + name, limit: 1 << 20)
        bytes[4] = 3
        #expect(again.encoded() == Array(bytes.prefix(Int(header.dataOffset))))
    }

    @Test func `what cannot be decoded can be left out, and is listed`() throws {
        var options = ReadOptions()
        options.skipsUnsupported = true
        let checkpoint = try Self.read("gguf/lattice.gguf", options: options)
        #expect(checkpoint.tensors.map(\.name) == ["a"])
        #expect(checkpoint.skipped.map(\.name) == ["b"])
        #expect(checkpoint.skipped.first?.reason.contains("IQ2_XXS") == true)
        options = ReadOptions()
        options.listsUnsupported = true
        #expect(try Self.read("gguf/lattice.gguf", options: options).skipped.map(\.name) == ["b"])
    }

    @Test func `rows of a rotated matrix are put in order as blocks, before they are decoded`() throws {
        let checkpoint = try Self.read("gguf/llama_q4_0.gguf")
        let tensor = try #require(
            checkpoint.tensors.first { $0.name == "model.layers.0.self_attn.q_proj.weight" })
        guard case .computed(let node) = tensor.source, case .strided(let view) = node.inputs[0] else {
            Issue.record("\(tensor.source)")
            return
        }
        #expect(node.operation == "gguf_q4_0_dequantised")
        #expect(view.byteCount == 32 * 18)
    }

    @Test(arguments: [BlockFormat.q4_0, .q4K, .q6K])
    func `slices and orders of axes of decoded blocks are those of their values`(format: BlockFormat) throws {
        let (rows, blocks) = (6, 2)
        let bytes = (0..<rows * blocks * format.byteCount).map { UInt8(truncatingIfNeeded: $0 &* 37 &+ 11) }
        let source = Extent(
            source: MemorySource(name: "blocks", contents: bytes), offset: 0, byteCount: UInt64(bytes.count))
        let width = UInt64(blocks * format.elementCount)
        let tensor = try TensorExpression(
            dtype: .f32, shape: [2, 3, width],
            source: .computed(BlockMap(.extent(source), codec: BlockDecoder(format))))
        let all = try tensor.source.contents(width: 4)
        let rowByteCount = Int(width) * 4
        func row(_ number: Int) -> ArraySlice<UInt8> {
            all[number * rowByteCount..<(number + 1) * rowByteCount]
        }
        let turned = try tensor.permuted([1, 0, 2])
        #expect(try turned.source.contents(width: 4) == [0, 3, 1, 4, 2, 5].flatMap { row($0) })
        let half = width / 2
        let part = try tensor.sliced([1..<2, 1..<3, half..<width])
        #expect(
            try part.source.contents(width: 4) == [4, 5].flatMap { row($0).suffix(rowByteCount / 2) })
        let uneven = try tensor.sliced([0..<2, 0..<1, 3..<5])
        #expect(
            try uneven.source.contents(width: 4) == [0, 3].flatMap { row($0).dropFirst(12).prefix(8) })
        let crossed = try tensor.permuted([2, 0, 1]).permuted([1, 2, 0])
        #expect(try crossed.source.contents(width: 4) == all)
    }
}
