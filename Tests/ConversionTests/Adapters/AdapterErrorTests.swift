import Checkpoints
import Foundation
import TensorCore
import TestSupport
import Testing

@testable import Conversion

@Suite("Adapters that do not fit")
struct AdapterErrorTests {
    @Test func `a shape that is not the base's is named with its numbers`() throws {
        var small = try SmallAdapter()
        small.addUpdate(inputs: 7)
        let error = try #require(try small.failure())
        #expect(error.code == "adapter-shape" && error.tensor == "model.q.weight")
        #expect(error.message.contains("[2, 7]") && error.message.contains("[4, 6]"))
    }

    @Test func `a module that the base has not is named, with what is near`() throws {
        var small = try SmallAdapter()
        small.addUpdate("model.k")
        let error = try #require(try small.failure())
        #expect(error.code == "adapter-unmatched" && error.tensor == "model.k.weight")
        #expect(error.message.contains("model.q.weight"))
    }

    @Test(arguments: [
        "base_model.model.model.q.lora_E.weight", "base_model.model.model.q.lora_A.a.b.weight",
        "base_model.model.model.q.token_adapter.other", "base_model.model.model.q.original_module.weight",
    ])
    func `a tensor that is nothing known is an error that names it`(name: String) throws {
        var small = try SmallAdapter()
        small.addUpdate()
        small.weights.add(name, [4, 6], seed: 1)
        let error = try #require(try small.failure())
        #expect(
            error.code == "adapter-key" && error.tensor == TensorName(name) && error.class == .unsupported)
    }

    @Test func `a tensor for nothing in the base is an error that names it`() throws {
        var small = try SmallAdapter()
        small.addUpdate()
        small.weights.add("base_model.model.model.k.weight", [4, 6], seed: 1)
        #expect(try small.failure()?.tensor == "model.k.weight")
    }

    @Test func `a factor without the other is an error`() throws {
        var small = try SmallAdapter()
        small.addUpdate()
        small.weights.tensors.removeLast()
        let error = try #require(try small.failure())
        #expect(error.code == "adapter-incomplete" && error.message.contains("lora_A"))
    }

    @Test func `a rank other than the config's is an error`() throws {
        var small = try SmallAdapter()
        small.addUpdate()
        small.settings = #""peft_type":"LORA","r":3,"lora_alpha":4"#
        let error = try #require(try small.failure())
        #expect(error.code == "adapter-rank" && error.message.contains("2") && error.message.contains("3"))
    }

    @Test func `a resized vocabulary is refused with both numbers`() throws {
        var small = try SmallAdapter()
        small.addUpdate()
        small.settings += #","modules_to_save":["embed_tokens"]"#
        small.weights.add("base_model.model.model.embed_tokens.weight", [12, 6], seed: 1)
        let error = try #require(try small.failure())
        #expect(error.message.contains("[12, 6]") && error.message.contains("[10, 6]"))
        #expect(error.message.contains("resized"))
    }

    @Test func `a quantised base is refused with advice`() throws {
        var small = try SmallAdapter()
        small.addUpdate()
        let place = try #require(small.base.tensors.firstIndex { $0.name == "model.q.weight" })
        small.base.tensors[place] = ("model.q.weight", .u8, [12, 1], [UInt8](repeating: 1, count: 12))
        let error = try #require(try small.failure())
        #expect(error.code == "adapter-base-dtype" && error.class == .unsupported)
        #expect(error.message.contains("16-bit"))
    }

    @Test func `a bias of the update needs one in the base`() throws {
        var small = try SmallAdapter()
        small.addUpdate()
        small.settings += #","lora_bias":true"#
        small.weights.add("base_model.model.model.q.lora_B.bias", [4], seed: 1)
        #expect(try small.failure() == nil)
        small.base.tensors.removeAll { $0.name == "model.q.bias" }
        let error = try #require(try small.failure())
        #expect(error.code == "adapter-unmatched" && error.message.contains("lora_bias"))
    }

    @Test(arguments: [
        (#""peft_type":"LOHA""#, "adapter-type"), (#""peft_type":"IA3""#, "adapter-type"),
        (#""peft_type":"LORA","r":2,"layer_replication":[[0,1]]"#, "adapter-kind"),
        (#""peft_type":"LORA","r":2,"alora_invocation_tokens":[5]"#, "adapter-kind"),
        (#""peft_type":"LORA","r":2,"use_qalora":true"#, "adapter-kind"),
        (#""peft_type":"LORA","r":2,"init_lora_weights":"pissa_niter_4""#, "adapter-base-changed"),
        (#""peft_type":"LORA","r":2,"rank_pattern":{"(?=x)":2}"#, "adapter-pattern"),
        (#""peft_type":"LORA","r":0"#, "adapter-config"), (#""r":2"#, "adapter-config"),
        (#""peft_type":"LORA","r":2,"rank_pattern":{"q":0}"#, "adapter-config"),
        (#""peft_type":"LORA","r":2,"lora_alpha":1e300"#, "adapter-config"),
        (
            #""peft_type":"LORA","r":2,"alpha_pattern":{"(a{900}){20}":1,"(b{900}){20}":1}"#,
            "adapter-too-large"
        ),
        (#""peft_type":"LORA","trainable_token_indices":[1,1]"#, "adapter-config"), ("x", "adapter-config"),
        (#""fine_tune_type":"other""#, "adapter-type"), (#""fine_tune_type":"lora""#, "adapter-config"),
    ])
    func `what is not merged is refused by name`(settings: String, code: String) throws {
        var small = try SmallAdapter()
        small.addUpdate()
        small.settings = settings
        #expect(try small.failure()?.code == code)
    }

    @Test(arguments: [[0, 10], [0, 1, 2], [3]])
    func `rows of tokens must fit the config and the embedding`(indices: [Int]) throws {
        var small = try SmallAdapter()
        small.addUpdate()
        small.settings += #","trainable_token_indices":\#(indices)"#
        small.weights.add(
            "base_model.model.model.embed_tokens.token_adapter.trainable_tokens_delta", [2, 6], seed: 1)
        let error = try #require(try small.failure())
        #expect(error.code == (indices == [0, 10] ? "adapter-shape" : "adapter-tokens"))
    }

    @Test func `a pattern is taken at the end of a path, after a dot or whole`() throws {
        let cases: [(pattern: String, path: String, matches: Bool)] = [
            ("q_proj", "a.q_proj", true), ("q_proj", "q_proj", true), ("q_proj", "a.xq_proj", false),
            ("q_proj", "a.q_proj.b", false), ("1.q", "a.1.q", true), ("1.q", "a.11.q", false),
            ("a.q", "axq", true), ("a.q", "b.axq", true), ("a.q", "é.aéq", true), ("a.q", "aéq.a.q", true),
            (#"layers\.\d+\.q"#, "m.layers.12.q", true), (#"layers\.\d+\.q"#, "m.layers.12x.q", false),
            ("^a.q", "a.q", true), ("^a.q", "b.a.q", false), ("(q|k)", "a.k", true),
        ]
        for (pattern, path, matches) in cases {
            #expect(try ModulePattern(parsing: pattern).matches(path) == matches, "\(pattern) \(path)")
        }
    }

    @Test(arguments: ["adapter.nemo", ".metadata", "common.pt"])
    func `an adapter of NeMo is refused by name`(file: String) throws {
        let directory = try TemporaryDirectory()
        try directory.write(file, "")
        do throws(ConversionError) {
            _ = try Adapter(path: directory.path)
            Issue.record("it is taken")
        } catch {
            guard case .source(let error) = error else { return }
            #expect(error.code == "adapter-megatron" && error.class == .unsupported)
        }
    }

    @Test func `a directory without an adapter says what is missing`() throws {
        let directory = try TemporaryDirectory()
        do throws(ConversionError) {
            _ = try Adapter(path: directory.path)
            Issue.record("it is taken")
        } catch {
            guard case .source(let error) = error else { return }
            #expect(error.code == "not-an-adapter" && error.message.contains("adapter_config.json"))
        }
    }
}
