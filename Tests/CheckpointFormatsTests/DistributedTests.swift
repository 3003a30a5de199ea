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

/// What may be wrong with the files of DeepSpeed's ranks.
@Suite struct DeepSpeedDamageTests {
    private typealias F = DistributedFixtures

    private func error(
        _ path: String, _ change: (inout ReadOptions) -> Void = { _ in }
    ) throws -> CheckpointError {
        try #require(throws: CheckpointError.self) { try F.read(path, change) }
    }

    private func files(_ directory: String) throws -> [String] {
        try FileSystem.names(in: directory)
    }

    @Test(arguments: ["zero1_bf16", "zero3_bf16", "three_zero3"])
    func `a missing rank is named`(name: String) throws {
        try F.withCopy(of: "deepspeed/\(name)") { copy in
            let step = copy + "/global_step2"
            let last = try #require(try files(step).last { $0.hasSuffix("_optim_states.pt") })
            try FileManager.default.removeItem(atPath: step + "/" + last)
            let error = try error(copy)
            #expect(error.code == "rank-count")
            #expect(error.class == .malformed)
        }
    }

    @Test func `a file of a save with more ranks is not taken along`() throws {
        try F.withCopy(of: "deepspeed/zero1_bf16") { copy in
            let name = "bf16_zero_pp_rank_2_mp_rank_00_optim_states.pt"
            try FileManager.default.copyItem(
                atPath: F.path("deepspeed/three_zero1/global_step2/\(name)"),
                toPath: copy + "/global_step2/\(name)")
            #expect(try error(copy).code == "rank-count")
        }
    }

    @Test func `a rank's file of a save with more ranks is refused`() throws {
        try F.withCopy(of: "deepspeed/zero1_bf16") { copy in
            let path = "global_step2/bf16_zero_pp_rank_1_mp_rank_00_optim_states.pt"
            try FileManager.default.removeItem(atPath: copy + "/" + path)
            try FileManager.default.copyItem(
                atPath: F.path("deepspeed/three_zero1/" + path), toPath: copy + "/" + path)
            #expect(try error(copy).code == "rank-count")
        }
    }

    @Test func `the directory of a step is taken as it is`() throws {
        let whole = try F.read(F.path("deepspeed/zero2"))
        let step = try F.read(F.path("deepspeed/zero2/global_step2"))
        #expect(step.tensors.map(\.name) == whole.tensors.map(\.name))
    }

    @Test func `without the file latest the only step is taken`() throws {
        try F.withCopy(of: "deepspeed/zero2") { copy in
            try FileManager.default.removeItem(atPath: copy + "/latest")
            #expect(try F.read(copy).tensors.count == 9)
        }
    }

    @Test(arguments: [("../x", "path-escape"), ("global_step9", "tag-missing"), ("", "path-escape")])
    func `a tag that leads nowhere is refused`(tag: String, code: String) throws {
        try F.withCopy(of: "deepspeed/zero2") { copy in
            try Data(tag.utf8).write(to: URL(filePath: copy + "/latest"))
            #expect(try error(copy).code == code)
        }
    }

    @Test(
        arguments: [
            ("layer_01-model_00-model_states.pt", "deepspeed-pipeline"),
            ("mp_rank_01_model_states.pt", "deepspeed-tensor-parallel"),
            ("layer_0_expert_3_mp_rank_00_model_states.pt", "deepspeed-experts"),
            ("expp_rank_0_mp_rank_00_optim_states.pt", "deepspeed-experts"),
            ("zero/a/fp32.pt", "deepspeed-universal"),
        ])
    func `layouts of other kinds of parallelism are refused by name`(file: String, code: String) throws {
        try F.withCopy(of: "deepspeed/zero2") { copy in
            let path = copy + "/global_step2/" + file
            try FileManager.default.createDirectory(
                atPath: Path.parent(of: path), withIntermediateDirectories: true)
            try Data([0x50, 0x4B]).write(to: URL(filePath: path))
            let error = try error(copy)
            #expect(error.code == code)
            #expect(error.class == .unsupported)
        }
    }

    @Test func `stage 3 has no weights in the model's precision`() throws {
        let error = try error(F.path("deepspeed/zero3_bf16")) { $0.precision = .model }
        #expect(error.code == "precision-missing")
        #expect(error.class == .unsupported)
    }

    @Test func `master weights that are not there are not replaced in silence`() throws {
        let none = F.path("deepspeed/none_bf16")
        #expect(try F.read(none).warnings.map(\.code) == ["master-missing"])
        #expect(try error(none) { $0.precision = .master }.code == "precision-missing")
        try F.withCopy(of: "deepspeed/zero2") { copy in
            for rank in 0..<2 {
                try FileManager.default.removeItem(
                    atPath: copy + "/global_step2/bf16_zero_pp_rank_\(rank)_mp_rank_00_optim_states.pt")
            }
            #expect(try error(copy).code == "rank-count")
            #expect(try F.read(copy) { $0.precision = .model }.tensors.count == 9)
        }
    }

    @Test func `weights of the hub's layout are preferred, and the training state is listed`() throws {
        try F.withCopy(of: "deepspeed/zero2") { copy in
            let weights = F.path("dcp/hub_whole/model-00001-of-00001.safetensors")
            try FileManager.default.copyItem(atPath: weights, toPath: copy + "/model.safetensors")
            let model = try FormatRegistry.open(path: copy)
            #expect(model.checkpoint.format == "safetensors")
            #expect(
                model.directory?.left.contains { $0.name == "global_step2/" && $0.reason == "training state" }
                    == true)
        }
    }

    @Test func `a shape that the partitions do not hold is refused by name`() throws {
        try F.withCopy(of: "deepspeed/zero3_bf16") { copy in
            // One rank's partitions from a save of three ranks, said to be of two.
            let path = "global_step2/bf16_zero_pp_rank_1_mp_rank_00_optim_states.pt"
            try F.change(copy + "/" + path) { bytes in
                let other = try? FileSystem.contents(
                    of: F.path("deepspeed/zero3_fp16/global_step2/zero_pp_rank_1_mp_rank_00_optim_states.pt"),
                    limit: 1 << 20)
                bytes = other ?? []
            }
            #expect(try error(copy).code == "partition-mismatch")
        }
    }
}
