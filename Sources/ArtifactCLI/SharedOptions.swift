internal import ArgumentParser
internal import SafeTensors
internal import TensorCore

/// Options that every command has.
struct OutputOptions: ParsableArguments {
    @Flag(help: "Print the result as JSON on standard output.")
    var json = false

    @Flag(name: .shortAndLong, help: "Print errors only (and the JSON that --json asks for).")
    var quiet = false
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
