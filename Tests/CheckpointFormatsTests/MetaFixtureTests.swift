import CheckpointFormats
import Checkpoints
import Foundation
import StrictJSON
import TensorCore
import Testing

/// Directories as Meta and torchtune write them under `Tests/Fixtures/formats`, and what transformers calls what is
/// in them.
@Suite struct MetaFixtureTests {
    static let cases: [String: JSONValue] = {
        let path = JAXFixtureTests.directory + "/expected-meta.json"
        guard let bytes = try? FileSystem.contents(of: path, limit: 16 << 20),
            let members = try? JSONValue(parsing: bytes).members
        else { fatalError("the list of fixtures") }
        return Dictionary(members.map { ($0.key, $0.value) }) { first, _ in first }
    }()
    static let good = cases.keys.filter { cases[$0]?["tensors"] != nil }.sorted()
    static let refused = cases.keys.filter { cases[$0]?["error"] != nil }.sorted()

    static func open(
        _ name: String, names: ReadOptions.Names? = nil
    ) throws(CheckpointError) -> OpenedModel {
        var options = ReadOptions()
        options.names = names
        return try FormatRegistry.open(path: JAXFixtureTests.directory + "/" + name, options: options)
    }

    private static func asAsked(_ name: String) throws -> OpenedModel {
        try open(name, names: cases[name]?["names"]?.string.map { .scheme($0) })
    }

    @Test(arguments: good)
    func `every tensor has the name, shape and bytes that transformers gives it`(name: String) throws {
        let expected = try #require(Self.cases[name]?["tensors"]?.members)
        let checkpoint = try Self.asAsked(name).checkpoint
        #expect(Set(checkpoint.tensors.map(\.name.string)) == Set(expected.map(\.key)))
        for tensor in checkpoint.tensors {
            let want = try #require(expected.first { $0.key == tensor.name.string }?.value)
            #expect(tensor.dtype.name == want["dtype"]?.string)
            #expect(tensor.shape == want["shape"]?.elements?.compactMap(\.uint64))
            for piece in [2, 7, 1 << 20] {
                #expect(
                    try tensor.digest(piece: piece) == want["sha256"]?.string, "\(tensor.name) by \(piece)")
            }
        }
    }

    @Test(arguments: good)
    func `what is left out is listed and what is made is said`(name: String) throws {
        let expected = try #require(Self.cases[name])
        let model = try Self.asAsked(name)
        #expect(
            model.checkpoint.skipped.map(\.name) == expected["skipped"]?.elements?.compactMap(\.string) ?? [])
        #expect(
            model.checkpoint.warnings.map(\.code) == expected["warnings"]?.elements?.compactMap(\.string)
                ?? [])
        guard let config = expected["config"]?.members else { return }
        let side = try #require(model.sideFiles.first { $0.file.name == "config.json" }?.embedded)
        let made = try JSONValue(parsing: side.bytes(at: 0, count: Int(side.byteCount)))
        for member in config {
            let (own, want) = (made[member.key], member.value)
            #expect(own?.string == want.string, "\(member.key)")
            #expect(own?.double == want.double, "\(member.key)")
            #expect(own?.bool == want.bool, "\(member.key)")
        }
    }

    @Test(arguments: refused)
    func `what does not fit together is refused with its code`(name: String) throws {
        let expected = try #require(Self.cases[name])
        let error = try #require(throws: CheckpointError.self) { try Self.open(name) }
        #expect(error.code == expected["error"]?.string, "\(error)")
        #expect(error.class.rawValue == expected["class"]?.string)
    }

    @Test func `the names of Meta are kept on request, with parts joined and no config made`() throws {
        let model = try Self.open("meta/columns", names: .stored)
        let names = model.checkpoint.tensors.map(\.name)
        #expect(names.contains("layers.1.attention.wq.weight"))
        #expect(model.checkpoint.tensors.first { $0.name == "tok_embeddings.weight" }?.shape == [6, 8])
        #expect(!model.sideFiles.contains { $0.file.name == "config.json" })
    }

    @Test func `one file without params keeps its names on request`() throws {
        let model = try Self.open("meta/no-params", names: .stored)
        #expect(model.checkpoint.tensors.contains { $0.name == "layers.1.attention.wq.weight" })
    }

    @Test func `another scheme is made straight from Meta's`() throws {
        let model = try Self.open("meta/rows", names: .scheme("gguf"))
        #expect(model.checkpoint.tensors.contains { $0.name == "blk.1.attn_q.weight" })
    }

    @Test func `a scheme that a model does not have is an error that lists those it has`() throws {
        let error = #expect(throws: CheckpointError.self) {
            try Self.open("torchtune/llama", names: .scheme("mlx"))
        }
        #expect(error?.code == "unknown-scheme")
        #expect(error?.message.contains("hf, gguf, meta, torchtune") == true)
    }

    @Test func `without a config no names are found`() throws {
        let error = #expect(throws: CheckpointError.self) {
            try Self.open("flax/m.msgpack", names: .scheme("hf"))
        }
        #expect(error?.code == "config-missing")
    }

    @Test func `nothing is renamed unless it is asked for`() throws {
        let names = try Self.open("torchtune/llama").checkpoint.tensors.map(\.name)
        #expect(names.contains("layers.0.sa_norm.scale"))
    }
}
