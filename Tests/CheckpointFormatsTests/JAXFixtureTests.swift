import CheckpointFormats
import Checkpoints
import Foundation
import StrictJSON
import TensorCore
import Testing

/// Checkpoints of Flax and Orbax under `Tests/Fixtures/formats` and what their own libraries read from them.
@Suite struct JAXFixtureTests {
    static let directory = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .appending(path: "Fixtures/formats").path

    static let cases: [String: JSONValue] = {
        var cases: [String: JSONValue] = [:]
        for file in ["expected-flax.json", "expected-orbax.json"] {
            guard let bytes = try? FileSystem.contents(of: directory + "/" + file, limit: 16 << 20),
                let members = try? JSONValue(parsing: bytes).members
            else { fatalError("the list of fixtures \(file)") }
            for member in members { cases[member.key] = member.value }
        }
        return cases
    }()
    static let good = cases.keys.filter { cases[$0]?["tensors"] != nil }.sorted()
    static let refused = cases.keys.filter { cases[$0]?["error"] != nil }.sorted()

    static func read(
        _ name: String, options: ReadOptions = ReadOptions()
    ) throws(CheckpointError) -> Checkpoint {
        try FormatRegistry.open(path: directory + "/" + name, options: options).checkpoint
    }

    @Test(arguments: good)
    func `every tensor has the name, dtype, shape and bytes that its own library gives it`(
        name: String
    ) throws {
        let expected = try #require(Self.cases[name]?["tensors"]?.members)
        let checkpoint = try Self.read(name)
        #expect(Set(checkpoint.tensors.map(\.name.string)) == Set(expected.map(\.key)))
        for tensor in checkpoint.tensors {
            let want = try #require(expected.first { $0.key == tensor.name.string }?.value)
            #expect(tensor.dtype.name == want["dtype"]?.string)
            #expect(tensor.shape == want["shape"]?.elements?.compactMap(\.uint64))
            #expect(tensor.byteCount == want["nbytes"]?.uint64)
            let pieces = tensor.byteCount < 10_000 ? [1, 7, 20, 1 << 20] : [1000, 1 << 20]
            for piece in pieces {
                #expect(
                    try tensor.digest(piece: piece) == want["sha256"]?.string, "\(tensor.name) by \(piece)")
            }
        }
    }

    @Test(arguments: good)
    func `plain values are kept and training state is listed`(name: String) throws {
        let expected = try #require(Self.cases[name])
        let checkpoint = try Self.read(name)
        if let values = expected["values"] {
            let found = JSONValue.object(checkpoint.values).serialized(sortKeys: true)
            #expect(
                found == values.serialized(sortKeys: true), "\(String(decoding: found, as: UTF8.self))")
        }
        if let skipped = expected["skipped"]?.elements {
            #expect(checkpoint.skipped.map(\.name).sorted() == skipped.compactMap(\.string))
        }
    }

    @Test(arguments: refused)
    func `a damaged or foreign checkpoint is refused with its code`(name: String) throws {
        let expected = try #require(Self.cases[name])
        let error = try #require(throws: CheckpointError.self) { try Self.read(name) }
        #expect(error.code == expected["error"]?.string, "\(error)")
        #expect(error.class.rawValue == expected["class"]?.string)
    }

    @Test func `a root takes what is below it by names that begin there`() throws {
        let checkpoint = try Self.read(
            "flax/train_state.msgpack", options: ReadOptions(root: "ema_params.Dense_0"))
        #expect(checkpoint.tensors.map(\.name.string).sorted() == ["bias", "kernel"])
        #expect(checkpoint.root == "ema_params.Dense_0")
        #expect(checkpoint.skipped.contains { $0.name == "params" && $0.tensorCount == 3 })
        let error = #expect(throws: CheckpointError.self) {
            try Self.read("flax/train_state.msgpack", options: ReadOptions(root: "params.Dense_1"))
        }
        #expect(error?.code == "root-missing")
    }

    @Test func `the whole file is an empty root`() throws {
        let checkpoint = try Self.read("flax/train_state.msgpack", options: ReadOptions(root: ""))
        #expect(checkpoint.tensors.contains { $0.name == "opt_state.0.mu.Dense_0.bias" })
        #expect(checkpoint.skipped.isEmpty)
    }

    @Test func `a tensor of a foreign dtype is left out and listed where that is asked for`() throws {
        var options = ReadOptions()
        options.skipsUnsupported = true
        let checkpoint = try Self.read("flax/int4.msgpack", options: options)
        #expect(checkpoint.tensors.isEmpty)
        #expect(checkpoint.skipped.map(\.name) == ["a"])
    }

    @Test(arguments: ["flax/m.msgpack", "flax/train_state.msgpack", "flax/lists.msgpack"])
    func `a Flax file is known by its content`(name: String) throws {
        let bytes = try FileSystem.contents(of: Self.directory + "/" + name, limit: 1 << 20)
        let source = MemorySource(name: "checkpoint_17", contents: bytes)
        #expect(try FormatRegistry.open(source: source, name: "checkpoint_17").checkpoint.format == "flax")
    }

    @Test func `an item of a step is chosen by the root`() throws {
        let checkpoint = try Self.read("orbax/items", options: ReadOptions(root: "opt_state.mu.dense"))
        #expect(checkpoint.tensors.map(\.name.string).sorted() == ["bias", "kernel"])
        #expect(checkpoint.files.allSatisfy { $0.path.hasPrefix("opt_state/") })
    }

    @Test func `what Orbax keeps beside the arrays is no part of the model`() throws {
        let model = try FormatRegistry.open(path: Self.directory + "/orbax/wide_zarr")
        #expect(model.sideFiles.isEmpty)
        #expect(try #require(model.directory).left.isEmpty)
        #expect(!model.checkpoint.files.contains { $0.path == "opt_state.0.mu.a/0.0" })
    }

    @Test func `a chunk that was lost is the fill value with a warning`() throws {
        let directory = Self.directory + "/orbax/wide_zarr/"
        var files: [(path: String, source: any ByteSource)] = []
        for name in ["_METADATA", "_strings.json"] + (try FileSystem.names(in: directory)).flatMap({ name in
            ((try? FileSystem.names(in: directory + name)) ?? []).map { name + "/" + $0 }
        }) where name != "params.a/1.0" {
            files.append((name, try InputFile(path: directory + name)))
        }
        let checkpoint = try OrbaxFormat.read(files, name: "memory")
        #expect(checkpoint.warnings.map(\.code) == ["chunk-missing"])
        let tensor = try #require(checkpoint.tensors.first { $0.name == "params.a" })
        let bytes = try tensor.source.contents(width: 4)
        #expect(bytes[(3 * 8) * 4..<(3 * 8 + 4) * 4].allSatisfy { $0 == 0 })
        #expect(bytes[(3 * 8 + 4) * 4..<(3 * 8 + 8) * 4].contains { $0 != 0 })
    }
}
