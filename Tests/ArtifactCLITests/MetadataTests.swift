import Foundation
import TestSupport
import Testing

@Suite("artifact metadata")
struct MetadataTests {
    let directory: TemporaryDirectory
    var file: String { directory.file("adapter.safetensors") }

    init() throws {
        directory = try TemporaryDirectory()
        try FileManager.default.copyItem(
            atPath: adapter + "/adapter_model.safetensors", toPath: directory.file("adapter.safetensors"))
    }

    private func metadata(_ arguments: String...) throws -> ProcessResult {
        try run(Repository.command, ["metadata"] + arguments)
    }

    private func lines() throws -> [String] {
        try metadata("get", file).output.split(separator: "\n").map(String.init)
    }

    private func opened() throws -> (metadata: [String: String], tensors: [String: [String: Any]]) {
        let files = try Oracle.run("safetensors_open.py", file).json()["files"] as? [[String: Any]]
        let report = try #require(files?.first)
        return (
            report["metadata"] as? [String: String] ?? [:],
            try #require(report["tensors"] as? [String: [String: Any]])
        )
    }

    @Test func `keys are set, shown and removed`() throws {
        let before = try lines()
        #expect(try metadata("set", file, "a=1", "b=x=y\n\"").exitCode == 0)
        #expect(try Set(lines()) == Set(before + ["a=1", "b=x=y\\n\""]))
        #expect(try metadata("get", file, "b").output == "b=x=y\\n\"\n")
        #expect(try metadata("unset", file, "b", "a").exitCode == 0)
        #expect(try lines() == before)
        #expect(
            try FileManager.default.contentsOfDirectory(atPath: directory.path) == ["adapter.safetensors"])
    }

    @Test(.enabled(if: Oracle.isAvailable))
    func `the Python package reads the new metadata and the same tensors, whatever the way of the change`()
        throws
    {
        let before = try opened()
        for (value, method) in [
            ("short", nil), (String(repeating: "é\\", count: 9000), nil), ("s", "inPlace"),
        ]
            as [(String, String?)]
        {
            let result = try run(Repository.command, ["metadata", "set", file, "note=" + value, "--json"])
            #expect(result.exitCode == 0, "\(result.errors)")
            if let method { #expect(try result.json()["method"] as? String == method) }
            let after = try opened()
            #expect(after.metadata == before.metadata.merging(["note": value]) { _, new in new })
            #expect(after.tensors.count == before.tensors.count)
            for (name, tensor) in after.tensors {
                #expect(tensor["sha256"] as? String == before.tensors[name]?["sha256"] as? String)
            }
        }
    }

    @Test(.enabled(if: Oracle.isAvailable))
    func `every report satisfies its schema`() throws {
        let schema = Repository.path("Formats/reports/metadata.schema.json")
        for arguments in [
            ["get", file], ["set", file, "a=1", "--dry-run"], ["set", file, "a=1"], ["set", file, "a=1"],
            ["unset", file, "a"], ["get", file, "format"],
        ] {
            let result = try run(Repository.command, ["metadata"] + arguments + ["--json"])
            #expect(result.exitCode == 0, "\(result.errors)")
            try Oracle.run("validate.py", schema, try directory.write("report.json", result.output))
        }
    }

    @Test func `a dry run writes nothing`() throws {
        let before = try bytes(of: file)
        let result = try metadata("set", file, "a=1", "--dry-run")
        #expect(result.exitCode == 0 && result.output.contains("dry run"))
        #expect(try bytes(of: file) == before)
    }

    @Test func `wrong use ends with 2, bad input with 1 and what cannot be with 3`() throws {
        let before = try bytes(of: file)
        #expect(try metadata("set", file, "a=1", "a=2").exitCode == 2)
        #expect(try metadata("set", file, "a").exitCode == 2)
        #expect(try metadata("set", file, "=x").exitCode == 2)
        #expect(try metadata("unset", file, "a", "a").exitCode == 2)
        #expect(try metadata("unset", file, "nope").exitCode == 1)
        #expect(try metadata("get", file, "nope").exitCode == 1)
        #expect(try metadata("set", try directory.write("bad", "{}"), "a=1").exitCode == 1)
        #expect(try metadata("get", directory.file("missing")).exitCode == 3)
        link(file, directory.file("second"))
        let shared = try metadata("set", file, "a=1")
        #expect(shared.exitCode == 2 && shared.errors.contains("--force"))
        #expect(try bytes(of: file) == before)
        #expect(try metadata("set", file, "format=x", "--force").exitCode == 0)
        #expect(try metadata("get", directory.file("second"), "format").output == "format=x\n")
    }

    @Test func `a manifest that lists the file, a signature and a missing format are warned of`() throws {
        let out = directory.file("out")
        try #require(try artifact("export", sample, "-o", out, "-q").exitCode == 0)
        try Data().write(to: URL(fileURLWithPath: out + "/model.safetensors.sig"))
        let model = out + "/model.safetensors"
        let result = try metadata("set", model, "note=1", "--json")
        let warnings = try #require(try result.json()["warnings"] as? [[String: String]])
        #expect(warnings.map { $0["code"] } == ["manifestMismatch", "signatureMismatch"])
        #expect(result.errors.contains("artifact-manifest.json lists the SHA-256"))
        #expect(try artifact("verify", out).exitCode == 1)
        #expect(try metadata("unset", model, "format").errors.contains("transformers 4"))
    }
}

/// Findings of an adversary.
@Suite("A journal is kept while a file needs it")
struct MetadataJournalTests {
    @Test(arguments: ["artifact journal 2\n", "artifact jour", "", "nonsense"])
    func `a journal that cannot be read stays beside a file that cannot be opened, and goes from a sound one`(
        journal: String
    ) throws {
        let directory = try TemporaryDirectory()
        let header = Array("{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]}}".utf8)
        let sound =
            withUnsafeBytes(of: UInt64(header.count).littleEndian) { Array($0) } + header + [1, 2, 3, 4]
        let file = try directory.write("m.safetensors", [UInt8](repeating: 0, count: 4096) + sound)
        let beside = try directory.write(".m.safetensors.artifact-journal", journal)
        let refused = try artifact("metadata", "get", file)
        #expect(refused.exitCode == 3 && refused.errors.contains("journal"))
        #expect(try bytes(of: beside) == Array(journal.utf8))
        try directory.write("m.safetensors", sound)
        #expect(try artifact("metadata", "get", file).exitCode == 0)
        #expect(!FileManager.default.fileExists(atPath: beside))
        #expect(try bytes(of: file) == sound)
    }
}
