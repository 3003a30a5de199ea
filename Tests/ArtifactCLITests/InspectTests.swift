import Foundation
import TestSupport
import Testing

@Suite("artifact inspect")
struct InspectTests {
    private func fixture(_ name: String) -> String { Repository.path("Tests/Fixtures/pytorch/" + name) }

    @Test func `digests of the sample's tensors are torch's, both names of a tie among them`() throws {
        let reference = try ReferenceDigests.model("tiny-llama")
        let json = try artifact("inspect", sample, "--json", "--digests").json()
        let tensors = try #require(json["tensors"] as? [[String: Any]])
        #expect(tensors.count == reference.tensors.count)
        for tensor in tensors {
            let expected = try #require(reference.tensors[tensor["name"] as? String ?? ""])
            #expect(tensor["sha256"] as? String == expected.sha256)
            #expect(
                tensor["nbytes"] as? Int == expected.nbytes && tensor["dtype"] as? String == expected.dtype)
        }
        let tied = try #require(json["tied"] as? [[String]])
        #expect(tied.map { $0.sorted() } == reference.tied.map { $0.sorted() })
        #expect(
            json["architecture"] as? String == "LlamaForCausalLM" && json["verdict"] as? String == "accept")
        #expect(json["parameter_count"] as? Int == 171_456)
    }

    @Test func `the table for people folds repeated layers`() throws {
        let result = try artifact("inspect", sample)
        #expect(result.exitCode == 0 && result.output.contains("model.layers.{0…2}.self_attn.q_proj.weight"))
        #expect(
            try artifact("inspect", sample, "--all").output.contains("model.layers.1.self_attn.q_proj.weight")
        )
    }

    @Test func `output that is no terminal has no escape sequences`() throws {
        let result = try artifact("inspect", sample)
        #expect(!result.output.contains("\u{1B}") && !result.errors.contains("\u{1B}"))
    }

    @Test func `output that cannot be written ends with exit code 3`() throws {
        let command = "'\(Repository.command)' inspect '\(sample)' > /dev/full"
        let result = try run("/bin/sh", ["-c", command])
        #expect(result.exitCode == 3 && result.errors.contains("standard output"))
    }

    @Test(arguments: [
        ("mal/posix_system.pt", "posix.system"), ("mal/stack_global_memo.pt", ""), ("mal/unknown_pkg.pt", ""),
        ("mal/nested_load_from_bytes.pt", ""), ("mal/inst.pt", ""), ("mal/legacy_payload.bin", ""),
    ])
    func `a pickle that would run code is refused as unsafe, by name, in every command`(
        name: String, global: String
    ) throws {
        let result = try artifact("inspect", fixture(name), "--json")
        #expect(result.exitCode == 1)
        let error = try #require(try result.json()["error"] as? [String: Any])
        #expect(error["class"] as? String == "unsafe" && error["code"] as? String == "refused-global")
        #expect(error["offset"] is Int)
        if !global.isEmpty { #expect(error["global"] as? String == global) }
        let directory = try TemporaryDirectory()
        let exported = try artifact("export", fixture(name), "-o", directory.file("out"))
        #expect(exported.exitCode == 1 && exported.errors.contains("refused-global"))
        #expect(try FileManager.default.contentsOfDirectory(atPath: directory.path).isEmpty)
        #expect(try artifact("verify", fixture(name)).exitCode == 1)
    }

    @Test(arguments: [
        ("mal/local_name_mismatch.pt", "local/central-mismatch"), ("bad/dup_pickle.pt", "duplicate-entry"),
        ("bad/storage_short.pt", "storage-size-mismatch"), ("bad/storage_missing.pt", "storage-missing"),
        ("bad/view_oob.pt", "view-out-of-bounds"), ("bad/neg_stride.pt", "negative-stride"),
        ("bad/truncated.pt", "no-central-directory"), ("bad/amplify_expand.pt", "output-limit"),
        ("bad/deep_nest.pt", "nesting-limit"),
    ])
    func `a broken checkpoint is refused with the code of its fault`(name: String, code: String) throws {
        let result = try artifact("inspect", fixture(name), "--json")
        let error = try #require(try result.json()["error"] as? [String: Any])
        #expect(result.exitCode == 1 && error["code"] as? String == code)
    }

    @Test(.enabled(if: Oracle.isAvailable))
    func `reports satisfy their schemas`() throws {
        let directory = try TemporaryDirectory()
        let out = directory.file("out")
        func check(_ schema: String, _ result: ProcessResult) throws {
            let document = try directory.write("document.json", result.output)
            try Oracle.run("validate.py", Repository.path("Formats/" + schema), document)
        }
        try check(
            "reports/export.schema.json", try artifact("export", sample, "-o", out, "--json", "--dry-run"))
        try check(
            "reports/export.schema.json",
            try artifact(
                "export", sample, "-o", out, "--json", "--dtype", "bf16", "--max-shard-size", "100KB"))
        try Oracle.run(
            "validate.py", Repository.path("Formats/manifest/manifest.schema.json"),
            out + "/artifact-manifest.json")
        try check("reports/inspect.schema.json", try artifact("inspect", sample, "--json", "--digests"))
        try check("reports/inspect.schema.json", try artifact("inspect", out, "--json"))
        try check(
            "reports/inspect.schema.json", try artifact("inspect", fixture("mal/posix_system.pt"), "--json"))
        try check("reports/verify.schema.json", try artifact("verify", out, "--json"))
        try directory.write("out/extra", "x")
        try check("reports/verify.schema.json", try artifact("verify", out, "--json"))
        try check("reports/verify.schema.json", try artifact("verify", sample, "--json"))
    }
}
