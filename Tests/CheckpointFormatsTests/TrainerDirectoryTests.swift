import ArchiveTestSupport
import Archives
import CheckpointFormats
import Checkpoints
import Foundation
import StrictJSON
import TensorCore
import Testing

/// What a trainer leaves in a directory beside the weights.
@Suite struct TrainerDirectoryTests {
    /// A directory of a trainer's checkpoint, removed at the end.
    static func withDirectory(
        _ files: [String: [UInt8]], _ body: (String) throws -> Void
    ) throws {
        let path = FileManager.default.temporaryDirectory.appending(path: "checkpoint-\(UUID())").path
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: path) }
        for (name, bytes) in files { try Data(bytes).write(to: URL(filePath: path + "/" + name)) }
        try body(path)
    }

    static func files() throws -> [String: [UInt8]] {
        [
            "pytorch_model.bin": try Fixtures.bytes("pt/module_state_dict.pt"),
            "optimizer.pt": try Fixtures.bytes("pt/nested_ckpt.pt"),
            "scheduler.pt": [1], "rng_state.pth": try FormatFixtures.bytes("pt/rng_state.pth"),
            "training_args.bin": try FormatFixtures.bytes("pt/training_args.bin"),
            "trainer_state.json": Array(
                #"{"epoch": 1.5, "global_step": 7, "log_history": [{"loss": 1}]}"#.utf8),
        ]
    }

    @Test
    func `the weights are chosen, the settings travel as JSON and the rest stays behind with the reason`()
        throws
    {
        try Self.withDirectory(try Self.files()) { path in
            let model = try FormatRegistry.open(path: path)
            #expect(model.checkpoint.tensors.count == 7)
            let left = Dictionary(
                uniqueKeysWithValues: (model.directory?.left ?? []).map { ($0.name, $0.reason) })
            for name in ["optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json"] {
                #expect(left[name] == "training state", "\(name)")
            }
            #expect(left["training_args.bin"]?.contains("training_args.json") == true)
            let settings = try #require(model.sideFiles.first { $0.file.name == "training_args.json" })
            let source = try #require(settings.embedded)
            let text = try source.bytes(at: 0, count: Int(source.byteCount))
            #expect(try JSONValue(parsing: text)["lr_scheduler_type"]?.string == "linear")
            let values = JSONValue.object(model.checkpoint.values)
            #expect(values["training_args"]?["output_dir"]?.string == "/data/ft/out")
            #expect(values["trainer_state"]?.text == #"{"epoch":1.5,"global_step":7}"#)
        }
    }

    @Test
    func `settings that ask for code are left behind with a warning, and a file that is there counts more`()
        throws
    {
        var files = try Self.files()
        files["training_args.bin"] = try Fixtures.bytes("mal/posix_system.pt")
        try Self.withDirectory(files) { path in
            let model = try FormatRegistry.open(path: path)
            #expect(model.checkpoint.warnings.contains { $0.code == "settings-unread" })
            #expect(!model.sideFiles.contains { $0.file.name == "training_args.json" })
        }
        files = try Self.files()
        files["training_args.json"] = Array("{}".utf8)
        try Self.withDirectory(files) { path in
            let model = try FormatRegistry.open(path: path)
            let settings = model.sideFiles.filter { $0.file.name == "training_args.json" }
            #expect(settings.count == 1 && settings[0].embedded == nil)
        }
    }
}

/// Archives beyond what fits into 32 bits or into sense.
@Suite struct LargeArchiveTests {
    /// Storages at offsets beyond 4 GiB in a file with a hole, which takes a few kilobytes of disk.
    @Test func `tensors behind 4 GiB are read`() throws {
        let far: UInt64 = 4 << 30 + 4096
        let path = FileManager.default.temporaryDirectory.appending(path: "large-\(UUID()).pt").path
        defer { try? FileManager.default.removeItem(atPath: path) }
        var pickle = PickleAssembler(protocol: 2)
        pickle.emptyDictionary()
        pickle.mark()
        pickle.text("a")
        pickle.tensor("0", count: Int64(far / 4), shape: [Int64(far / 4)], strides: [1])
        pickle.text("b")
        pickle.tensor("1", count: 2, shape: [2], strides: [1])
        pickle.op(0x75)
        var members = [
            ZipBuilder.Member("large/data.pkl", pickle.finished), ZipBuilder.Member("large/data/0", []),
            ZipBuilder.Member("large/data/1", [0, 0, 128, 63, 0, 0, 0, 64]),
            ZipBuilder.Member("large/version", Array("3\n".utf8)),
        ]
        for index in 2..<4 { members[index].isZip64 = true }
        var builder = ZipBuilder(members)
        builder.hole = (1, far)
        builder.hasZip64End = true
        #expect(FileManager.default.createFile(atPath: path, contents: nil))
        let handle = try #require(FileHandle(forWritingAtPath: path))
        for piece in builder.pieces() {
            try handle.seek(toOffset: piece.offset)
            try handle.write(contentsOf: Data(piece.bytes))
        }
        try handle.close()
        let checkpoint = try FormatRegistry.open(path: path).checkpoint
        #expect(checkpoint.tensors.map(\.byteCount) == [far, 8])
        let b = try #require(checkpoint.tensors.last)
        #expect(try #require(b.source.extent).offset > far)
        #expect(try b.source.contents(width: 4) == [0, 0, 128, 63, 0, 0, 0, 64])
        let end = try #require(checkpoint.tensors.first).source.extent
        #expect(try #require(end).source.bytes(at: far - 4, count: 4) == [0, 0, 0, 0])
    }

    static func deflated(_ stream: [UInt8], claiming count: UInt32) -> [UInt8] {
        var storage = ZipBuilder.Member("archive/data/0", stream)
        storage.method = 8
        storage.byteCount = count
        var pickle = PickleAssembler(protocol: 2)
        pickle.emptyDictionary()
        pickle.text("w")
        pickle.tensor("0", count: Int64(count / 4), shape: [Int64(count / 4)], strides: [1])
        pickle.op(0x73)
        return ZipBuilder([.init("archive/data.pkl", pickle.finished), storage]).bytes()
    }

    @Test func `a compressed storage may not claim to hold far more than it can`() throws {
        let error = try #require(throws: CheckpointError.self) {
            try FormatRegistry.open(Self.deflated([3, 0], claiming: 1 << 30), name: "a.pt")
        }
        #expect(error.code == "inflation-limit" && error.class == .malformed)
        #expect(error.member == "archive/data/0")
    }

    @Test func `a compressed storage that holds less than it claims is damaged when it is read`() throws {
        let checkpoint = try FormatRegistry.open(Self.deflated([3, 0], claiming: 1 << 20), name: "a.pt")
        let tensor = try #require(checkpoint.tensors.first)
        let error = try #require(throws: IOError.self) { try tensor.source.contents(width: 4) }
        #expect(error.code == .damaged)
        #expect(CheckpointError(error).class == .malformed)
    }
}
