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
        for name in ["_METADATA", "_strings.json"]
            + (try FileSystem.names(in: directory)).flatMap({ name in
                ((try? FileSystem.names(in: directory + name)) ?? []).map { name + "/" + $0 }
            }) where name != "params.a/1.0"
        {
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

@Suite struct OrbaxStreamTests {
    /// A zarr 3 array whose chunks are over the size that is decompressed whole.
    @Test func `large chunks side by side give the same bytes to several readers`() async throws {
        let width = 1 << 20
        let json = """
            {"zarr_format":3,"node_type":"array","shape":[12,\(2 * width)],"data_type":"uint8","fill_value":0,
             "chunk_grid":{"name":"regular","configuration":{"chunk_shape":[12,\(width)]}},
             "chunk_key_encoding":{"name":"default"},"codecs":[{"name":"bytes"},{"name":"zstd"}]}
            """
        var files: [(path: String, source: any ByteSource)] = [
            ("w/zarr.json", MemorySource(name: "zarr.json", contents: Array(json.utf8)))
        ]
        func byte(_ row: Int, _ column: Int) -> UInt8 { UInt8(truncatingIfNeeded: row * 16 + column >> 17) }
        for chunk in 0..<2 {
            // Runs of one byte, each a block of its own.
            var frame: [UInt8] = [0x28, 0xB5, 0x2F, 0xFD, 0x80, 0x38, 0, 0, 0xC0, 0]
            let runs = 12 * width >> 17
            for run in 0..<runs {
                let value = byte(run * (1 << 17) / width, chunk * width + (run << 17) % width)
                let header = UInt32(1 << 17) << 3 | 1 << 1 | (run == runs - 1 ? 1 : 0)
                frame += (0..<3).map { UInt8(truncatingIfNeeded: header >> UInt32(8 * $0)) } + [value]
            }
            files.append(("w/c/0/\(chunk)", MemorySource(name: "chunk", contents: frame)))
        }
        let tensor = try #require(try OrbaxFormat.read(files, name: "memory").tensors.first)
        #expect(tensor.shape == [12, UInt64(2 * width)])
        let rows = try await withThrowingTaskGroup(of: (Int, [UInt8]).self) { group in
            for row in (0..<12).reversed() {
                group.addTask {
                    (
                        row,
                        try [UInt8](count: 2 * width) { buffer in
                            try tensor.source.read(at: UInt64(row * 2 * width), into: &buffer)
                        }
                    )
                }
            }
            return try await group.reduce(into: [Int: [UInt8]]()) { $0[$1.0] = $1.1 }
        }
        for (row, bytes) in rows {
            for column in stride(from: 0, to: 2 * width, by: 4099) where bytes[column] != byte(row, column) {
                Issue.record("row \(row), column \(column)")
                return
            }
        }
    }
}
