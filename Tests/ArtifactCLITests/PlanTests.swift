import Foundation
import TestSupport
import Testing

@Suite("artifact plan")
struct PlanTests {
    let directory: TemporaryDirectory
    private let sample = Repository.path("SampleModels/tiny-llama")

    init() throws { directory = try TemporaryDirectory() }

    @Test func `a plan that is carried out gives what the same options give`() throws {
        let plan = directory.file("plan.json")
        let options = ["--dtype", "bf16", "--rename", "s/^model\\.//", "--max-shard-size", "100KB"]
        #expect(try run(Repository.command, ["plan", sample, "-o", plan] + options).exitCode == 0)
        #expect(try artifact("export", "--plan", plan, "-o", directory.file("a"), "-q").exitCode == 0)
        let direct = try run(
            Repository.command, ["export", sample, "-o", directory.file("b"), "-q"] + options)
        #expect(direct.exitCode == 0)
        #expect(try run("/usr/bin/diff", ["-r", directory.file("a"), directory.file("b")]).exitCode == 0)
    }

    @Test(.enabled(if: Oracle.isAvailable)) func `a plan is what its schema says`() throws {
        let plan = try artifact("plan", sample, "--dtype", "f16", "--layout", "balanced")
        try Data(plan.output.utf8).write(to: URL(fileURLWithPath: directory.file("plan.json")))
        try Oracle.run(
            "validate.py", Repository.path("Formats/plan/plan.schema.json"), directory.file("plan.json"))
    }

    @Test func `items are every byte of every file once`() throws {
        let plan = try artifact("plan", sample, "--max-shard-size", "100KB").json()
        let files = try #require(plan["files"] as? [[String: Any]])
        let items = try #require(plan["items"] as? [[String: Any]])
        for file in files {
            var end = 0
            for item in items where item["file"] as? String == file["path"] as? String {
                #expect(item["offset"] as? Int == end)
                end += item["nbytes"] as? Int ?? 0
            }
            #expect(end == file["size"] as? Int)
        }
    }

    @Test func `planning writes nothing but the plan, and that not over another file`() throws {
        let plan = directory.file("plan.json")
        #expect(try artifact("plan", sample, "-o", plan, "-q").exitCode == 0)
        let again = try artifact("plan", sample, "-o", plan, "--dtype", "bf16")
        #expect(again.exitCode == 2 && again.errors.contains("--force"))
        #expect(try artifact("plan", sample, "-o", plan, "-q", "--force").exitCode == 0)
        #expect(try FileManager.default.contentsOfDirectory(atPath: directory.path) == ["plan.json"])
    }

    @Test func `a source that has changed since is named`() throws {
        let copy = directory.file("model")
        try FileManager.default.copyItem(atPath: sample, toPath: copy)
        let plan = directory.file("plan.json")
        #expect(try artifact("plan", copy, "-o", plan, "-q").exitCode == 0)
        let file = copy + "/pytorch_model-00002-of-00003.bin"
        let handle = try #require(FileHandle(forUpdatingAtPath: file))
        try handle.seek(toOffset: 100)
        let byte = try #require(try handle.read(upToCount: 1)?.first)
        try handle.seek(toOffset: 100)
        try handle.write(contentsOf: [byte])
        try handle.close()
        let result = try artifact("export", "--plan", plan, "-o", directory.file("out"))
        #expect(
            result.exitCode == 1 && result.errors.contains("pytorch_model-00002-of-00003.bin was changed"))
        #expect(!FileManager.default.fileExists(atPath: directory.file("out")))
    }

    @Test(arguments: [
        "", "{", "{}",
        #"{"schema":"artifact.plan/v1","arguments":["--plan=x"],"digest":"","source_files":[]}"#,
    ])
    func `a file that is no plan is refused`(text: String) throws {
        let plan = directory.file("plan.json")
        try Data(text.utf8).write(to: URL(fileURLWithPath: plan))
        let result = try artifact("export", "--plan", plan, "-o", directory.file("out"))
        #expect(result.exitCode == 1 && result.errors.contains("bad-plan"))
    }

    @Test(arguments: ["--help", "--experimental-dump-help", "--bogus", "--plan=other"])
    func `arguments in a plan that lead to no export are a fault of the plan`(argument: String) throws {
        let plan = directory.file("plan.json")
        let text = """
            {"schema":"artifact.plan/v1","arguments":["model","\(argument)"],"digest":"","source_files":[]}
            """
        try Data(text.utf8).write(to: URL(fileURLWithPath: plan))
        let result = try artifact("export", "--plan", plan, "-o", directory.file("out"))
        #expect(result.exitCode == 1 && result.output.isEmpty && result.errors.contains("plan.json"))
    }

    @Test(arguments: [["--dtype", "bf16"], ["--drop", "*"], ["--max-shard-size", "1GB"], ["somewhere"]])
    func `what a plan says is not said again`(options: [String]) throws {
        let arguments = ["export", "--plan", "plan.json", "-o", directory.file("out")] + options
        #expect(try run(Repository.command, arguments).exitCode == 2)
    }
}
