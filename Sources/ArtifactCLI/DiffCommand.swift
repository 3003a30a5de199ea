internal import ArgumentParser
internal import CheckpointFormats
internal import Checkpoints
internal import Conversion
internal import Integrity
internal import StrictJSON
internal import TensorCore

struct Diff: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Show in what two checkpoints differ, tensor by tensor.",
        discussion: """
            A and B are weights files or model directories of any formats; tensors are compared by name, whatever \
            file they are in. Bytes decide whether two are the same; where they are not, the values are compared, \
            also those of different dtypes. Config and other files beside the weights are compared too.

            Exit codes: 0 no difference (or none beyond --tolerance); 1 there are differences, or an input is \
            bad; 2 wrong usage; 3 something could not be read.
            """)

    @Argument(help: "The first checkpoint: a file or a directory.", completion: .file())
    var a: String

    @Argument(help: "The second checkpoint: a file or a directory.", completion: .file())
    var b: String

    @Flag(help: "Compare names, dtypes and shapes only; read no values.")
    var quick = false

    @Option(
        help: ArgumentHelp(
            "Take values for the same that lie no farther from each other, whatever their dtypes.",
            valueName: "distance"))
    var tolerance: Double?

    @Option(
        help: ArgumentHelp("Compare only the tensors of these names. May be repeated.", valueName: "glob"))
    var select: [String] = []

    @Option(help: ArgumentHelp("Leave out the tensors of these names. May be repeated.", valueName: "glob"))
    var drop: [String] = []

    @Flag(help: "Compare tensors only, not the files beside them.")
    var weightsOnly = false

    @Flag(help: "List every tensor that differs; without it, the 40 that differ most.")
    var all = false

    @OptionGroup var reading: SourceOptions
    @OptionGroup var jobs: JobOptions
    @OptionGroup var progress: ProgressOptions
    @OptionGroup var output: OutputOptions

    func validate() throws {
        if let tolerance, !(tolerance >= 0) {
            throw ValidationError("--tolerance takes a number that is not negative")
        }
        if quick, tolerance != nil {
            throw ValidationError("--quick reads no values, so --tolerance says nothing")
        }
    }

    func run() throws {
        let progress = self.progress.start("comparing", output)
        defer { progress.finish() }
        let report: DiffReport
        do {
            let (left, right) = (try open(a), try open(b))
            let diff = try CheckpointDiff(left, right, options: try options(progress))
            report = DiffReport(diff, a: (a, left.checkpoint), b: (b, right.checkpoint))
        } catch let error as ConversionError {
            if output.json { Terminal.print(json: error.json) }
            throw Exit(error)
        }
        progress.finish(isComplete: true)
        let summary = progress.summary
        if output.json {
            Terminal.print(json: report.json.adding("summary", summary.json))
        } else if !output.quiet {
            Terminal.print(report.text(Terminal.outputStyle, listsAll: all))
            self.progress.show(summary, output)
        }
        if !report.diff.isSame { throw Exit(code: 1) }
    }

    private func open(_ path: String) throws(ConversionError) -> OpenedModel {
        do { return try FormatRegistry.open(path: path, options: reading.readOptions) } catch {
            throw .source(error)
        }
    }

    private func options(_ progress: Progress) throws -> CheckpointDiff.Options {
        var options = CheckpointDiff.Options()
        options.selection = try select.map(glob)
        options.exclusion = try drop.map(glob)
        options.isQuick = quick
        options.isWeightsOnly = weightsOnly
        options.tolerance = tolerance
        options.jobs = jobs.jobs
        options.willRead = { progress.expect($0) }
        options.progress = { progress.advance($0) }
        options.isCancelled = isInterrupted
        options.counters = progress.counters
        return options
    }

    private func glob(_ text: String) throws -> Glob {
        do { return try Glob(parsing: text) } catch { throw Exit(code: 2, message: "'\(text)': \(error)") }
    }
}
