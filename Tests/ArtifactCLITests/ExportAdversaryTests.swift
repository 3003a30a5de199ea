import Foundation
import TestSupport
import Testing

/// Findings of an adversary.
@Suite("Export loses nothing and says everything")
struct ExportAdversaryTests {
    let directory: TemporaryDirectory
    var out: String { directory.file("out") }
    var model: String { directory.file("model") }

    init() throws {
        directory = try TemporaryDirectory()
        try FileManager.default.copyItem(atPath: sample, toPath: directory.file("model"))
    }

    private func export(_ arguments: String...) throws -> ProcessResult {
        try run(Repository.command, ["export", model, "-o", out] + arguments)
    }

    private func remove(_ name: String) throws {
        try FileManager.default.removeItem(atPath: model + "/" + name)
    }

    @Test func `with force an earlier export that was changed by hand is moved aside`() throws {
        try #require(try export().exitCode == 0)
        try directory.write("out/model.safetensors", "my fine-tuned weights")
        let result = try export("--force", "--json")
        #expect(result.exitCode == 0)
        let kept = try #require(try result.json()["replaced"] as? String)
        #expect(try bytes(of: kept + "/model.safetensors") == Array("my fine-tuned weights".utf8))
        #expect(try artifact("verify", out).exitCode == 0)
    }

    @Test func `a destination that holds the source by way of links is refused`() throws {
        try #require(try export().exitCode == 0)
        let links = directory.file("links")
        try FileManager.default.createDirectory(atPath: links, withIntermediateDirectories: true)
        for name in try FileManager.default.contentsOfDirectory(atPath: out) {
            symlink(out + "/" + name, links + "/" + name)
        }
        let result = try artifact("export", links, "-o", out, "--force", "--dtype", "bf16")
        #expect(result.exitCode == 2 && result.errors.contains("holds the source"))
        #expect(try artifact("verify", out).exitCode == 0)
    }

    @Test func `a shard that the index leaves out is refused, one of another set is listed`() throws {
        try FileManager.default.copyItem(
            atPath: model + "/pytorch_model-00001-of-00003.bin", toPath: model + "/old-00001-of-00009.bin")
        let listed = try export("--json")
        #expect(listed.exitCode == 0)
        let skipped = try #require(try listed.json()["skipped"] as? [[String: Any]])
        #expect(skipped.contains { $0["name"] as? String == "old-00001-of-00009.bin" })
        let index = model + "/pytorch_model.bin.index.json"
        let lines = String(decoding: try bytes(of: index), as: UTF8.self).split(separator: "\n")
        let kept = lines.filter { !$0.contains("00003-of-00003") }.joined(separator: "\n")
        try Data(kept.replacing(",\n  }", with: "\n  }").utf8).write(to: URL(fileURLWithPath: index))
        let refused = try export("--force")
        #expect(refused.exitCode == 1 && refused.errors.contains("index-incomplete"))
    }

    @Test func `shards of two models are not taken for one`() throws {
        try remove("pytorch_model.bin.index.json")
        try remove("pytorch_model-00003-of-00003.bin")
        #expect(try export().errors.contains("shard-missing"))
        try FileManager.default.moveItem(
            atPath: model + "/pytorch_model-00002-of-00003.bin", toPath: model + "/other-00003-of-00003.bin")
        let result = try export()
        #expect(result.exitCode == 1 && result.errors.contains("ambiguous-weights"))
    }

    @Test func `all shards of one set are taken without an index`() throws {
        try remove("pytorch_model.bin.index.json")
        #expect(try export().exitCode == 0)
        #expect(try artifact("verify", out).exitCode == 0)
    }

    @Test func `metadata named like the index's own does not spoil the index`() throws {
        let header = Array(
            ("{\"__metadata__\":{\"total_size\":\"x\",\"total_parameters\":\"y\",\"note\":\"z\"},"
                + "\"a\":{\"dtype\":\"U8\",\"shape\":[8],\"data_offsets\":[0,8]},"
                + "\"b\":{\"dtype\":\"U8\",\"shape\":[8],\"data_offsets\":[8,16]}}").utf8)
        let file =
            withUnsafeBytes(of: UInt64(header.count).littleEndian) { Array($0) } + header
            + [UInt8](repeating: 1, count: 16)
        try directory.write("m.safetensors", file)
        #expect(
            try artifact("export", directory.file("m.safetensors"), "-o", out, "--max-shard-size", "8")
                .exitCode == 0)
        #expect(try artifact("verify", out).exitCode == 0)
    }

    @Test func `a side file with a control character in its name stays behind and is listed`() throws {
        try directory.write("model/a\nb.json", "{}")
        let result = try export("--json")
        let skipped = try #require(try result.json()["skipped"] as? [[String: Any]])
        #expect(skipped.contains { $0["name"] as? String == "a\nb.json" })
        #expect(try artifact("verify", out).exitCode == 0)
    }

    @Test func `a config that is a link to nothing is an error, not a model without a config`() throws {
        try remove("config.json")
        symlink("../blobs/gone", model + "/config.json")
        let result = try export()
        #expect(result.exitCode == 1 && result.errors.contains("broken-link"))
    }

    @Test func `a config with Python's Infinity is carried as it is, with a warning`() throws {
        let config = "{\"time_step_limit\": [0.0, Infinity]}"
        try directory.write("model/config.json", config)
        let result = try export()
        #expect(result.exitCode == 0 && result.errors.contains("config-not-json"))
        #expect(try bytes(of: out + "/config.json") == Array(config.utf8))
    }

    @Test func `with closed standard descriptors nothing is written into the model`() throws {
        let command = "'\(Repository.command)' export '\(model)' -o '\(out)' <&- 2>&- >/dev/null"
        #expect(try run("/bin/sh", ["-c", command]).exitCode == 0)
        #expect(try artifact("verify", out).exitCode == 0)
    }

    @Test func `an argument that is not UTF-8 is refused, not turned into another path`() throws {
        let command = "'\(Repository.command)' export '\(model)' -o \"$(printf '\(out)\\377')\""
        #expect(try run("/bin/sh", ["-c", command]).exitCode == 2)
        #expect(try FileManager.default.contentsOfDirectory(atPath: directory.path) == ["model"])
    }

    @Test func `a dry run says when the destination is taken`() throws {
        try #require(try export().exitCode == 0)
        #expect(try export("--dry-run").exitCode == 2)
    }

    @Test func `sizes that no disk holds are refused and do not trap`() throws {
        let large = UInt64(1) << 61
        var map: [String] = []
        for number in 1...5 {
            let header = Array(
                "{\"t\(number)\":{\"dtype\":\"U8\",\"shape\":[\(large)],\"data_offsets\":[0,\(large)]}}".utf8)
            let head = withUnsafeBytes(of: UInt64(header.count).littleEndian) { Array($0) } + header
            let name = "s-0000\(number)-of-00005.safetensors"
            let path = try directory.write(name, head)
            // Only some file systems hold a sparse file of this size.
            guard truncate(path, off_t(large) + off_t(head.count)) == 0 else { return }
            map.append("\"t\(number)\": \"\(name)\"")
        }
        try directory.write(
            "s.safetensors.index.json", "{\"metadata\": {}, \"weight_map\": {\(map.joined(separator: ","))}}")
        try FileManager.default.removeItem(atPath: model)
        let result = try artifact("export", directory.path, "-o", directory.path + "/x", "--dry-run")
        #expect(result.exitCode == 1 && result.errors.contains("size-overflow"))
    }

    @Test func `errors are JSON where JSON is asked for`() throws {
        let result = try artifact("export", directory.file("none"), "-o", out, "--json")
        let error = try #require(try result.json()["error"] as? [String: Any])
        #expect(result.exitCode == 3 && error["class"] as? String == "io")
        #expect(try artifact("verify", directory.file("none"), "--json").json()["error"] != nil)
    }
}
