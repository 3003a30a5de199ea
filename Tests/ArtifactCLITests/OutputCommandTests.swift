import Foundation
import TestSupport
import Testing

@Suite("artifact export --to")
struct OutputCommandTests {
    let directory: TemporaryDirectory
    var out: String { directory.file("out") }

    init() throws { directory = try TemporaryDirectory() }

    private func exported(_ arguments: String...) throws {
        let result = try run(Repository.command, ["export", "-o", out] + arguments)
        try #require(result.exitCode == 0, "\(result.errors)")
    }

    private func hex(_ bytes: [UInt8]) -> String { bytes.map { String(format: "%02x", $0) }.joined() }

    /// A file of one tensor of each dtype, `[2, 4]` elements or as many bytes as those of F4 and F6 take.
    private func everyDType(but left: Set<String> = []) throws -> (path: String, tensors: [String: [UInt8]]) {
        let bits = [
            "BOOL": 8, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8,
            "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8, "I16": 16, "U16": 16, "F16": 16, "BF16": 16,
            "I32": 32, "U32": 32, "F32": 32, "C64": 64, "F64": 64, "I64": 64, "U64": 64,
        ].filter { !left.contains($0.key) }
        var generator = SeededGenerator(seed: 3)
        var header: [String] = []
        var body: [UInt8] = []
        var tensors: [String: [UInt8]] = [:]
        for (dtype, width) in bits.sorted(by: { ($1.value, $0.key) < ($0.value, $1.key) }) {
            let data =
                dtype == "BOOL" ? [1, 0, 0, 1, 1, 0, 1, 0] : generator.bytes(width)
            header.append(
                #""\#(dtype)":{"dtype":"\#(dtype)","shape":[2,4],"data_offsets":[\#(body.count),"#
                    + "\(body.count + data.count)]}")
            body += data
            tensors[dtype] = data
        }
        var text = Array("{\(header.joined(separator: ","))}".utf8)
        text += [UInt8](repeating: 0x20, count: (8 - text.count % 8) % 8)
        let length = (0..<8).map { UInt8(truncatingIfNeeded: text.count >> (8 * $0)) }
        return (try directory.write("all.safetensors", length + text + body), tensors)
    }

    @Test(.enabled(if: Oracle.isAvailable), arguments: [[], ["--max-shard-size", "100KB"]])
    func `a state dict holds every tensor of the sample and both tied names on one storage`(
        layout: [String]
    ) throws {
        let result = try run(
            Repository.command, ["export", "-o", out, sample, "--to", "pytorch"] + layout)
        try #require(result.exitCode == 0, "\(result.errors)")
        let files = try FileManager.default.contentsOfDirectory(atPath: out).filter { $0.hasSuffix(".bin") }
        #expect(files.count > 1 || layout.isEmpty)
        let found = try TestSupport.run(
            Oracle.python ?? "",
            [Repository.path("Tests/Oracle/archives.py"), "state"] + files.sorted().map { out + "/" + $0 })
        try #require(found.exitCode == 0, "\(found.errors)")
        let tensors = try #require(try found.json()["tensors"] as? [String: [String: Any]])
        let reference = try ReferenceDigests.model("tiny-llama")
        #expect(Set(tensors.keys) == Set(reference.tensors.keys))
        for (name, tensor) in tensors {
            #expect(tensor["sha256"] as? String == reference.tensors[name]?.sha256, "\(name)")
            #expect(tensor["shape"] as? [Int] == reference.tensors[name]?.shape, "\(name)")
        }
        let (head, embedding) = (tensors["lm_head.weight"], tensors["model.embed_tokens.weight"])
        #expect(head?["storage"] as? String == embedding?["storage"] as? String)
        #expect(head?["file"] as? String == embedding?["file"] as? String)
        if files.count > 1 {
            let data = Data(try bytes(of: out + "/pytorch_model.bin.index.json"))
            let index = try #require(try JSONSerialization.jsonObject(with: data) as? [String: Any])
            let map = try #require(index["weight_map"] as? [String: String])
            #expect(map == tensors.mapValues { $0["file"] as? String ?? "" })
        }
    }

    @Test(.enabled(if: Oracle.isAvailable))
    func `every dtype that PyTorch has is written as its own`() throws {
        let (path, tensors) = try everyDType(but: ["F6_E2M3", "F6_E3M2"])
        try exported(path, "--to", "pytorch")
        let found = try Oracle.run("archives.py", "state", out + "/pytorch_model.bin").json()
        let read = try #require(found["tensors"] as? [String: [String: Any]])
        #expect(read.count == tensors.count)
        for (name, data) in tensors {
            #expect(read[name]?["dtype"] as? String == name && read[name]?["shape"] as? [Int] == [2, 4])
            #expect(read[name]?["hex"] as? String == hex(data), "\(name)")
        }
    }

    @Test(.enabled(if: Oracle.isAvailable))
    func `arrays are what NumPy itself would have saved`() throws {
        let narrow: Set = [
            "F4", "F6_E2M3", "F6_E3M2", "F8_E5M2", "F8_E4M3", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ", "BF16",
        ]
        let (path, tensors) = try everyDType(but: narrow)
        try exported(path, "--to", "npz")
        let found = try Oracle.run("archives.py", "arrays", out + "/model.npz").json()
        let arrays = try #require(found["arrays"] as? [String: [String: Any]])
        #expect(arrays.count == tensors.count)
        for (name, data) in tensors {
            #expect(arrays[name]?["hex"] as? String == hex(data), "\(name)")
            #expect(arrays[name]?["as_saved"] as? Bool == true, "\(name)")
        }
    }

    @Test(arguments: [("pytorch", "F6_E2M3"), ("npz", "BF16"), ("npz", "F8_E4M3")])
    func `a dtype that the format lacks is refused by name, and nothing is written`(
        format: String, dtype: String
    ) throws {
        let path = try everyDType().path
        let result = try artifact(
            "export", path, "-o", out, "--to", format, "--select", dtype, "--select", "F32")
        #expect(result.exitCode == 3 && result.errors.contains("tensor \(dtype):"), "\(result.errors)")
        #expect(result.errors.contains("--dtype"))
        #expect(!FileManager.default.fileExists(atPath: out))
    }

    @Test(arguments: ["../a", "/a", "a//b", "a\\\\b", "a\\u0000", "A", "b.npy"])
    func `a name that readers of archives would take for another is refused`(name: String) throws {
        let header =
            #"{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"b":{"dtype":"U8","shape":[1],"#
            + #""data_offsets":[1,2]},"\#(name)":{"dtype":"U8","shape":[1],"data_offsets":[2,3]}}"#
        let text = Array((header + String(repeating: " ", count: (8 - header.utf8.count % 8) % 8)).utf8)
        let length = (0..<8).map { UInt8(truncatingIfNeeded: text.count >> (8 * $0)) }
        let path = try directory.write("names.safetensors", length + text + [1, 2, 3])
        let result = try artifact("export", path, "-o", out, "--to", "npz")
        #expect(result.exitCode == 3 && result.errors.contains("[numpy-name]"), "\(result.errors)")
    }

    @Test(arguments: [["--to", "pytorch"], ["--to", "npz", "--dtype", "f32"]])
    func `what was exported verifies, and a flipped bit does not`(arguments: [String]) throws {
        let result = try run(Repository.command, ["export", "-o", out, sample] + arguments)
        try #require(result.exitCode == 0, "\(result.errors)")
        #expect(try artifact("verify", out).exitCode == 0)
        let name = arguments[1] == "npz" ? "/model.npz" : "/pytorch_model.bin"
        var contents = try bytes(of: out + name)
        contents[contents.count / 2] ^= 1
        try Data(contents).write(to: URL(fileURLWithPath: out + name))
        #expect(try artifact("verify", out).exitCode == 1)
    }

    @Test func `what goes through PyTorch on the way comes out as if it had not`() throws {
        let source = directory.file("source")
        #expect(try artifact("export", sample, "-o", source).exitCode == 0)
        #expect(try artifact("export", sample, "-o", directory.file("bin"), "--to", "pytorch").exitCode == 0)
        #expect(try artifact("export", directory.file("bin"), "-o", out).exitCode == 0)
        #expect(try bytes(of: out + "/model.safetensors") == bytes(of: source + "/model.safetensors"))
    }

    @Test func `a plan for another format is carried out as it was made`() throws {
        let plan = directory.file("plan.json")
        #expect(try artifact("plan", sample, "--to", "pytorch", "-o", plan).exitCode == 0)
        let result = try artifact("export", "--plan", plan, "-o", out)
        #expect(result.exitCode == 0, "\(result.errors)")
        try exported(sample, "--to", "pytorch", "--force")
        #expect(FileManager.default.fileExists(atPath: out + "/pytorch_model.bin"))
        #expect(try artifact("export", "--plan", plan, "-o", out, "--to", "npz").exitCode == 2)
    }

    @Test(.enabled(if: Oracle.isAvailable))
    func `the list of formats is as its schema says and names what is written`() throws {
        let result = try artifact("formats", "--json")
        try Oracle.run(
            "validate.py", Repository.path("Formats/reports/formats.schema.json"),
            try directory.write("formats.json", result.output))
        let writes = try #require(try result.json()["writes"] as? [[String: Any]])
        let names = writes.compactMap { $0["name"] as? String }
        #expect(names.first == "safetensors" && Set(names) == ["safetensors", "pytorch", "gguf", "npz"])
    }
}
