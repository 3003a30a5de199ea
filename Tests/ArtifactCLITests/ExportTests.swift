import Foundation
import TestSupport
import Testing

/// The digests that torch computed for the sample models.
struct ReferenceDigests {
    struct Tensor: Decodable {
        let dtype: String
        let shape: [Int]
        let nbytes: Int
        let sha256: String
    }
    struct Model: Decodable {
        let tensors: [String: Tensor]
        let tied: [[String]]
        let cast: [String: [String: String]]
    }
    struct File: Decodable { let models: [String: Model] }

    static func model(_ name: String) throws -> Model {
        let data = try Data(
            contentsOf: URL(fileURLWithPath: Repository.path("SampleModels/reference-digests.json")))
        return try #require(try JSONDecoder().decode(File.self, from: data).models[name])
    }
}

let sample = Repository.path("SampleModels/tiny-llama")
let adapter = Repository.path("SampleModels/tiny-llama-lora")

@Suite("artifact export")
struct ExportTests {
    let directory: TemporaryDirectory
    var out: String { directory.file("out") }

    init() throws { directory = try TemporaryDirectory() }

    private func exported(_ arguments: String...) throws {
        let result = try run(Repository.command, ["export", "-o", out] + arguments)
        try #require(result.exitCode == 0, "\(result.errors)")
    }

    private func read() throws -> [String: [String: Any]] {
        try #require(try Oracle.run("safetensors_digests.py", out).json() as? [String: [String: Any]])
    }

    @Test(.enabled(if: Oracle.isAvailable))
    func `every tensor of the sample is what torch says, read by the Python package`() throws {
        try exported(sample)
        let reference = try ReferenceDigests.model("tiny-llama")
        let tensors = try read()
        #expect(Set(tensors.keys) == Set(reference.tensors.keys).subtracting(["lm_head.weight"]))
        for (name, tensor) in tensors {
            let expected = try #require(reference.tensors[name])
            #expect(tensor["sha256"] as? String == expected.sha256, "\(name)")
            #expect(
                tensor["shape"] as? [Int] == expected.shape && tensor["dtype"] as? String == expected.dtype)
        }
    }

    @Test(.enabled(if: Oracle.isAvailable), arguments: ["bf16", "f16"])
    func `a cast gives what torch gives, and the config says so`(dtype: String) throws {
        try exported(sample, "--dtype", dtype)
        let reference = try #require(try ReferenceDigests.model("tiny-llama").cast[dtype.uppercased()])
        for (name, tensor) in try read() {
            #expect(tensor["sha256"] as? String == reference[name], "\(name)")
            #expect(tensor["dtype"] as? String == dtype.uppercased())
        }
        let config =
            try JSONSerialization.jsonObject(with: Data(try bytes(of: out + "/config.json")))
            as? [String: Any]
        #expect(
            (config?["dtype"] ?? config?["torch_dtype"]) as? String
                == (dtype == "bf16" ? "bfloat16" : "float16"))
    }

    @Test(.enabled(if: Oracle.isAvailable))
    func `shards stay below the limit and the index names each tensor's file`() throws {
        try exported(sample, "--max-shard-size", "200KB")
        let tensors = try read()
        let data = Data(try bytes(of: out + "/model.safetensors.index.json"))
        let index = try #require(try JSONSerialization.jsonObject(with: data) as? [String: [String: Any]])
        let map = try #require(index["weight_map"] as? [String: String])
        #expect(map == tensors.mapValues { $0["file"] as? String ?? "" })
        #expect(Set(map.values).count == 4)
        let metadata = try #require(index["metadata"])
        #expect(metadata["total_size"] as? Int == 685_824 && metadata["total_parameters"] as? Int == 171_456)
        #expect(metadata["lm_head.weight"] as? String == "model.embed_tokens.weight")
        #expect(try artifact("verify", out).exitCode == 0)
    }

    @Test func `config, tokenizer and chat template come along, training state stays`() throws {
        try exported(sample)
        let names = try FileManager.default.contentsOfDirectory(atPath: out).sorted()
        #expect(
            names == [
                "artifact-manifest.json", "chat_template.jinja", "config.json", "generation_config.json",
                "model.safetensors", "tokenizer.json", "tokenizer_config.json", "training_args.json",
            ])
        // The settings are made of a pickle.
        for name in names
        where name.hasSuffix(".json") && !name.hasPrefix("artifact") && name != "training_args.json" {
            #expect(try bytes(of: out + "/" + name) == bytes(of: sample + "/" + name))
        }
    }

    @Test func `an adapter keeps its name and its settings`() throws {
        try exported(adapter)
        let names = try FileManager.default.contentsOfDirectory(atPath: out)
        #expect(names.contains("adapter_model.safetensors") && names.contains("adapter_config.json"))
    }

    @Test func `two exports of one source are equal byte for byte`() throws {
        try exported(sample, "--max-shard-size", "200KB", "--jobs", "1")
        let second = directory.file("second")
        try #require(
            try artifact("export", sample, "-o", second, "--max-shard-size", "200KB", "--jobs", "4").exitCode
                == 0)
        for name in try FileManager.default.contentsOfDirectory(atPath: out) {
            #expect(try bytes(of: out + "/" + name) == bytes(of: second + "/" + name), "\(name)")
        }
    }

    @Test func `exporting an export again changes no tensor and no side file`() throws {
        try exported(sample)
        let again = directory.file("again")
        try #require(try artifact("export", out, "-o", again).exitCode == 0)
        for name in ["model.safetensors", "config.json", "tokenizer.json"] {
            #expect(try bytes(of: out + "/" + name) == bytes(of: again + "/" + name), "\(name)")
        }
    }

    @Test func `a destination that holds something is refused with exit code 2 and untouched`() throws {
        try FileManager.default.createDirectory(atPath: out, withIntermediateDirectories: true)
        try directory.write("out/mine.txt", "mine")
        let result = try artifact("export", sample, "-o", out)
        #expect(result.exitCode == 2 && result.errors.contains("--force"))
        #expect(try FileManager.default.contentsOfDirectory(atPath: out) == ["mine.txt"])
    }

    @Test func `with force an earlier export is replaced and nothing is left behind`() throws {
        try exported(sample)
        try exported(sample, "--force", "--max-shard-size", "200KB")
        #expect(try FileManager.default.contentsOfDirectory(atPath: directory.path) == ["out"])
        #expect(!FileManager.default.fileExists(atPath: out + "/model.safetensors"))
        #expect(try artifact("verify", out).exitCode == 0)
    }

    @Test func `a dry run writes nothing and says what it would write`() throws {
        let result = try artifact("export", sample, "-o", out, "--dry-run")
        #expect(result.exitCode == 0 && result.output.contains("would be written"))
        #expect(try FileManager.default.contentsOfDirectory(atPath: directory.path).isEmpty)
    }

    @Test func `quiet prints nothing`() throws {
        let result = try artifact("export", sample, "-o", out, "--quiet")
        #expect(result.exitCode == 0 && result.output.isEmpty && result.errors.isEmpty)
    }

    @Test(arguments: ["export", "inspect", "verify"])
    func `a source that is not there ends with exit code 3 and its name`(command: String) throws {
        let missing = directory.file("missing")
        let arguments = [command, missing] + (command == "export" ? ["-o", out] : [])
        let result = try run(Repository.command, arguments)
        #expect(result.exitCode == 3 && result.errors.contains("missing"))
    }

    @Test(arguments: [
        ["export"], ["export", "a", "-o", "b", "--dtype", "int9"], ["nonsense"],
        ["export", "a", "-o", "b", "--max-shard-size", "5X"], ["inspect"], ["verify", "a", "--jobs", "0"],
    ])
    func `wrong usage ends with exit code 2`(arguments: [String]) throws {
        #expect(try run(Repository.command, arguments).exitCode == 2)
    }

    @Test func `files get the mode that the umask leaves`() throws {
        try exported(sample)
        let mode =
            try FileManager.default.attributesOfItem(atPath: out + "/model.safetensors")[.posixPermissions]
            as? Int
        let mask = umask(0)
        umask(mask)
        #expect(mode == Int(0o666 & ~mask))
    }

    @Test func `an archive whose bytes were altered is refused with the tensor, and nothing is written`()
        throws
    {
        try FileManager.default.copyItem(atPath: sample, toPath: directory.file("model"))
        let path = directory.file("model/pytorch_model-00002-of-00003.bin")
        let tensors = try #require(
            try artifact("inspect", path, "--json").json()["tensors"] as? [[String: Any]])
        var contents = try bytes(of: path)
        contents[try #require(tensors.last?["offset"] as? Int)] ^= 1
        try Data(contents).write(to: URL(fileURLWithPath: path))
        let result = try artifact("export", directory.file("model"), "-o", out)
        #expect(result.exitCode == 1 && result.errors.contains("crc-mismatch"))
        #expect(try FileManager.default.contentsOfDirectory(atPath: directory.path) == ["model"])
        let verified = try artifact("verify", directory.file("model"))
        #expect(verified.exitCode == 1 && verified.output.contains("model.layers."))
    }

    @Test func `killed at any moment an export leaves nothing half made, and the next one succeeds`() throws {
        let complete = directory.file("complete")
        try #require(
            try artifact("export", sample, "-o", complete, "--max-shard-size", "100KB").exitCode == 0)
        let expected = try FileManager.default.contentsOfDirectory(atPath: complete).sorted()
        var generator = SeededGenerator(seed: 11)
        var interrupted = 0
        for _ in 0..<20 {
            let process = Process()
            process.executableURL = URL(fileURLWithPath: Repository.command)
            process.arguments = ["export", sample, "-o", out, "--quiet", "--max-shard-size", "100KB"]
            try process.run()
            usleep(UInt32.random(in: 0...60_000, using: &generator))
            kill(process.processIdentifier, SIGKILL)
            process.waitUntilExit()
            if FileManager.default.fileExists(atPath: out) {
                #expect(try FileManager.default.contentsOfDirectory(atPath: out).sorted() == expected)
                #expect(try artifact("verify", out).exitCode == 0)
                try FileManager.default.removeItem(atPath: out)
            } else {
                interrupted += 1
            }
        }
        #expect(interrupted > 0)
        try exported(sample, "--max-shard-size", "100KB")
        #expect(try artifact("verify", out).exitCode == 0)
        #expect(
            try FileManager.default.contentsOfDirectory(atPath: directory.path).sorted() == [
                "complete", "out",
            ])
    }

    @Test func `interrupted by Ctrl-C an export cleans up and ends with 130`() throws {
        let big = try directory.write("big.safetensors", bigFile(byteCount: 64 << 20))
        let process = Process()
        process.executableURL = URL(fileURLWithPath: Repository.command)
        process.arguments = ["export", big, "-o", out, "--quiet", "--jobs", "1"]
        process.standardError = FileHandle.nullDevice
        try process.run()
        while process.isRunning,
            !(try FileManager.default.contentsOfDirectory(atPath: directory.path)).contains(where: {
                $0.hasPrefix(".out")
            })
        { usleep(200) }
        kill(process.processIdentifier, SIGINT)
        process.waitUntilExit()
        let left = try FileManager.default.contentsOfDirectory(atPath: directory.path).sorted()
        if process.terminationStatus == 130 {
            #expect(left == ["big.safetensors"])
        } else {
            #expect(process.terminationStatus == 0 && left == ["big.safetensors", "out"])
        }
    }

    /// A file of one U8 tensor.
    private func bigFile(byteCount: Int) -> [UInt8] {
        var header = Array(
            "{\"a\":{\"dtype\":\"U8\",\"shape\":[\(byteCount)],\"data_offsets\":[0,\(byteCount)]}}".utf8)
        while header.count % 8 != 0 { header.append(0x20) }
        var file = withUnsafeBytes(of: UInt64(header.count).littleEndian) { Array($0) }
        file += header
        file += [UInt8](repeating: 7, count: byteCount)
        return file
    }
}
