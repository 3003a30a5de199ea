internal import ArgumentParser
internal import Conversion
internal import Pipelines
internal import StrictJSON
internal import Integrity
internal import TensorCore

struct Run: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Run the steps of a file, and stop at the first that fails.",
        discussion: """
            FILE is YAML: a list of steps, each a command of artifact with its arguments under the names that \
            they have here, without dashes. A step that does not say what it reads takes the directory that the \
            step before made. All steps are checked before the first one runs. Paths are relative to the \
            directory that the command runs in.

            Exit codes: 0 all steps succeeded; 2 the file is wrong; else the exit code of the step that failed.
            """)

    @Argument(help: "The file with the steps.", completion: .file(extensions: ["yaml", "yml"]))
    var file: String

    @Option(
        name: .customLong("var"),
        help: ArgumentHelp("Give a variable of the file a value. May be repeated.", valueName: "name=value"))
    var variables: [String] = []

    @Flag(help: "Say what each step would do, and write nothing.")
    var dryRun = false

    @OptionGroup var output: OutputOptions

    func run() throws {
        var report = PipelineReport(file: file, isDryRun: dryRun, steps: try steps())
        for number in report.steps.indices {
            report.announce(number, output)
            if dryRun && !report.canTry(number) {
                report.outcomes[number].state = .planned
                continue
            }
            report.outcomes[number] = Self.outcome(of: report.steps[number], isCaptured: output.json)
            if report.outcomes[number].exitCode != 0 { break }
        }
        if output.json {
            Terminal.print(json: report.json)
        } else if !output.quiet {
            Terminal.print(report.text(Terminal.outputStyle))
        }
        if report.exitCode != 0 { throw Exit(code: report.exitCode) }
    }

    /// Reads the file and parses every step.
    private func steps() throws -> [PipelineStep] {
        var values: [String: String] = [:]
        for variable in variables {
            let parts = variable.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            guard parts.count == 2 else {
                throw Exit(code: 2, message: "--var takes name=value, not \(escapedForDisplay(variable))")
            }
            values[String(parts[0])] = String(parts[1])
        }
        do {
            let contents = try FileSystem.contents(of: file, limit: 1 << 20)
            let pipeline = try Pipeline(
                parsing: contents, variables: values, environment: Terminal.environment)
            let catalog = try CommandCatalog()
            let adding =
                (dryRun ? ["dry-run"] : []) + (output.json ? ["json"] : []) + (output.quiet ? ["quiet"] : [])
            var current: String?
            return try pipeline.steps.map { step in
                let step = try PipelineStep(step, catalog: catalog, current: current, adding: adding)
                current = step.output ?? current
                return step
            }
        } catch let error as PipelineError {
            throw Exit(code: 2, message: "\(escapedForDisplay(file)): \(escapedPattern(error.description))")
        } catch let error as IOError {
            throw Exit(code: 3, message: error.description)
        }
    }

    /// Runs a step; what it prints is kept where it is to become part of a report.
    private static func outcome(of step: PipelineStep, isCaptured: Bool) -> PipelineReport.Outcome {
        var outcome = PipelineReport.Outcome(state: .done)
        let started = ContinuousClock.now
        func run() {
            do {
                var command = step.command
                try command.run()
            } catch let exit as Exit {
                outcome.exitCode = exit.code
                outcome.message = exit.message
            } catch {
                outcome.exitCode = 2
                outcome.message = Artifact.message(for: error)
            }
        }
        if isCaptured { outcome.output = Terminal.capturingOutput(run) } else { run() }
        outcome.seconds = (ContinuousClock.now - started).seconds
        if outcome.exitCode != 0 { outcome.state = .failed }
        if let message = outcome.message { Terminal.printError("artifact: \(message)") }
        return outcome
    }
}
