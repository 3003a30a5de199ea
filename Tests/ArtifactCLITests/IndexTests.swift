import Foundation
import TestSupport
import Testing

@Suite("artifact index")
struct IndexTests {
    let directory: TemporaryDirectory
    var out: String { directory.file("set") }
    var indexFile: String { out + "/model.safetensors.index.json" }

    init() throws {
        directory = try TemporaryDirectory()
        try copy("hub")
    }

    private func copy(_ library: String) throws {
        try? FileManager.default.removeItem(atPath: out)
        try FileManager.default.copyItem(
            atPath: Repository.path("Tests/Fixtures/shards/" + library), toPath: out)
    }

    private func index(_ arguments: String...) throws -> ProcessResult {
        try run(Repository.command, ["index"] + arguments)
    }

    private func change(_ old: String, _ new: String) throws {
        let text = String(decoding: try bytes(of: indexFile), as: UTF8.self)
        try #require(text.contains(old))
        try Data(text.replacing(old, with: new).utf8).write(to: URL(fileURLWithPath: indexFile))
    }

    private func codes(_ path: String? = nil, exitCode: Int32) throws -> [String] {
        let result = try index("audit", path ?? out, "--json")
        #expect(result.exitCode == exitCode, "\(result.output)")
        let findings = try #require(try result.json()["findings"] as? [[String: Any]])
        return findings.compactMap { $0["code"] as? String }
    }

    @Test(arguments: ["hub", "transformers"])
    func `a set that a library wrote is sound, by its directory and by its index`(library: String) throws {
        try copy(library)
        #expect(try codes(exitCode: 0).isEmpty)
        #expect(try codes(indexFile, exitCode: 0).isEmpty)
        #expect(try artifact("verify", out, "--structure").exitCode == 0)
    }

    @Test func `an audit ends with 1 where a loader would fail, and with 0 for warnings`() throws {
        try change("\"total_size\": 806", "\"total_size\": 8")
        #expect(try codes(exitCode: 0) == ["totalSizeMismatch"])
        try FileManager.default.removeItem(atPath: out + "/model-00002-of-00003.safetensors")
        #expect(try codes(exitCode: 1) == ["shardMissing"])
        #expect(try index("audit", out).output.contains("model-00002-of-00003.safetensors"))
        #expect(try index("audit", out + "/none").exitCode == 3)
    }

    @Test func `a repair that cannot read a shard leaves the index alone`() throws {
        try change("\"total_size\": 806", "\"total_size\": 8")
        let before = try bytes(of: indexFile)
        let shard = out + "/model-00002-of-00003.safetensors"
        try FileManager.default.removeItem(atPath: shard)
        try FileManager.default.createDirectory(atPath: shard, withIntermediateDirectories: true)
        let result = try index("repair", out, "--force")
        #expect(result.exitCode == 3 && result.errors.contains("model-00002-of-00003.safetensors"))
        #expect(try bytes(of: indexFile) == before)
    }

    @Test func `an index is rebuilt only where none stands, or with --force`() throws {
        try copy("transformers")
        let golden = try bytes(of: indexFile)
        #expect(try index("rebuild", out).exitCode == 2)
        try Data("{}".utf8).write(to: URL(fileURLWithPath: indexFile))
        #expect(try index("rebuild", out, "--dry-run").exitCode == 0)
        #expect(try bytes(of: indexFile) == Array("{}".utf8))
        #expect(try index("rebuild", out, "--force").exitCode == 0)
        #expect(try bytes(of: indexFile) == golden)
        try FileManager.default.removeItem(atPath: indexFile)
        #expect(try index("rebuild", out).exitCode == 0)
        #expect(try bytes(of: indexFile) == golden)
        #expect(try index("rebuild", out, "--layout", "hub", "--force").exitCode == 0)
        #expect(try bytes(of: indexFile).last == UInt8(ascii: "}"))
        #expect(try codes(exitCode: 0).isEmpty)
    }

    @Test func `a repair keeps the layout, the order and the metadata`() throws {
        let golden = try bytes(of: indexFile)
        try change("\"embed\": \"model-00001", "\"embed\": \"model-00003")
        try change("\"total_size\": 806", "\"total_size\": 8")
        let broken = try bytes(of: indexFile)
        #expect(try index("repair", out).exitCode == 2)
        #expect(try index("repair", out, "--dry-run").output.contains("moved  tensor embed"))
        #expect(try bytes(of: indexFile) == broken)
        #expect(try index("repair", out, "--force").exitCode == 0)
        #expect(try bytes(of: indexFile) == golden)
        #expect(try index("repair", out).output.contains("nothing to repair"))
        try FileManager.default.removeItem(atPath: out + "/model-00002-of-00003.safetensors")
        #expect(try index("repair", out).exitCode == 1)
        #expect(try bytes(of: indexFile) == golden)
        #expect(try index("repair", sample).exitCode == 1)
    }

    @Test(.enabled(if: Oracle.isAvailable))
    func `every report satisfies its schema`() throws {
        let schema = Repository.path("Formats/reports/index.schema.json")
        try change("\"embed\": \"model-00001", "\"embed\": \"../model-00003")
        for arguments in [
            ["audit", out], ["rebuild", out, "--dry-run"], ["repair", out, "--dry-run"],
            ["repair", out, "--force"],
            ["rebuild", out, "--force"], ["audit", out],
        ] {
            let result = try run(Repository.command, ["index"] + arguments + ["--json"])
            try Oracle.run("validate.py", schema, try directory.write("report.json", result.output))
        }
    }

    @Test(.enabled(if: Oracle.isAvailable))
    func `an aligned export is verified, opened by the Python package and starts matrices at pages`() throws {
        let place = directory.file("aligned")
        let plain = directory.file("plain")
        #expect(try artifact("export", sample, "-o", plain, "-q").exitCode == 0)
        for (arguments, alignment) in [([], 4096), (["--align", "16384"], 16384)] as [([String], Int)] {
            let result = try run(
                Repository.command,
                ["export", sample, "-o", place, "-q", "--force", "--layout", "aligned"] + arguments)
            try #require(result.exitCode == 0, "\(result.errors)")
            #expect(try artifact("verify", place).exitCode == 0)
            let files =
                try Oracle.run(
                    "safetensors_open.py", place + "/model.safetensors", plain + "/model.safetensors"
                )
                .json()["files"] as? [[String: Any]]
            let tensors = try #require(files).compactMap { $0["tensors"] as? [String: [String: Any]] }
            #expect(tensors[0].count == tensors[1].count)
            #expect(tensors[0].values.compactMap { $0["offset"] as? Int }.min() == alignment)
            for (name, tensor) in tensors[0] {
                #expect(tensor["sha256"] as? String == tensors[1][name]?["sha256"] as? String)
                let shape = tensor["shape"] as? [Int] ?? []
                let size = shape.reduce(4, *)
                let divisor = min(alignment, size & -size)
                #expect((tensor["offset"] as? Int ?? 1) % divisor == 0, "\(name)")
            }
        }
        for wrong in [["--align", "4096"], ["--layout", "aligned", "--align", "100"]] {
            #expect(try run(Repository.command, ["export", sample, "-o", place + "2"] + wrong).exitCode == 2)
        }
    }

    @Test func `eight exports in eight processes are the same file`() throws {
        var files: Set<[UInt8]> = []
        for number in 0..<8 {
            let place = directory.file("e\(number)")
            try #require(try artifact("export", adapter, "-o", place, "-q").exitCode == 0)
            for name in try FileManager.default.contentsOfDirectory(atPath: place)
            where name.hasSuffix(".safetensors") {
                files.insert(try bytes(of: place + "/" + name))
            }
        }
        #expect(files.count == 1)
    }
}

/// Findings of an adversary.
@Suite("The index commands cannot be talked round")
struct IndexAdversaryTests {
    let directory: TemporaryDirectory
    var model: String { directory.file("m") }

    init() throws {
        directory = try TemporaryDirectory()
        try FileManager.default.createDirectory(
            atPath: directory.file("m"), withIntermediateDirectories: true)
        for (number, name) in [(1, "a"), (2, "b")] {
            let header = Array("{\"\(name)\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]}}".utf8)
            let file =
                withUnsafeBytes(of: UInt64(header.count).littleEndian) { Array($0) } + header + [1, 2, 3, 4]
            try directory.write("m/model-0000\(number)-of-00002.safetensors", file)
        }
    }

    private func index(_ map: String) throws {
        try directory.write(
            "m/model.safetensors.index.json", "{\"metadata\":{\"total_size\":1},\"weight_map\":{\(map)}}")
    }

    @Test(arguments: ["\"a\":\"x\"", "\"a\":\"../x.safetensors\"", ""])
    func `one repair adds all that is missing, whatever the index named`(map: String) throws {
        try index(map)
        #expect(try artifact("index", "repair", "--force", model).exitCode == 0)
        #expect(try artifact("index", "audit", model).exitCode == 0)
        #expect(try artifact("index", "repair", "--force", model).output.contains("nothing to repair"))
    }

    @Test func `a rebuild with force still refuses a gap in the numbers`() throws {
        try FileManager.default.removeItem(atPath: model + "/model-00002-of-00002.safetensors")
        try index("\"a\":\"model-00001-of-00002.safetensors\",\"b\":\"model-00002-of-00002.safetensors\"")
        #expect(try artifact("index", "rebuild", "--force", model).exitCode == 1)
        #expect(try artifact("index", "rebuild", "--force", "--allow-gaps", model).exitCode == 0)
    }

    @Test func `an audit of a directory without a model is not passed`() throws {
        #expect(try artifact("index", "audit", directory.path).exitCode == 3)
    }

    @Test func `a check for no loader is wrong usage`() throws {
        for list in ["", ","] { #expect(try artifact("check", model, "--for", list).exitCode == 2) }
    }
}
