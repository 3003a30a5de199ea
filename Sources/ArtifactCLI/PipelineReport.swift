internal import Conversion
internal import Pipelines
internal import StrictJSON
internal import TensorCore

/// What became of the steps of a pipeline, for people and for programs.
struct PipelineReport {
    let file: String
    let isDryRun: Bool
    let steps: [PipelineStep]
    var outcomes: [Outcome]

    struct Outcome {
        enum State: String { case done, failed, planned, skipped }

        var state: State
        var exitCode: Int32 = 0
        var seconds = 0.0
        var message: String?
        /// What the step wrote to standard output, where that was kept.
        var output: [UInt8] = []
    }

    init(file: String, isDryRun: Bool, steps: [PipelineStep]) {
        self.file = file
        self.isDryRun = isDryRun
        self.steps = steps
        outcomes = steps.map { _ in Outcome(state: .skipped) }
    }

    /// The exit code of the step that failed, or 0.
    var exitCode: Int32 { outcomes.first { $0.exitCode != 0 }?.exitCode ?? 0 }

    /// Whether a step can be tried in a dry run: it has one itself, and does not read what an earlier step would
    /// have made.
    func canTry(_ number: Int) -> Bool {
        let made = steps[..<number].compactMap(\.output).map(Path.normalized)
        let readsResult = steps[number].inputs.contains { input in
            let input = Path.normalized(input)
            return made.contains { input == $0 || input.hasPrefix($0 + "/") }
        }
        return steps[number].hasDryRun && !readsResult
    }

    /// Says which step is next.
    func announce(_ number: Int, _ options: OutputOptions) {
        guard !options.json && !options.quiet else { return }
        let step = steps[number]
        let words = step.arguments.filter { $0 != "--" }.map(Self.shellWord).joined(separator: " ")
        Terminal.print(Terminal.outputStyle.bold("[\(number + 1)/\(steps.count)] artifact \(words)"))
    }

    /// A word as it would be typed.
    private static func shellWord(_ word: String) -> String {
        let plain = word.utf8.allSatisfy {
            0x30...0x39 ~= $0 || 0x41...0x5A ~= $0 || 0x61...0x7A ~= $0 || "-_=./:,@+%".utf8.contains($0)
        }
        guard !plain || word.isEmpty else { return word }
        return "'"
            + escapedPattern(word).split(separator: "'", omittingEmptySubsequences: false).joined(
                separator: "'\\''") + "'"
    }

    func text(_ style: Style) -> String {
        var table = Table(.right, .left, .right, .left)
        for (number, (step, outcome)) in zip(steps, outcomes).enumerated() {
            let result =
                switch outcome.state {
                case .done: isDryRun ? "dry run passed" : "done"
                case .failed: "failed with exit code \(outcome.exitCode)"
                case .planned: "would run"
                case .skipped: "not run"
                }
            let wasRun = outcome.state == .done || outcome.state == .failed
            table.add("\(number + 1)", step.name, wasRun ? Clock.describe(outcome.seconds) : "", result)
        }
        var lines = table.lines(indent: "  ")
        let name = style.bold(escapedForDisplay(file))
        if let failed = outcomes.firstIndex(where: { $0.state == .failed }) {
            let line = steps[failed].place.line
            lines.append(
                "\(style.red("✗")) \(name): stopped at step \(failed + 1) of \(steps.count), line \(line)")
        } else if isDryRun {
            lines.append("dry run: \(counted(steps.count, "step")) of \(name), nothing was written")
        } else {
            lines.append("\(style.green("✓")) \(name): \(counted(steps.count, "step")) done")
        }
        return lines.joined(separator: "\n")
    }

    var json: JSONValue {
        .object([
            .init("schema", .string("artifact.run/v1")), .init("pipeline", .string(file)),
            .init("dry_run", .bool(isDryRun)), .init("exit_code", .integer(exitCode)),
            .init("steps", .array(zip(steps, outcomes).map(Self.json))),
        ])
    }

    private static func json(_ step: PipelineStep, _ outcome: Outcome) -> JSONValue {
        var members: [JSONMember] = [
            .init("command", .string(step.name)),
            .init("arguments", .array(step.arguments.map { .string($0) })),
            .init("line", .integer(step.place.line)), .init("state", .string(outcome.state.rawValue)),
        ]
        if outcome.state == .done || outcome.state == .failed {
            members.append(.init("exit_code", .integer(outcome.exitCode)))
            members.append(.init("milliseconds", .integer(Int(outcome.seconds * 1000))))
        }
        if let message = outcome.message { members.append(.init("message", .string(message))) }
        if !outcome.output.isEmpty {
            let report =
                (try? JSONValue(parsing: outcome.output))
                ?? .string(String(decoding: outcome.output, as: UTF8.self))
            members.append(.init("report", report))
        }
        return .object(members)
    }
}
