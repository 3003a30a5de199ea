import Checkpoints
import StrictJSON
import TestSupport
import Testing

@testable import Architectures

@Suite("Map files")
struct CatalogTests {
    private func maps(_ members: String) throws(CheckpointError) -> [ArchitectureMap] {
        let text =
            #"{"schema":"artifact.architecture/v1","name":"x","title":"X","model_types":["x"],"#
            + #""dimensions":{"a":"a_size"},"tensors":{"w.{n}":"a","v":"a"},"# + members + "}"
        return try ArchitectureMap.maps([("x.json", text)])
    }

    @Test(.enabled(if: Oracle.isAvailable))
    func `what is built in is what Formats holds`() throws {
        let directory = try TemporaryDirectory()
        let result = try run(
            try #require(Oracle.python),
            [Repository.path("scripts/embed-architectures"), directory.file("x.swift")])
        #expect(result.exitCode == 0, "\(result.errors)")
        let built = try bytes(of: Repository.path("Sources/Architectures/EmbeddedMaps.swift"))
        #expect(try bytes(of: directory.file("x.swift")) == built, "run: scripts/embed-architectures")
    }

    @Test(.enabled(if: Oracle.isAvailable))
    func `the files of Formats satisfy their schema`() throws {
        let schema = Repository.path("Formats/architectures/architecture.schema.json")
        for (file, _) in EmbeddedMaps.all {
            try Oracle.run("validate.py", schema, Repository.path("Formats/architectures/" + file))
        }
    }

    @Test func `a map is found by the model type, by GGUF's name and by the config`() throws {
        #expect(ArchitectureMap.find(modelType: "mistral")?.name == "llama")
        #expect(ArchitectureMap.find(modelType: "nothing") == nil)
        #expect(ArchitectureMap.find(ggufArchitecture: "qwen2")?.name == "qwen2")
        #expect(ArchitectureMap.find(ggufArchitecture: "llama")?.name == "llama")
        #expect(ArchitectureMap.find(ggufArchitecture: "llama", hasExperts: true)?.name == "mixtral")
        let config = JSONValue.object([
            JSONMember("model_type", .string("gemma3")),
            JSONMember("text_config", .object([JSONMember("model_type", .string("gemma3_text"))])),
        ])
        #expect(try ArchitectureMap.find(config: config, file: "config.json").name == "gemma3")
        let fault = #expect(throws: CheckpointError.self) {
            try ArchitectureMap.find(
                config: .object([JSONMember("model_type", .string("opt"))]), file: "config.json")
        }
        #expect(fault?.code == "unknown-architecture")
    }

    @Test func `dimensions come from the config or from others`() throws {
        func numbers(_ text: String, _ map: String) throws -> Dimensions {
            try ArchitectureMap.named(map).dimensions(config: JSONValue(parsing: Array(text.utf8)))
        }
        let llama = try numbers(
            #"{"hidden_size":64,"num_attention_heads":8,"num_key_value_heads":null}"#, "llama")
        #expect(llama["head_dim"] == 8)
        #expect(llama["kv_heads"] == 8)
        #expect(llama["layers"] == nil)
        let nested = try numbers(#"{"text_config":{"hidden_size":6,"head_dim":4}}"#, "gemma3")
        #expect(nested["hidden"] == 6)
        #expect(nested["head_dim"] == 4)
        #expect(try numbers(#"{"feed_forward_proj":"gated-gelu"}"#, "t5")["gated"] == 1)
        #expect(try numbers(#"{"is_gated_act":false}"#, "t5")["gated"] == 0)
        #expect(try numbers("{}", "t5")["gated"] == 0)
    }

    @Test(
        arguments: [
            #""schemes":{"s":{"names":{"a.{n}":"nothing.{n}"}}}"#,
            #""schemes":{"s":{"names":{"a":"v","b":"v"}}}"#,
            #""schemes":{"s":{"names":{"a.{z}":"w.{n}"}}}"#,
            #""schemes":{"s":{"names":{"a1{n}":"w.{n}"}}}"#,
            #""schemes":{"s":{"rules":[{"theirs":"a","ours":"v","do":["sing"]}]}}"#,
            #""schemes":{"s":{"rules":[{"theirs":"a.{e}","ours":"w.{n}"}]}}"#,
            #""schemes":{"s":{"rules":[{"theirs":"a","ours":"v","sizes":["a","a"]}]}}"#,
            #""schemes":{"s":{"rules":[{"theirs":"a","ours":"v","more":1}]}}"#,
            #""schemes":{"s":{"ignore":["{"]}}"#, #""extends":"nothing""#, #""optional":{"u":"a*"}"#,
            #""optional":{"v":"a"}"#, #""more":1"#,
        ])
    func `a file with a fault is refused`(members: String) throws {
        #expect(throws: CheckpointError.self) { try maps(members) }
    }

    @Test func `a file without a fault is read`() throws {
        let read = try maps(#""schemes":{"s":{"names":{"a.{n}":"w.{n}","b":"v"},"ignore":["*.c","d.{n}"]}}"#)
        #expect(read[0].schemeNames == ["hf", "s"])
    }

    @Test func `sizes are computed, and not beyond 64 bits`() throws {
        let dimensions: Dimensions = ["a": 6, "b": 4, "big": 1 << 40]
        let values = ["a*b+2", "a/b", "a/2*b", "big*big", "c", "3", "a / 4"].map { text in
            SizeExpression(text)?.value(dimensions)
        }
        #expect(values == [26, nil, 12, nil, nil, 3, nil])
        for text in ["", "a*", "a b", "*a", "A", "a-b"] { #expect(SizeExpression(text) == nil) }
    }
}
