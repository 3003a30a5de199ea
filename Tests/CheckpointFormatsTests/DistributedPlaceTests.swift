import CheckpointFormats
import Checkpoints
import Foundation
import TensorCore
import Testing

/// Where trainers put distributed checkpoints.
@Suite struct DistributedPlaceTests {
    private typealias F = DistributedFixtures

    /// A directory with a distributed checkpoint in one of this name, and small files beside it.
    private func withDirectory<R>(
        _ name: String, files: [String: String], _ body: (String) throws -> R
    ) throws -> R {
        let place = FileManager.default.temporaryDirectory.appending(path: "place-\(UUID().uuidString)").path
        defer { try? FileManager.default.removeItem(atPath: place) }
        try FileManager.default.createDirectory(atPath: place, withIntermediateDirectories: true)
        try FileManager.default.copyItem(atPath: F.path("dcp/fsdp1"), toPath: place + "/" + name)
        for (path, text) in files {
            let full = place + "/" + path
            try FileManager.default.createDirectory(
                atPath: Path.parent(of: full), withIntermediateDirectories: true)
            try Data(text.utf8).write(to: URL(filePath: full))
        }
        return try body(place)
    }

    @Test func `the weights of NeMo 2 bring their tokenizer along`() throws {
        let files = ["context/nemo_tokenizer/tokenizer.json": "{}", "context/model.yaml": "a: 1"]
        try withDirectory("weights", files: files) { place in
            let model = try FormatRegistry.open(path: place)
            #expect(model.checkpoint.tensors.count == 5)
            #expect(model.sideFiles.map(\.file.name) == ["tokenizer.json"])
            #expect(model.checkpoint.files.contains { $0.path == "weights/.metadata" })
        }
    }

    @Test(arguments: ["12", "12\n", "release"])
    func `Megatron's last iteration is found by its file`(text: String) throws {
        let name = text == "release" ? text : "iter_0000012"
        let files = [
            "latest_checkpointed_iteration.txt": text,
            name + "/metadata.json": #"{"sharded_backend": "torch_dist"}"#,
        ]
        try withDirectory(name, files: files) { place in
            for path in [place, place + "/" + name] {
                let checkpoint = try F.read(path)
                #expect(checkpoint.tensors.count == 5)
            }
        }
    }

    @Test(
        arguments: [
            ("13", "iter_0000012/x.txt", "iteration-missing"),
            ("12", "iter_0000012/mp_rank_00/model_optim_rng.pt", "megatron-legacy"),
            ("../12", "iter_0000012/x.txt", "iteration-missing"),
        ])
    func `an iteration that is not there or of an old layout is refused`(
        text: String, file: String, code: String
    ) throws {
        let files = ["latest_checkpointed_iteration.txt": text, file: "x"]
        try withDirectory("iter_0000012", files: files) { place in
            let error = try #require(throws: CheckpointError.self) { try FormatRegistry.open(path: place) }
            #expect(error.code == code)
        }
    }

    @Test func `zarr arrays of Megatron are refused`() throws {
        try withDirectory("weights", files: ["weights/metadata.json": #"{"sharded_backend": "zarr"}"#]) {
            place in
            let error = try #require(throws: CheckpointError.self) { try FormatRegistry.open(path: place) }
            #expect(error.code == "megatron-zarr")
            #expect(error.class == .unsupported)
        }
    }

    @Test func `the parts of the hub's writer are found where they were to be put together`() throws {
        try F.withCopy(of: "dcp/hub_whole") { copy in
            for name in ["model-00001-of-00001.safetensors", "model.safetensors.index.json"] {
                try FileManager.default.removeItem(atPath: copy + "/" + name)
            }
            let checkpoint = try F.read(copy)
            #expect(checkpoint.format == "dcp-safetensors")
            #expect(checkpoint.tensors.count == 3)
        }
    }

    @Test(arguments: ["weights", "global_step2"])
    func `a directory that is a link out of the checkpoint is not followed`(name: String) throws {
        let source = name == "weights" ? "dcp/fsdp1" : "deepspeed/zero2/global_step2"
        let place = FileManager.default.temporaryDirectory.appending(path: "link-\(UUID().uuidString)").path
        defer { try? FileManager.default.removeItem(atPath: place) }
        try FileManager.default.createDirectory(atPath: place, withIntermediateDirectories: true)
        try Data(name.utf8).write(to: URL(filePath: place + "/latest"))
        let inside = place + "/" + name
        try FileManager.default.createSymbolicLink(atPath: inside, withDestinationPath: F.path(source))
        #expect(throws: CheckpointError.self) { try FormatRegistry.open(path: place) }
        try FileManager.default.removeItem(atPath: inside)
        try FileManager.default.copyItem(atPath: F.path(source), toPath: inside)
        #expect(try !FormatRegistry.open(path: place).checkpoint.tensors.isEmpty)
    }

    @Test func `tensors in a pickled value are listed and warned of`() throws {
        let checkpoint = try FormatRegistry.open(path: F.path("dcp/tuple")).checkpoint
        #expect(checkpoint.tensors.count == 3)
        #expect(checkpoint.skipped.contains { $0.name == "model.l.2" && $0.tensorCount == 1 })
        #expect(checkpoint.warnings.map(\.code) == ["tensor-in-value"])
    }

    @Test func `several models of one trainer are a choice`() throws {
        try withDirectory("pytorch_model_fsdp_0", files: ["pytorch_model_fsdp_1/.metadata": "x"]) { place in
            let error = try #require(throws: CheckpointError.self) { try FormatRegistry.open(path: place) }
            #expect(error.code == "ambiguous-weights")
        }
    }

    @Test func `a directory of optimizer state alone is no model`() throws {
        let error = try #require(throws: CheckpointError.self) {
            try F.read(F.path("dcp/trainer/optimizer_0"))
        }
        #expect(error.code == "no-weights")
        #expect(error.message.contains("optimizer"))
    }
}
