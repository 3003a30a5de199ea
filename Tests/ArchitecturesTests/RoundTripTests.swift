import Checkpoints
import StrictJSON
import TensorCore
import Testing

@testable import Architectures

@Suite("Every scheme of every map")
struct RoundTripTests {
    static let dimensions: Dimensions = [
        "hidden": 16, "layers": 2, "decoder_layers": 3, "heads": 4, "kv_heads": 2, "head_dim": 4,
        "intermediate": 6, "vocab": 5, "experts": 3, "expert_intermediate": 4, "shared_intermediate": 5,
        "positions": 7, "types": 2, "mels": 3, "target_positions": 8, "decoder_intermediate": 9,
        "buckets": 10,
    ]

    static let schemes: [(map: String, scheme: String)] = ArchitectureMap.all.flatMap { map in
        map.schemes.map { (map.name, $0.name) }
    }

    /// Neither Meta's code nor torchtune's has the biases that transformers can add to Llama.
    private static func exists(_ tensor: TensorName, in scheme: String) -> Bool {
        !(["meta", "torchtune"].contains(scheme) && tensor.string.hasSuffix("proj.bias"))
    }

    @Test(arguments: schemes)
    func `what goes there comes back the same`(map name: String, scheme: String) throws {
        let map = try ArchitectureMap.named(name)
        for gated: UInt64 in name == "t5" ? [0, 1] : [0] {
            var dimensions = Self.dimensions
            dimensions["gated"] = gated
            let model = try Counted.model(map, dimensions) { tensor in
                let isGated = tensor.string.contains(".wi_")
                return !(gated == 0 ? isGated : tensor.string.hasSuffix(".wi.weight"))
                    && Self.exists(tensor, in: scheme)
            }
            let there = try map.map(model, from: "hf", to: scheme, dimensions: dimensions, file: "model")
            let ignored = Set(there.ignored)
            let back = try map.map(
                there.tensors, from: scheme, to: "hf", dimensions: dimensions, file: "model")
            #expect(back.ignored.isEmpty)
            var found: [TensorName: TensorRecord] = [:]
            for tensor in back.tensors { found[tensor.name] = tensor }
            #expect(found.count == model.count - ignored.count)
            for tensor in model where !ignored.contains(tensor.name) {
                let other = try #require(found[tensor.name])
                #expect(other.shape == tensor.shape)
                #expect(try Counted.bytes(other) == Counted.bytes(tensor), "\(tensor.name)")
            }
        }
    }

    @Test(arguments: schemes)
    func `the names tell which scheme they are of`(map name: String, scheme: String) throws {
        let map = try ArchitectureMap.named(name)
        var dimensions = Self.dimensions
        dimensions["gated"] = 1
        let model = try Counted.model(map, dimensions) { tensor in
            !tensor.string.hasSuffix(".wi.weight") && Self.exists(tensor, in: scheme)
        }
        let there = try map.map(model, from: "hf", to: scheme, dimensions: dimensions, file: "model")
        let found = try map.scheme(of: there.tensors.map(\.name), dimensions: dimensions, file: "model")
        #expect(found == scheme)
    }
}
