import Foundation
import TestSupport
import Testing

@Suite("artifact check")
struct CheckTests {
    /// A file of one tensor with metadata that lack `format`.
    private func fileWithoutFormat(in directory: TemporaryDirectory) throws -> String {
        let header = #"{"__metadata__":{"x":"y"},"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}"#
        let prefix = (0..<8).map { UInt8(truncatingIfNeeded: header.utf8.count >> (8 * $0)) }
        return try directory.write("model.safetensors", prefix + Array(header.utf8) + [1])
    }

    @Test func `an export loads everywhere`() throws {
        let directory = try TemporaryDirectory()
        let out = directory.file("out")
        #expect(try artifact("export", sample, "-o", out, "--max-shard-size", "100KB", "-q").exitCode == 0)
        let result = try artifact("check", out, "--json")
        let loaders = try #require(try result.json()["loaders"] as? [[String: Any]])
        #expect(result.exitCode == 0 && loaders.count >= 16)
        #expect(loaders.allSatisfy { $0["verdict"] as? String == "loads" })
    }

    @Test func `a refusal names the reason, the file and the fix, and is exit code 1`() throws {
        let directory = try TemporaryDirectory()
        let path = try fileWithoutFormat(in: directory)
        let result = try artifact("check", path, "--for", "transformers,hub")
        #expect(result.exitCode == 1)
        #expect(result.output.contains("✗ transformers@4") && result.output.contains("✓ transformers@5"))
        #expect(
            result.output.contains("there is no format")
                && result.output.contains("→ set it: artifact metadata set"))
        #expect(try artifact("check", path, "--for", "transformers@5").exitCode == 0)
    }

    @Test func `a loader that nobody knows is wrong usage and the known ones are named`() throws {
        let result = try artifact("check", sample, "--for", "nothing")
        #expect(result.exitCode == 2 && result.errors.contains("transformers@5"))
    }

    @Test func `rules of the user's own are used, and broken ones are wrong usage`() throws {
        let directory = try TemporaryDirectory()
        let path = try fileWithoutFormat(in: directory)
        let rules = try directory.write(
            "mine.json",
            """
            {"schema": "artifact.loader/v1", "loader": "mine", "title": "mine", "tested": "1", "rules": [
              {"id": "no-bytes", "test": {"kind": "dtype", "dtypes": ["U8"]}, "verdict": "unknown",
               "reason": "bytes", "fix": "none", "evidence": "read", "source": {"repository": "x", "version": "1"}}]}
            """)
        let result = try artifact("check", path, "--rules", rules, "--for", "mine", "--json")
        #expect(result.exitCode == 4 && result.output.contains("no-bytes"))
        try directory.write("mine.json", "{}")
        let broken = try artifact("check", path, "--rules", rules)
        #expect(broken.exitCode == 2 && broken.errors.contains("schema is missing"))
    }

    @Test func `what is no SafeTensors model cannot be judged`() throws {
        let directory = try TemporaryDirectory()
        #expect(try artifact("check", directory.path).exitCode == 3)
        #expect(try artifact("check", directory.file("absent")).exitCode == 3)
    }

    @Test(.enabled(if: Oracle.isAvailable))
    func `reports satisfy their schema`() throws {
        let directory = try TemporaryDirectory()
        let schema = Repository.path("Formats/reports/check.schema.json")
        for path in [try fileWithoutFormat(in: directory), directory.path] {
            let document = try directory.write("document.json", try artifact("check", path, "--json").output)
            try Oracle.run("validate.py", schema, document)
        }
    }
}
