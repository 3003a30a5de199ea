import CheckpointFormats
import Checkpoints
import Foundation
import StrictJSON
import TensorCore
import TestSupport
import Testing

@testable import Conversion

@Suite("Merging adapters")
struct AdapterMergeTests {
    @Test(arguments: ["lora/plain", "lora/rs", "lora/mts"])
    func `a merge gives what PEFT gives, to the bit`(name: String) throws {
        let path = Repository.path("Tests/Fixtures/formats")
        let cases = try JSONDecoder().decode(
            [String: AdapterFixtures.Case].self, from: Data(bytes(of: path + "/expected-lora.json")))
        let expected = try #require(cases[name])
        let merged = try AdapterFixtures.open(path + "/" + expected.base)
            .merging(Adapter(path: path + "/" + name))
        try compare(merged.written(), expected.tensors)
    }

    @Test(arguments: AdapterFixtures.variants, MergeRounding.allCases)
    func `every kind of adapter is merged as PEFT does it, to the bit`(
        name: String, rounding: MergeRounding
    ) throws {
        let path = AdapterFixtures.directory + "/variants/" + name
        let expected = try JSONDecoder().decode(
            [String: [String: AdapterFixtures.Tensor]].self, from: Data(bytes(of: path + "/expected.json")))
        let merged = try AdapterFixtures.open(path + "/base")
            .merging(Adapter(path: path + "/adapter"), rounding: rounding)
        let reference = try #require(expected[rounding == .once ? "default" : "safe"])
        try compare(merged.written(), reference)
    }

    private func compare(
        _ written: [String: TensorRecord], _ expected: [String: AdapterFixtures.Tensor]
    ) throws {
        #expect(written.keys.sorted() == expected.keys.sorted())
        for (name, tensor) in expected {
            let record = try #require(written[name])
            #expect(record.dtype.name == tensor.dtype && record.shape == tensor.shape, "\(name)")
            #expect(try record.sha256() == tensor.sha256, "\(name)")
            #expect(try record.sha256(piece: 36) == tensor.sha256, "\(name) in pieces")
        }
    }

    @Test func `two adapters are merged one after the other`() throws {
        var small = try SmallAdapter()
        small.addUpdate()
        let base = try small.openBase()
        let adapter = try small.openAdapter()
        let twice = try base.merging(adapter).merging(adapter)
        small.settings = #""peft_type":"LORA","r":2,"lora_alpha":0"#
        let values = try #require(try base.written()["model.q.weight"]).floats()
        let once = try #require(try base.merging(adapter).written()["model.q.weight"]).floats()
        let found = try #require(try twice.written()["model.q.weight"]).floats()
        for index in values.indices {
            let update = once[index] - values[index]
            #expect(abs(found[index] - once[index] - update) < 1e-5)
        }
        let paths = twice.checkpoint.files.map(\.path)
        #expect(Set(paths).count == paths.count && twice.checkpoint.changes.count == 2)
    }

    @Test func `names with the adapter's own name, and older ones, are the same`() throws {
        var plain = try SmallAdapter()
        plain.settings += #","use_dora":true,"modules_to_save":["norm"]"#
        plain.addUpdate()
        var old = plain
        let q = SmallAdapter.prefix + "model.q.lora_magnitude_vector"
        plain.weights.add(q, [4], seed: 9)
        plain.weights.add(SmallAdapter.prefix + "model.norm.weight", [6], seed: 8)
        let expected = try plain.merged().written().mapValues { try $0.sha256() }
        for index in old.weights.tensors.indices {
            let name = old.weights.tensors[index].name
            old.weights.tensors[index].name = name.replacingOccurrences(
                of: ".weight", with: ".default.weight")
        }
        old.weights.add(q + ".weight", [4], seed: 9)
        old.weights.add(SmallAdapter.prefix + "model.norm.modules_to_save.default.weight", [6], seed: 8)
        #expect(try old.merged().written().mapValues { try $0.sha256() } == expected)
    }

    @Test func `a base without its model's prefix takes the adapter all the same`() throws {
        var small = try SmallAdapter()
        small.addUpdate()
        let expected = try #require(try small.merged().written()["model.q.weight"]).sha256()
        for index in small.base.tensors.indices where small.base.tensors[index].name.hasPrefix("model.") {
            small.base.tensors[index].name.removeFirst("model.".count)
        }
        #expect(try #require(try small.merged().written()["q.weight"]).sha256() == expected)
    }

    @Test(arguments: [false, true])
    func `what is cast is computed in F32 and rounded once`(isDoRA: Bool) throws {
        var small = try SmallAdapter()
        small.addUpdate()
        if isDoRA {
            small.settings += #","use_dora":true"#
            small.weights.add(SmallAdapter.prefix + "model.q.lora_magnitude_vector", [4], seed: 9)
        }
        // The same numbers as BF16 and as F32.
        var exact = small
        for index in small.base.tensors.indices {
            let (name, shape) = (small.base.tensors[index].name, small.base.tensors[index].shape)
            let values = (0..<Int(shape.reduce(1, *))).map { Float($0 * 7 % 31) / 16 - 1 }
            var (narrow, wide) = (WeightsBuilder(), WeightsBuilder())
            narrow.add(name, shape, values, dtype: .bf16)
            wide.add(name, shape, values)
            small.base.tensors[index] = narrow.tensors[0]
            exact.base.tensors[index] = wide.tensors[0]
        }
        let found = try small.merged().written([.cast(parsing: "f32")]).mapValues { try $0.sha256() }
        #expect(try exact.merged().written().mapValues { try $0.sha256() } == found)
    }

    @Test func `embeddings that are no longer one are both written, and the config says so`() throws {
        var small = try SmallAdapter()
        small.base.tensors.removeAll { $0.name == "lm_head.weight" }
        small.baseConfig =
            #"{"architectures":["LlamaForCausalLM"],"text_config":{"tie_word_embeddings":true}}"#
        small.addUpdate("lm_head", outputs: 10)
        let merged = try small.merged()
        let (written, base) = (try merged.written(), try small.openBase().written())
        let embedding = try #require(written["model.embed_tokens.weight"])
        #expect(try embedding.sha256() == base["model.embed_tokens.weight"]?.sha256())
        #expect(try written["lm_head.weight"]?.sha256() != embedding.sha256())
        let config = try #require(merged.edited.first { $0.file.name == "config.json" })
        let json = try JSONValue(parsing: config.source.bytes(at: 0, count: Int(config.source.byteCount)))
        #expect(json["tie_word_embeddings"]?.bool == false)
        #expect(json["text_config"]?["tie_word_embeddings"]?.bool == false)
    }

    @Test func `a tokenizer beside the adapter takes the place of the base's`() throws {
        var small = try SmallAdapter()
        small.addUpdate()
        _ = try small.openBase()
        try Data("base".utf8).write(to: URL(fileURLWithPath: small.directory.file("base/tokenizer.json")))
        _ = try small.openAdapter()
        try Data("tuned".utf8).write(to: URL(fileURLWithPath: small.directory.file("adapter/tokenizer.json")))
        let merged = try AdapterFixtures.open(small.directory.file("base"))
            .merging(Adapter(path: small.directory.file("adapter")))
        let plan = try ExportPlan(model: merged, options: ExportOptions())
        let tokenizer = try #require(plan.sideFiles.first { $0.file.name == "tokenizer.json" })
        #expect(try tokenizer.source.bytes(at: 0, count: 5) == Array("tuned".utf8))
    }

    @Test func `a classifier that the base has not is added, with a warning`() throws {
        var small = try SmallAdapter()
        small.addUpdate()
        small.settings += #","modules_to_save":["score"]"#
        small.weights.add(SmallAdapter.prefix + "score.weight", [3, 6], seed: 1)
        let merged = try small.merged()
        #expect(try merged.written()["score.weight"]?.shape == [3, 6])
        #expect(merged.checkpoint.warnings.map(\.code) == ["adapter-adds-tensor"])
    }

    @Test func `a base that says that it is another is a warning`() throws {
        var small = try SmallAdapter()
        small.addUpdate()
        small.settings += #","base_model_name_or_path":"org/one""#
        small.baseConfig = #"{"_name_or_path":"org/other","tie_word_embeddings":false}"#
        #expect(try small.merged().checkpoint.warnings.map(\.code) == ["adapter-base-differs"])
    }
}
