import Foundation
import TestSupport
import Testing

@Suite("artifact diff")
struct DiffTests {
    @Test func `an export is what it was made of, whatever the format and the shards`() throws {
        let directory = try TemporaryDirectory()
        let out = directory.file("out")
        #expect(
            try artifact("export", sample, "-o", out, "--max-shard-size", "100KB", "--untie", "-q").exitCode
                == 0)
        let result = try artifact("diff", sample, out)
        #expect(result.exitCode == 0 && result.output.contains("= 30 same"), "\(result.output)")
        #expect(try artifact("diff", out, sample, "-q").output.isEmpty)
    }

    @Test func `a cast shows in dtypes, values and the config, and a tolerance forgives the first two`()
        throws
    {
        let directory = try TemporaryDirectory()
        let out = directory.file("out")
        #expect(
            try artifact("export", sample, "-o", out, "--dtype", "bf16", "--untie", "-q").exitCode == 0)
        let result = try artifact("diff", sample, out)
        #expect(result.exitCode == 1)
        #expect(result.output.contains("F32 → BF16") && result.output.contains("layers 0…2"))
        #expect(
            result.output.contains(#"config.json  dtype"#)
                && result.output.contains(#""float32" → "bfloat16""#))
        #expect(!result.output.contains("\u{1B}"))
        #expect(try artifact("diff", sample, out, "--weights-only").exitCode == 1)
        #expect(try artifact("diff", sample, out, "--weights-only", "--tolerance", "0.01").exitCode == 0)
        #expect(try artifact("diff", sample, out, "--weights-only", "--tolerance", "1e-9").exitCode == 1)
    }

    @Test func `a name that is left out for its twin is said to be no loss`() throws {
        let directory = try TemporaryDirectory()
        let out = directory.file("out")
        #expect(try artifact("export", sample, "-o", out, "-q").exitCode == 0)
        let result = try artifact("diff", sample, out)
        #expect(result.exitCode == 1)
        #expect(result.output.contains("only in A  lm_head.weight"))
        #expect(result.output.contains("the same as model.embed_tokens.weight"))
        #expect(try artifact("diff", sample, out, "--drop", "lm_head.weight").exitCode == 0)
    }

    @Test func `what cannot be compared ends with the code of its class`() throws {
        let bad = Repository.path("Tests/Fixtures/pytorch/mal/posix_system.pt")
        #expect(try artifact("diff", sample, bad).exitCode == 1)
        #expect(try artifact("diff", sample, "/nowhere").exitCode == 3)
        #expect(try artifact("diff", sample, sample, "--tolerance", "-1").exitCode == 2)
        #expect(try artifact("diff", sample, sample, "--select", "nothing").exitCode == 2)
        #expect(try artifact("diff", sample, sample, "--select", "[").exitCode == 2)
        #expect(try artifact("diff", sample, sample, "--quick", "--tolerance", "1").exitCode == 2)
        let json = try artifact("diff", sample, bad, "--json").json()
        #expect((json["error"] as? [String: Any])?["code"] as? String == "refused-global")
    }

    @Test(.enabled(if: Oracle.isAvailable))
    func `the report satisfies its schema`() throws {
        let directory = try TemporaryDirectory()
        let out = directory.file("out")
        #expect(try artifact("export", sample, "-o", out, "--dtype", "bf16", "-q").exitCode == 0)
        let schema = Repository.path("Formats/reports/diff.schema.json")
        for arguments in [
            [sample, out], [sample, sample], [out, sample, "--quick"], [out, sample, "--tolerance", "1"],
        ] {
            let result = try run(Repository.command, ["diff", "--json"] + arguments)
            try Oracle.run("validate.py", schema, try directory.write("document.json", result.output))
        }
    }

    @Test(.enabled(if: Oracle.isAvailable))
    func `NumPy measures the same`() throws {
        let directory = try TemporaryDirectory()
        try Oracle.run("diff.py", Repository.command, directory.path)
    }
}
