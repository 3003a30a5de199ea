import CheckpointFormats
import Checkpoints
import Foundation
import TensorCore
import Testing

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

    @Test
    func `objects of unknown classes in the state are refused, and records where the caller allows them`()
        throws
    {
        let refused = try error(F.path("deepspeed/opaque"))
        #expect(refused.code == "refused-global" && refused.global == "mytrainer.Thing")
        let allowed = try F.read(F.path("deepspeed/opaque")) { $0.allowsOpaque = true }
        let plain = try F.read(F.path("deepspeed/zero2"))
        #expect(allowed.tensors.map(\.name) == plain.tensors.map(\.name))
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
