internal import ArgumentParser
internal import Integrity
internal import SafeTensors
internal import TensorCore

/// Options that every command has.
struct OutputOptions: ParsableArguments {
    @Flag(help: "Print the result as JSON on standard output.")
    var json = false

    @Flag(name: .shortAndLong, help: "Print errors only (and the JSON that --json asks for).")
    var quiet = false
}

/// What long commands show while they work and at their end.
struct ProgressOptions: ParsableArguments {
    @Option(
        name: .customLong("progress"),
        help: "How to show progress on standard error: a bar, plain lines, JSON lines or nothing.")
    var style: ProgressStyle = .auto

    @Flag(help: "Say at the end what the work cost: time, memory, bytes read, written and hashed.")
    var summary = false

    /// Starts to show progress.
    func start(_ verb: String, _ output: OutputOptions) -> Progress {
        Progress(verb, output.quiet ? .none : style)
    }

    /// Prints the summary for people, where it is asked for.
    func show(_ summary: RunSummary, _ output: OutputOptions) {
        guard self.summary, !output.json, !output.quiet else { return }
        Terminal.print(Terminal.outputStyle.dim(summary.line))
    }
}

/// How many threads work.
struct JobOptions: ParsableArguments {
    @Option(
        name: [.customShort("j"), .customLong("jobs")],
        help: ArgumentHelp("Threads to use (default: one a processor).", valueName: "number"))
    var requested: Int?

    /// The number of threads.
    var jobs: Int { requested ?? Workers.processorCount }

    func validate() throws {
        guard (1...1024).contains(jobs) else { throw ValidationError("--jobs takes a number from 1 to 1024") }
    }
}

/// How strictly SafeTensors headers are judged.
enum ValidationOption: String, ExpressibleByArgument, CaseIterable {
    case strict, reference

    var mode: ValidationMode {
        switch self {
        case .strict: .strict
        case .reference: .reference
        }
    }
}
