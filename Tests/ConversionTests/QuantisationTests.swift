import CheckpointFormats
import Foundation
import Integrity
import TensorCore
import TestSupport
import Testing

@testable import Conversion

@Suite("Quantisation to the block formats of GGML")
struct QuantisationTests {
    private static func fixture(_ name: String) throws -> [UInt8] {
        try bytes(of: Repository.path("Tests/Fixtures/formats/gguf/encode/" + name))
    }

    private static let formats: [BlockFormat] = [.q4_0, .q4_1, .q5_0, .q5_1, .q8_0, .q4K, .q5K, .q6K]

    private func encoded(_ numbers: [UInt8], _ format: BlockFormat, _ level: KernelLevel) throws -> [UInt8] {
        let encoder = try #require(BlockEncoder(format, level: level))
        return [UInt8](count: numbers.count / encoder.inputByteCount * format.byteCount) { output in
            encoder.convert(numbers.span.bytes, into: &output)
        }
    }

    @Test(arguments: formats, KernelLevel.allCases.filter(\.isAvailable))
    func `blocks are the bits that llama.cpp makes, whatever instructions there are`(
        format: BlockFormat, level: KernelLevel
    ) throws {
        let digests = try JSONDecoder().decode(
            [String: String].self, from: Data(try Self.fixture("digests.json")))
        let blocks = try encoded(try Self.fixture("numbers.f32"), format, level)
        #expect(SHA256Digest.of(blocks.span.bytes).hex == digests[format.rawValue])
    }

    @Test(arguments: formats)
    func `NaN, infinities and numbers of any size become blocks, the same on all levels`(format: BlockFormat)
        throws
    {
        var generator = SeededGenerator(seed: 17)
        // Any bits at all, and blocks full of what is special.
        var numbers = generator.bytes(4 * 256 * 64)
        for special in [
            Float.nan, .infinity, -.infinity, .greatestFiniteMagnitude, .leastNonzeroMagnitude, -0,
        ] {
            for index in 0..<256 {
                let value = index % 3 == 0 ? special : Float(index % 7)
                withUnsafeBytes(of: value.bitPattern.littleEndian) { numbers += $0 }
            }
            for _ in 0..<256 { withUnsafeBytes(of: special.bitPattern.littleEndian) { numbers += $0 } }
        }
        let expected = try encoded(numbers, format, .portable)
        for level in KernelLevel.allCases where level.isAvailable {
            #expect(try encoded(numbers, format, level) == expected)
        }
    }

    private struct Model: Decodable {
        let layers, hidden, ffn, heads, kv_heads, experts: Int
        let tied: Bool
        let digests: [String: String]

        var shapes: [(name: String, shape: [UInt64])] {
            let (hidden, ffn, experts) = (UInt64(hidden), UInt64(ffn), UInt64(experts))
            let keys = hidden / UInt64(heads) * UInt64(kv_heads)
            var result =
                [("token_embd.weight", [64, hidden])] + (tied ? [] : [("output.weight", [64, hidden])])
            for layer in 0..<layers {
                let (end, lead) = experts > 0 ? ("_exps.weight", [experts]) : (".weight", [])
                result += [
                    ("attn_q.weight", [hidden, hidden]), ("attn_k.weight", [keys, hidden]),
                    ("attn_v.weight", [keys, hidden]), ("attn_output.weight", [hidden, hidden]),
                    ("ffn_gate" + end, lead + [ffn, hidden]), ("ffn_up" + end, lead + [ffn, hidden]),
                    ("ffn_down" + end, lead + [hidden, ffn]),
                ].map { ("blk.\(layer).\($0.0)", $0.1) }
                if experts > 0 { result.append(("blk.\(layer).ffn_gate_inp.weight", [experts, hidden])) }
            }
            return result
        }
    }

    @Test(arguments: GGUFQuantization.all.map(\.name))
    func `every tensor gets the type that llama.cpp gives it`(name: String) throws {
        let models = try JSONDecoder().decode([Model].self, from: Data(try Self.fixture("mixes.json")))
        let quantization = try #require(GGUFQuantization.named(name))
        var count = 0
        for model in models {
            guard let expected = model.digests[name] else { continue }
            let context = GGUFMixContext(
                layerCount: model.layers, expertCount: model.experts,
                groupsQueries: model.heads != model.kv_heads, isTied: model.tied)
            let lines = model.shapes.map { tensor in
                let isLarge = GGUFQuantization.isLarge(tensor.name, shape: tensor.shape)
                let type =
                    isLarge ? quantization.type(of: tensor.name, shape: tensor.shape, context).name : "F32"
                return "\(tensor.name) \(type)\n"
            }
            let text = lines.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }.joined()
            #expect(SHA256Digest.of(Array(text.utf8).span.bytes).hex == expected, "\(model.layers) layers")
            count += 1
        }
        #expect(count == models.count)
    }
}
