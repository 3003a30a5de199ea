import Foundation
import TestSupport
import Testing

@Suite("artifact adapter and export --merge")
struct AdapterTests {
    let directory: TemporaryDirectory
    private let base = Repository.path("Tests/Fixtures/formats/lora/base")
    private let adapter = Repository.path("Tests/Fixtures/formats/lora/plain")

    init() throws { directory = try TemporaryDirectory() }

    @Test func `a plan of a merge is carried out, and refused once the adapter is another`() throws {
        let copy = directory.file("adapter")
        try FileManager.default.copyItem(atPath: adapter, toPath: copy)
        let plan = directory.file("plan.json")
        #expect(try artifact("plan", base, "--merge", copy, "-o", plan, "-q").exitCode == 0)
        #expect(try artifact("export", "--plan", plan, "-o", directory.file("a"), "-q").exitCode == 0)
        #expect(
            try artifact("export", base, "--merge", copy, "-o", directory.file("b"), "-q").exitCode == 0)
        #expect(try run("/usr/bin/diff", ["-r", directory.file("a"), directory.file("b")]).exitCode == 0)
        #expect(try artifact("verify", directory.file("a"), "-q").exitCode == 0)
        let file = copy + "/adapter_model.safetensors"
        try FileManager.default.setAttributes(
            [.modificationDate: Date(timeIntervalSince1970: 1)], ofItemAtPath: file)
        let late = try artifact("export", "--plan", plan, "-o", directory.file("c"))
        #expect(late.exitCode == 1 && late.errors.contains("adapter_model.safetensors"))
    }

    @Test(.enabled(if: Oracle.isAvailable)) func `manifest and reports are what their schemas say`() throws {
        let output = directory.file("out")
        let export = try artifact("export", base, "--merge", adapter, "-o", output, "--json")
        let inspect = try artifact("adapter", "inspect", adapter, "--json")
        try directory.write("export.json", export.output)
        try directory.write("inspect.json", inspect.output)
        for (schema, file) in [
            ("reports/export", directory.file("export.json")),
            ("reports/adapter", directory.file("inspect.json")),
            ("manifest/manifest", output + "/artifact-manifest.json"),
        ] {
            try Oracle.run("validate.py", Repository.path("Formats/\(schema).schema.json"), file)
        }
        let manifest = try #require(
            try JSONSerialization.jsonObject(with: Data(bytes(of: output + "/artifact-manifest.json")))
                as? [String: Any])
        let transforms = try #require(manifest["transforms"] as? [[String: Any]])
        #expect(transforms.first?["kind"] as? String == "merge" && transforms.first?["tensors"] as? Int == 2)
        let source = try #require(manifest["source"] as? [String: Any])
        let files = try #require(source["files"] as? [[String: Any]])
        #expect(files.contains { $0["path"] as? String == "plain/adapter_model.safetensors" })
    }

    @Test func `an adapter of another base is refused and leaves nothing`() throws {
        let other = Repository.path("Tests/Fixtures/formats/lora/gpt2_base")
        let result = try artifact("export", other, "--merge", adapter, "-o", directory.file("out"))
        #expect(result.exitCode == 1 && result.errors.contains("model.layers.0.self_attn.q_proj.weight"))
        #expect(try FileManager.default.contentsOfDirectory(atPath: directory.path).isEmpty)
    }

    @Test func `a step of a pipeline merges`() throws {
        try directory.write(
            "steps.yaml",
            "- export: {source: '\(base)', merge: '\(adapter)', output: '\(directory.file("out"))'}\n"
                + "- verify: {path: '\(directory.file("out"))'}\n")
        #expect(try artifact("run", directory.file("steps.yaml"), "-q").exitCode == 0)
    }

    @Test func `an adapter is converted, and extracted again from what it made`() throws {
        let (mlx, merged) = (directory.file("mlx"), directory.file("merged"))
        #expect(try artifact("adapter", "convert", adapter, "--to", "mlx", "-o", mlx, "-q").exitCode == 0)
        #expect(FileManager.default.fileExists(atPath: mlx + "/adapters.safetensors"))
        #expect(try artifact("export", base, "--merge", mlx, "-o", merged, "-q").exitCode == 0)
        let extracted = try artifact(
            "adapter", "extract", base, merged, "--rank", "4", "-o", directory.file("again"), "--json")
        #expect(extracted.exitCode == 0)
        let changes = try #require(try extracted.json()["changes"] as? [[String: Any]])
        let updates = try #require(changes.first?["updates"] as? [[String: Any]])
        #expect(updates.count == 2)
        #expect(updates.allSatisfy { ($0["relative_error"] as? Double ?? 1) < 1e-5 })
        let inspect = try artifact("adapter", "inspect", directory.file("again"), "--json").json()
        #expect(inspect["rank"] as? Int == 4 && (inspect["modules"] as? [Any])?.count == 2)
    }

    @Test func `a large merge takes the memory of its pieces`() throws {
        // 1 GiB of zeros that take no room on the disk.
        let (rows, columns) = (16_384, 32_768)
        try makeFile(
            "base/model.safetensors",
            #"{"q.weight":{"dtype":"BF16","shape":[\#(rows),\#(columns)],"data_offsets":[0,\#(rows * columns * 2)]}}"#,
            size: rows * columns * 2)
        let (a, b) = (8 * columns * 4, rows * 8 * 4)
        let name = "base_model.model.q."
        try makeFile(
            "adapter/adapter_model.safetensors",
            #"{"\#(name)lora_A.weight":{"dtype":"F32","shape":[8,\#(columns)],"data_offsets":[0,\#(a)]},"#
                + #""\#(name)lora_B.weight":{"dtype":"F32","shape":[\#(rows),8],"data_offsets":[\#(a),\#(a + b)]},"#
                + #""\#(name)lora_magnitude_vector":{"dtype":"F32","shape":[\#(rows)],"data_offsets":[\#(a + b),\#(a + b + rows * 4)]}}"#,
            size: a + b + rows * 4)
        try Data(#"{"peft_type":"LORA","r":8,"use_dora":true}"#.utf8).write(
            to: URL(fileURLWithPath: directory.file("adapter/adapter_config.json")))
        let result = try artifact(
            "export", directory.file("base"), "--merge", directory.file("adapter"), "-o",
            directory.file("out"),
            "--memory", "64MB", "--digests", "none", "--json")
        #expect(result.exitCode == 0, "\(result.errors)")
        let summary = try #require(try result.json()["summary"] as? [String: Any])
        #expect(try #require(summary["peak_memory_bytes"] as? Int) < 200 << 20)
    }

    private func makeFile(_ name: String, _ header: String, size: Int) throws {
        let path = directory.file(name)
        try FileManager.default.createDirectory(
            at: URL(fileURLWithPath: path).deletingLastPathComponent(), withIntermediateDirectories: true)
        let padded = header + String(repeating: " ", count: (8 - header.utf8.count % 8) % 8)
        let length = withUnsafeBytes(of: UInt64(padded.utf8.count).littleEndian) { Data($0) }
        try (length + Data(padded.utf8)).write(to: URL(fileURLWithPath: path))
        let file = try #require(FileHandle(forUpdatingAtPath: path))
        try file.truncate(atOffset: UInt64(8 + padded.utf8.count + size))
        try file.close()
    }
}
