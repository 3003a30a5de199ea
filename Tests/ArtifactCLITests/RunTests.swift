import Foundation
import TestSupport
import Testing

@Suite("artifact run")
struct RunTests {
    let directory: TemporaryDirectory
    var out: String { directory.file("out") }

    init() throws { directory = try TemporaryDirectory() }

    private func run(_ pipeline: String, _ arguments: String...) throws -> ProcessResult {
        let file = try directory.write("pipeline.yaml", pipeline)
        return try TestSupport.run(Repository.command, ["run", file] + arguments)
    }

    private var good: String {
        """
        vars:
          model: \(sample)
          out: \(out)
        steps:
          - export:
              source: ${model}
              output: ${out}
              dtype: bf16
              drop: ["*.layers.2.*"]
              untie: true
          - verify
          - reshard: {output: "${out}-2", max-shard-size: 100KB, layout: balanced}
          - index audit
          - inspect: {path: "${out}", quiet: true}
        """
    }

    private func states(_ result: ProcessResult) throws -> [String] {
        try #require(try result.json()["steps"] as? [[String: Any]]).map { $0["state"] as? String ?? "" }
    }

    @Test func `steps run one after another on what the one before made`() throws {
        let result = try run(good)
        #expect(result.exitCode == 0, "\(result.errors)")
        #expect(result.output.contains("5 steps done"))
        let direct = directory.file("direct")
        try #require(
            try artifact(
                "export", sample, "-o", direct, "--dtype", "bf16", "--drop", "*.layers.2.*", "--untie"
            )
            .exitCode == 0)
        #expect(try bytes(of: direct + "/model.safetensors") == bytes(of: out + "/model.safetensors"))
        #expect(try artifact("verify", out + "-2").exitCode == 0)
    }

    @Test(.enabled(if: Oracle.isAvailable))
    func `the report holds those of the steps, as its schema has it`() throws {
        let result = try run(good, "--json")
        let file = try directory.write("report.json", result.output)
        try Oracle.run("validate.py", Repository.path("Formats/reports/run.schema.json"), file)
        let steps = try #require(try result.json()["steps"] as? [[String: Any]])
        let schemas = steps.map { ($0["report"] as? [String: Any])?["schema"] as? String }
        #expect(
            schemas == [
                "artifact.export/v1", "artifact.verify/v1", "artifact.export/v1", "artifact.index/v1",
                "artifact.inspect/v1",
            ])
    }

    @Test func `a dry run writes nothing and tries what it can`() throws {
        let result = try run(good, "--dry-run", "--json")
        #expect(result.exitCode == 0, "\(result.errors)")
        #expect(try states(result) == ["done", "planned", "planned", "planned", "planned"])
        #expect(!FileManager.default.fileExists(atPath: out))
        #expect(try FileManager.default.contentsOfDirectory(atPath: directory.path) == ["pipeline.yaml"])
    }

    @Test func `the first step that fails ends the run with its exit code`() throws {
        try #require(try artifact("export", sample, "-o", out).exitCode == 0)
        var weights = try bytes(of: out + "/model.safetensors")
        weights[weights.count - 100] ^= 1
        try Data(weights).write(to: URL(fileURLWithPath: out + "/model.safetensors"))
        let text =
            "- inspect: {path: \(out), quiet: true}\n- verify: {path: \(out)}\n- inspect: {path: \(out)}\n"
        let result = try run(text)
        #expect(result.exitCode == 1)
        #expect(result.output.contains("stopped at step 2 of 3, line 2"))
        let json = try run(text, "--json")
        #expect(try states(json) == ["done", "failed", "skipped"] && json.exitCode == 1)
    }

    @Test(
        arguments: [
            ("- export: {source: a, ouptut: b}", "line 1, column 23", "ouptut"),
            ("- verify:\n    path: a\n    structure: maybe", "line 3, column 16", "true or false"),
            ("- verify: {path: [a, b]}", "line 1, column 12", "one value"),
            ("- rm: {path: a}", "line 1, column 3", "rm"), ("- run: {file: a}", "line 1, column 3", "run"),
            ("- help", "line 1, column 3", "help"), ("- index: {path: a}", "line 1, column 3", "index audit"),
            ("- verify: {path: a}\n- export: {source: a}", "line 2, column 3", "output"),
            ("- export: {source: a, output: b, dtype: bf17}", "line 1, column 3", "bf17"),
            ("- export: {source: a, output: b, drop: *.x}", "line 1, column 40", "quotes"),
            ("- verify: {help: true}", "line 1, column 12", "help"), ("- verify", "line 1, column 3", "path"),
        ] as [(String, String, String)])
    func `a mistake anywhere is found before the first step runs`(text: String, place: String, word: String)
        throws
    {
        let result = try run(
            "- inspect: {path: \(sample)}\n" + "# x\n" + "- export: {source: \(sample), output: \(out)}\n")
        #expect(result.exitCode == 0)
        try FileManager.default.removeItem(atPath: out)
        let refused = try run(text + "\n- export: {source: \(sample), output: \(out)}\n")
        #expect(refused.exitCode == 2 && refused.output.isEmpty)
        #expect(refused.errors.contains(place) && refused.errors.contains(word), "\(refused.errors)")
        #expect(!FileManager.default.fileExists(atPath: out))
    }

    @Test func `variables come from the command line`() throws {
        let text = "vars: {out: }\nsteps:\n- export: {source: \(sample), output: '${out}', quiet: true}\n"
        #expect(try run(text).exitCode == 2)
        #expect(try run(text, "--var", "out=\(out)").exitCode == 0)
        #expect(try run(text, "--var", "other=1", "--var", "out=x").exitCode == 2)
    }

    @Test(.enabled(if: Oracle.isAvailable))
    func `the schema of pipelines is what the command's own help says`() throws {
        let python = try #require(Oracle.python)
        let result = try TestSupport.run(
            python, [Repository.path("scripts/pipeline-schema"), Repository.command])
        #expect(result.exitCode == 0, "\(result.errors)")
        let schema = Repository.path("Formats/pipeline/pipeline.schema.json")
        #expect(
            result.output == String(decoding: try bytes(of: schema), as: UTF8.self),
            "run: scripts/pipeline-schema .build/debug/artifact > Formats/pipeline/pipeline.schema.json")
        let file = try directory.write(
            "p.json",
            #"{"vars": {"a": null}, "steps": ["verify", {"export": {"output": "o", "drop": ["x"], "untie": true}}]}"#
        )
        try Oracle.run("validate.py", schema, file)
        let wrong = try directory.write("wrong.json", #"[{"export": {"ouptut": "o"}}]"#)
        #expect(throws: (any Error).self) { try Oracle.run("validate.py", schema, wrong) }
    }
}
