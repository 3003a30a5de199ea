import Foundation
import TestSupport
import Testing

@Suite("Progress and summaries")
struct ProgressTests {
    let directory: TemporaryDirectory
    var out: String { directory.file("out") }

    init() throws { directory = try TemporaryDirectory() }

    /// The lines of progress, each an object.
    private func lines(_ result: ProcessResult) throws -> [[String: Any]] {
        try result.errors.split(separator: "\n").filter { $0.hasPrefix("{") }.map { line in
            let object = try JSONSerialization.jsonObject(with: Data(line.utf8))
            return try #require(object as? [String: Any])
        }
    }

    private func size(of path: String) throws -> Int {
        try FileManager.default.contentsOfDirectory(atPath: path).reduce(0) {
            $0 + (try bytes(of: path + "/" + $1).count)
        }
    }

    /// An export whose reads are slowed down, so that it takes more than a second.
    private func slowExport() throws -> ProcessResult {
        let layer =
            URL(fileURLWithPath: Repository.command).deletingLastPathComponent().path + "/libFaultLayer.so"
        return try artifact(
            "export", sample, "-o", out, "--progress", "json", "--jobs", "1",
            environment: ["LD_PRELOAD": layer, "FAULTS": "pread:1+:DELAY"])
    }

    @Test func `lines of JSON grow and end with done`() throws {
        let lines = try lines(slowExport())
        #expect(lines.count >= 2)
        let done = lines.compactMap { $0["done_bytes"] as? Int }
        #expect(done == done.sorted() && done.count == lines.count)
        let end = try #require(lines.last)
        #expect(end["phase"] as? String == "done" && end["done_bytes"] as? Int == end["total_bytes"] as? Int)
        #expect(end["done_items"] as? Int == end["total_items"] as? Int)
        #expect(lines.dropLast().allSatisfy { ["running", "finishing"].contains($0["phase"] as? String) })
    }

    @Test(.enabled(if: Oracle.isAvailable))
    func `lines of JSON satisfy their schema`() throws {
        let failed = try artifact("export", directory.file("none"), "-o", out, "--progress", "json")
        for line in try lines(slowExport()) + lines(failed) {
            let document = try directory.write(
                "line.json", [UInt8](JSONSerialization.data(withJSONObject: line)))
            try Oracle.run("validate.py", Repository.path("Formats/reports/progress.schema.json"), document)
        }
    }

    @Test func `an export that fails ends with failed`() throws {
        let result = try artifact("export", directory.file("none"), "-o", out, "--progress", "json")
        #expect(result.exitCode == 3)
        #expect(try lines(result).map { $0["phase"] as? String } == ["failed"])
    }

    @Test(arguments: [["--quiet", "--progress", "json"], ["--progress", "none"], []])
    func `nothing is shown of work that is quiet or short`(options: [String]) throws {
        let result = try run(Repository.command, ["export", sample, "-o", out] + options)
        #expect(result.exitCode == 0 && result.errors.isEmpty)
    }

    @Test func `a summary states what was read, written and hashed`() throws {
        let export = try artifact("export", sample, "-o", out, "--json").json()
        let made = try #require(export["summary"] as? [String: Any])
        let written = try size(of: out)
        #expect(made["bytes_written"] as? Int == written)
        #expect(try #require(made["bytes_hashed"] as? Int) >= written)
        let verification = try artifact("verify", out, "--json").json()
        let checked = try #require(verification["summary"] as? [String: Any])
        let hashed = written - (try bytes(of: out + "/artifact-manifest.json").count)
        #expect(checked["bytes_read"] as? Int == hashed && checked["bytes_hashed"] as? Int == hashed)
        #expect(checked["bytes_written"] as? Int == 0)
        #expect(try #require(checked["wall_seconds"] as? Double) >= 0)
        #expect(try #require(checked["peak_memory_bytes"] as? Int) > 1 << 20)
    }

    @Test func `people see a summary where they ask for one`() throws {
        #expect(try artifact("export", sample, "-o", out, "--summary").output.contains("of processor time"))
        #expect(try artifact("verify", out, "--summary").output.contains("hashed"))
        #expect(try !artifact("verify", out).output.contains("of processor time"))
    }
}
