import Checkpoints
import StrictJSON
import TensorCore
import Testing

@testable import Architectures

@Suite("Mapping tables")
struct MappingTests {
    private let llama: Dimensions = [
        "hidden": 8, "layers": 2, "heads": 2, "kv_heads": 1, "head_dim": 4, "intermediate": 6, "vocab": 5,
    ]

    private func map(
        _ tensors: [TensorRecord], from source: String, to target: String,
        unmapped: UnmappedTensors = .refused, isPartial: Bool = false
    ) throws -> MappedTable {
        try ArchitectureMap.named("llama").map(
            tensors, from: source, to: target, dimensions: llama, unmapped: unmapped, isPartial: isPartial,
            file: "model")
    }

    private func error(_ body: () throws -> Void) -> CheckpointError? {
        #expect(throws: CheckpointError.self) { try body() }
    }

    @Test func `rows of queries go from pairs to halves, head by head`() throws {
        let query = try Counted.tensor("blk.1.attn_q.weight", [8, 1])
        let narrow: Dimensions = ["hidden": 1, "heads": 2, "head_dim": 4, "layers": 2]
        let mapped = try ArchitectureMap.named("llama").map(
            [query], from: "gguf", to: "hf", dimensions: narrow, isPartial: true, file: "model")
        #expect(mapped.tensors.map(\.name) == ["model.layers.1.self_attn.q_proj.weight"])
        #expect(try Counted.values(mapped.tensors[0]) == [0, 2, 1, 3, 4, 6, 5, 7])
    }

    @Test func `what goes to GGUF comes back the same`() throws {
        let model = try Counted.model(.named("llama"), llama)
        let there = try map(model, from: "hf", to: "gguf")
        #expect(there.tensors.count == model.count)
        let back = try map(there.tensors, from: "gguf", to: "hf")
        #expect(back.tensors.map(\.name) == model.map(\.name))
        for (a, b) in zip(model, back.tensors) { #expect(try Counted.bytes(a) == Counted.bytes(b)) }
    }

    @Test func `a tensor that the map does not know is an error that lists it`() throws {
        var model = try Counted.model(.named("llama"), llama)
        model.append(try Counted.tensor("model.layers.0.extra.weight", [2]))
        let fault = error { _ = try map(model, from: "hf", to: "gguf") }
        #expect(fault?.code == "unmapped-tensors")
        #expect(fault?.tensor == "model.layers.0.extra.weight")
        #expect(fault?.class == .unsupported)
    }

    @Test func `a layer beyond those of the config is not mapped`() throws {
        let model =
            try Counted.model(.named("llama"), llama) + [
                Counted.tensor("model.layers.2.input_layernorm.weight", [8])
            ]
        #expect(error { _ = try map(model, from: "hf", to: "gguf") }?.code == "unmapped-tensors")
    }

    @Test func `unknown tensors are kept or left where that is allowed`() throws {
        let model = try Counted.model(.named("llama"), llama) + [Counted.tensor("more", [2])]
        let kept = try map(model, from: "hf", to: "gguf", unmapped: .kept)
        #expect(kept.tensors.last?.name == "more")
        let left = try map(model, from: "hf", to: "gguf", unmapped: .left)
        #expect(left.unmapped == ["more"])
        #expect(left.tensors.count == model.count - 1)
    }

    @Test func `a missing tensor is an error that names it`() throws {
        let gone: TensorName = "model.layers.1.mlp.up_proj.weight"
        let model = try Counted.model(.named("llama"), llama) { $0 != gone }
        let fault = error { _ = try map(model, from: "hf", to: "gguf") }
        #expect(fault?.code == "tensor-missing")
        #expect(fault?.tensor == gone)
    }

    @Test(arguments: [
        ("model.layers.1.mlp.experts.2.up_proj.weight", "model.layers.1.mlp.experts.2.up_proj.weight"),
        ("model.layers.1.mlp.gate.weight", "model.layers.1.mlp.gate_proj.weight"),
    ])
    func `a layer with a router needs all its experts, and one without needs a plain MLP`(
        gone: String, missing: String
    ) throws {
        let map = try ArchitectureMap.named("qwen3_moe")
        let isDense = { (name: TensorName) in
            ["gate_proj", "up_proj", "down_proj"].contains { name.string.hasSuffix("mlp.\($0).weight") }
        }
        let whole = try Counted.model(map, RoundTripTests.dimensions) { !isDense($0) }
        #expect(throws: Never.self) {
            try map.map(whole, from: "hf", to: "hf", dimensions: RoundTripTests.dimensions, file: "model")
        }
        let part = whole.filter { $0.name.string != gone }
        let fault = error {
            _ = try map.map(part, from: "hf", to: "hf", dimensions: RoundTripTests.dimensions, file: "model")
        }
        #expect(fault?.code == "tensor-missing")
        #expect(fault?.tensor?.string == missing)
    }

    @Test func `stacks of empty tensors do not become more than can be held`() throws {
        let map = try ArchitectureMap.named("mixtral")
        var dimensions = RoundTripTests.dimensions
        dimensions["layers"] = 1 << 16
        dimensions["experts"] = 1 << 16
        dimensions["hidden"] = 0
        let empty = try TensorExpression.filled(with: 0, dtype: .f32, shape: [1 << 16, 1 << 16, 0, 6])
        let table = [TensorRecord(name: "decoder.layers.mlp.experts.experts.linear_fc2.weight", empty)]
        let fault = error {
            _ = try map.map(
                table, from: "megatron-stacked", to: "hf", dimensions: dimensions, isPartial: true,
                file: "model")
        }
        #expect(fault?.code == "shape-mismatch")
    }

    @Test func `a row order is undone by its inverse`() throws {
        let order = RowOrder(view: [2, 3, 2], order: [0, 2, 1])
        let rows = try Counted.tensor("w", [12, 1])
        let there = try order.applied(to: rows.expression)
        #expect(try Counted.values(TensorRecord(name: "w", there)) == [0, 2, 4, 1, 3, 5, 6, 8, 10, 7, 9, 11])
        let back = try order.inverse.applied(to: there)
        #expect(try Counted.values(TensorRecord(name: "w", back)) == (0..<12).map(Float.init))
    }

    @Test func `only tensors whose rows change places alone have a row order`() throws {
        let map = try ArchitectureMap.named("llama")
        let order = map.rowOrder(of: "blk.1.attn_k.weight", in: "gguf", dimensions: llama)
        #expect(order == RowOrder(view: [1, 2, 2], order: [0, 2, 1]))
        #expect(map.rowOrder(of: "blk.1.attn_v.weight", in: "gguf", dimensions: llama) == nil)
        #expect(map.rowOrder(of: "blk.9.attn_k.weight", in: "gguf", dimensions: llama) == nil)
        let gpt2 = try ArchitectureMap.named("gpt2")
        #expect(
            gpt2.rowOrder(
                of: "decoder.layers.0.self_attention.linear_qkv.weight", in: "megatron", dimensions: llama)
                == nil)
    }

    @Test func `a shape that the config contradicts is an error`() throws {
        let wrong = try Counted.tensor("blk.0.attn_k.weight", [8, 8])
        let fault = error { _ = try map([wrong], from: "gguf", to: "hf", isPartial: true) }
        #expect(fault?.code == "shape-mismatch")
    }

    @Test func `two tensors for one place are an error`() throws {
        let twice = [try Counted.tensor("norm.weight", [8]), try Counted.tensor("model.norm.weight", [8])]
        let fault = error { _ = try map(twice, from: "hf", to: "hf", isPartial: true) }
        #expect(fault?.code == "mapped-twice")
    }

    @Test func `what carries no weights is ignored and listed`() throws {
        let table = [
            try Counted.tensor("rope_freqs.weight", [2]), try Counted.tensor("output_norm.weight", [8]),
        ]
        let mapped = try map(table, from: "gguf", to: "hf", isPartial: true)
        #expect(mapped.ignored == ["rope_freqs.weight"])
        #expect(mapped.tensors.map(\.name) == ["model.norm.weight"])
    }

    @Test(arguments: [
        "blk.00.attn_norm.weight", "blk.-1.attn_norm.weight", "blk.99999999999.attn_norm.weight",
    ])
    func `an odd number in a name is no layer`(name: String) throws {
        let table = [try Counted.tensor(name, [8])]
        #expect(
            error { _ = try map(table, from: "gguf", to: "hf", isPartial: true) }?.code == "unmapped-tensors")
    }
}
