import CheckpointFormats
import Checkpoints
import Foundation
import StrictJSON
import TensorCore
import Testing

@Suite struct DistributedTests {
    private typealias F = DistributedFixtures

    private func expect(_ checkpoint: Checkpoint, _ members: [JSONMember], piece: Int = 1 << 20) throws {
        #expect(Set(checkpoint.tensors.map(\.name.string)) == Set(members.map(\.key)))
        let wanted = Dictionary(members.map { ($0.key, $0.value) }) { first, _ in first }
        for tensor in checkpoint.tensors {
            let want = try #require(wanted[tensor.name.string])
            #expect(tensor.dtype.name == want["dtype"]?.string, "\(tensor.name)")
            #expect(tensor.shape == want["shape"]?.elements?.compactMap(\.uint64), "\(tensor.name)")
            #expect(tensor.byteCount == want["nbytes"]?.uint64, "\(tensor.name)")
            #expect(try tensor.digest(piece: piece) == want["sha256"]?.string, "\(tensor.name) by \(piece)")
        }
    }

    @Test(arguments: F.names)
    func `every tensor has the name, dtype, shape and bytes that its own library gives it`(name: String)
        throws
    {
        let wanted = try #require(F.cases[name]?["tensors"]?.members)
        let checkpoint = try F.read(F.path(name))
        for piece in [1, 7, 100, 1 << 20] { try expect(checkpoint, wanted, piece: piece) }
    }

    @Test(arguments: F.names)
    func `root, ties, values, warnings and what is left out are reported`(name: String) throws {
        let wanted = try #require(F.cases[name])
        let checkpoint = try F.read(F.path(name))
        if !name.hasSuffix("sharded2") { #expect(checkpoint.root == wanted["root"]?.string) }
        let tied = wanted["tied"]?.elements?.compactMap { $0.elements?.compactMap(\.string) } ?? []
        #expect(checkpoint.tiedGroups.map { $0.map(\.string) } == tied)
        #expect(checkpoint.warnings.map(\.code) == wanted["warn"]?.elements?.compactMap(\.string) ?? [])
        for member in (wanted["values"] ?? wanted["bytes"])?.members ?? [] {
            let value = checkpoint.values.first { $0.key == member.key }?.value
            #expect(value?.serialized() == member.value.serialized(), "\(member.key)")
        }
        for member in wanted["skipped"]?.members ?? [] {
            let item = checkpoint.skipped.first { $0.name == member.key }
            #expect(item?.tensorCount == member.value.int64.map { Int($0) }, "\(member.key)")
        }
    }

    @Test(arguments: F.names.filter { F.cases[$0]?["model"] != nil })
    func `the model's own precision is taken where it is asked for`(name: String) throws {
        let wanted = try #require(F.cases[name]?["model"]?.members)
        try expect(try F.read(F.path(name)) { $0.precision = .model }, wanted)
    }

    @Test(arguments: F.edited.keys.sorted())
    func `metadata with something wrong is refused by name`(name: String) throws {
        let wanted = try #require(F.edited[name])
        try F.withCopy(of: "dcp/grid") { copy in
            let bytes = try FileSystem.contents(of: F.path("dcp/edited/\(name).metadata"), limit: 1 << 20)
            try Data(bytes).write(to: URL(filePath: copy + "/.metadata"))
            guard let code = wanted["error"]?.string else {
                return try expect(try F.read(copy), try #require(F.cases["dcp/grid"]?["tensors"]?.members))
            }
            let error = try #require(throws: CheckpointError.self) { try F.read(copy) }
            #expect(error.code == code, "\(error)")
            #expect(error.class.rawValue == wanted["class"]?.string)
            if let tensor = wanted["tensor"]?.string { #expect(error.tensor?.string == tensor, "\(error)") }
        }
    }
}

/// What a crash, a bad copy or a stranger makes of a distributed checkpoint.
@Suite struct DistributedDamageTests {
    private typealias F = DistributedFixtures

    private func error(_ path: String) throws -> CheckpointError {
        try #require(throws: CheckpointError.self) { try F.read(path) }
    }

    @Test func `a value that would run a command is refused, and named`() throws {
        let error = try error(F.path("dcp/hostile"))
        #expect(error.class == .unsafe)
        #expect(error.global == "posix.system")
        #expect(error.tensor == "evil")
    }

    @Test func `a missing file of a rank names a tensor that was in it`() throws {
        try F.withCopy(of: "dcp/grid") { copy in
            try FileManager.default.removeItem(atPath: copy + "/__2_0.distcp")
            let error = try error(copy)
            #expect(error.code == "file-missing")
            #expect(error.tensor == "rows" || error.tensor == "model.rows")
        }
    }

    @Test func `a checkpoint without metadata was not saved to its end`() throws {
        try F.withCopy(of: "dcp/grid") { copy in
            try FileManager.default.moveItem(atPath: copy + "/.metadata", toPath: copy + "/.metadata.tmp")
            let error = try error(copy)
            #expect(error.code == "metadata-missing")
            #expect(error.message.contains(".metadata.tmp"))
            #expect(error.class == .malformed)
        }
    }

    @Test func `a truncated file is noticed without reading it`() throws {
        try F.withCopy(of: "dcp/grid") { copy in
            try F.change(copy + "/__1_0.distcp") { $0.removeLast(10) }
            let error = try error(copy)
            #expect(error.code == "truncated")
            #expect(error.tensor != nil)
        }
    }

    @Test func `every truncated metadata is refused`() throws {
        try F.withCopy(of: "dcp/ranks") { copy in
            let bytes = try FileSystem.contents(of: copy + "/__1.metadata", limit: 1 << 20)
            for count in stride(from: 0, to: bytes.count, by: 7) {
                try Data(bytes[..<count]).write(to: URL(filePath: copy + "/__1.metadata"))
                #expect(throws: CheckpointError.self) { try F.read(copy) }
            }
        }
    }

    @Test func `a changed byte of metadata gives an error or a table`() throws {
        try F.withCopy(of: "dcp/ranks") { copy in
            let path = copy + "/__1.metadata"
            let bytes = try FileSystem.contents(of: path, limit: 1 << 20)
            for index in bytes.indices {
                var changed = bytes
                changed[index] ^= UInt8(1 + index % 255)
                try Data(changed).write(to: URL(filePath: path))
                _ = try? F.read(copy)
            }
        }
    }

    @Test func `the metadata of a rank that is not there is missed`() throws {
        try F.withCopy(of: "dcp/ranks") { copy in
            try FileManager.default.removeItem(atPath: copy + "/__1.metadata")
            #expect(try error(copy).code == "metadata-missing")
        }
    }

    @Test func `a part of the hub's files that is not there is missed`() throws {
        try F.withCopy(of: "dcp/hub") { copy in
            try FileManager.default.removeItem(atPath: copy + "/shard-00002-model-00001-of-00001.safetensors")
            #expect(try error(copy).code == "shard-missing")
        }
    }

    @Test func `one file of the hub's parts is no model`() throws {
        let path = F.path("dcp/hub/shard-00001-model-00001-of-00001.safetensors")
        #expect(try error(path).code == "partial-shard")
    }

    @Test func `a chosen root is stripped and the rest is listed`() throws {
        let checkpoint = try F.read(F.path("dcp/sharded2")) { $0.root = "model" }
        #expect(Set(checkpoint.tensors.map(\.name.string)) == ["w", "c", "rep", "plain", "list.0", "list.1"])
        #expect(checkpoint.skipped.contains { $0.name == "scalar" && $0.tensorCount == 1 })
        let error = try #require(throws: CheckpointError.self) {
            try F.read(F.path("dcp/sharded2")) { $0.root = "nothing" }
        }
        #expect(error.code == "root-missing")
    }

    @Test func `with an empty root everything is taken`() throws {
        let checkpoint = try F.read(F.path("dcp/fsdp2")) { $0.root = "" }
        #expect(checkpoint.tensors.contains { $0.name == "train_state.step" })
        #expect(checkpoint.tensors.count == 13)
    }

    @Test func `a damaged compressed part is an error when it is read`() throws {
        try F.withCopy(of: "dcp/zstd") { copy in
            try F.change(copy + "/__0_0.distcp") { $0[2000] ^= 0x10 }
            let checkpoint = try F.read(copy)
            let tensor = try #require(checkpoint.tensors.first { $0.name == "w" })
            #expect(throws: IOError.self) { try tensor.digest() }
        }
    }

    @Test func `every stored tensor has a checksum`() throws {
        let checkpoint = try F.read(F.path("dcp/grid"))
        for tensor in checkpoint.tensors {
            for extent in tensor.source.extents {
                let file = checkpoint.files.first { $0.source.name == extent.source.name }
                #expect(file?.checksums.contains { $0.range.contains(extent.offset) } == true)
            }
        }
    }
}
