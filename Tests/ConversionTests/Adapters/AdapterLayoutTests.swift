import CheckpointFormats
import Checkpoints
import StrictJSON
import TensorCore
import TestSupport
import Testing

@testable import Conversion

@Suite("Layouts of adapters")
struct AdapterLayoutTests {
    private func config(of model: OpenedModel) throws -> JSONValue {
        let file = try #require(model.checkpoint.embedded.first { $0.file.name == "adapter_config.json" })
        return try JSONValue(parsing: file.source.bytes(at: 0, count: Int(file.source.byteCount)))
    }

    private func refusal(_ adapter: Adapter, _ format: Adapter.Format) -> String? {
        do throws(ConversionError) {
            _ = try adapter.model(as: format)
            return nil
        } catch { return "\(error)" }
    }

    @Test func `mlx-lm has the factors transposed and the scale as it is`() throws {
        var small = try SmallAdapter()
        small.settings += #","use_dora":true,"base_model_name_or_path":"org/base""#
        small.addUpdate("model.layers.3.q")
        small.weights.add(SmallAdapter.prefix + "model.layers.3.q.lora_magnitude_vector", [4], seed: 9)
        let model = try small.openAdapter().model(as: .mlx)
        let tensors = try model.written()
        #expect(tensors.keys.sorted() == ["lora_a", "lora_b", "m"].map { "model.layers.3.q." + $0 })
        let a = try #require(tensors["model.layers.3.q.lora_a"])
        #expect(a.shape == [6, 2])
        let stored = try #require(try small.openAdapter().checkpoint.tensors.first).floats()
        let turned = try a.floats()
        for row in 0..<2 {
            for column in 0..<6 { #expect(turned[column * 2 + row] == stored[row * 6 + column]) }
        }
        let json = try config(of: model)
        #expect(json["fine_tune_type"]?.string == "dora" && json["model"]?.string == "org/base")
        #expect(
            json["lora_parameters"]?["scale"]?.double == 2 && json["lora_parameters"]?["rank"]?.int64 == 2)
        #expect(json["lora_parameters"]?["keys"]?.elements?.compactMap(\.string) == ["q"])
    }

    @Test func `an adapter that goes to mlx-lm and back merges to the same weights`() throws {
        var small = try SmallAdapter()
        small.addUpdate()
        let base = try small.openBase()
        let adapter = try small.openAdapter()
        let expected = try base.merging(adapter).written().mapValues { try $0.sha256() }
        let first = try write(adapter.model(as: .mlx), "mlx", "adapters.safetensors", small)
        #expect(first.format == .mlx)
        #expect(try base.merging(first).written().mapValues { try $0.sha256() } == expected)
        let second = try write(first.model(as: .peft), "peft", "adapter_model.safetensors", small)
        #expect(second.format == .peft && second.settings.alpha == 4)
        #expect(try base.merging(second).written().mapValues { try $0.sha256() } == expected)
    }

    private func write(
        _ model: OpenedModel, _ name: String, _ weights: String, _ small: SmallAdapter
    ) throws -> Adapter {
        var builder = WeightsBuilder()
        for (name, record) in try model.written() { builder.add(name, record.shape, try record.floats()) }
        let text = String(decoding: try config(of: model).serialized(), as: UTF8.self)
        return try Adapter(
            path: builder.write(
                name, in: small.directory, weights: weights, config: ("adapter_config.json", text)))
    }

    @Test func `what mlx-lm has no place for is refused by name`() throws {
        var small = try SmallAdapter()
        small.addUpdate()
        small.weights.add(SmallAdapter.prefix + "lm_head.weight", [10, 6], seed: 1)
        #expect(refusal(try small.openAdapter("a"), .mlx)?.contains("lm_head.weight") == true)
        small.weights.tensors.removeLast()
        small.addUpdate("lm_head", outputs: 10)
        small.settings += #","alpha_pattern":{"lm_head":9}"#
        #expect(refusal(try small.openAdapter("b"), .mlx)?.contains("scale 4.5") == true)
    }

    @Test func `modules are named by their last parts where all layers have the same`() {
        #expect(PEFTConfig.targets(["l.0.q", "l.0.v", "l.1.q", "l.1.v"]) == ["q", "v"])
        #expect(PEFTConfig.targets(["l.1.q", "l.2.q"]) == ["l.1.q", "l.2.q"])
        #expect(PEFTConfig.targets(["l.0.q", "l.1.v"]) == ["l.0.q", "l.1.v"])
        #expect(PEFTConfig.targets(["l.0.q", "lm_head"]) == ["l.0.q", "lm_head"])
    }
}
