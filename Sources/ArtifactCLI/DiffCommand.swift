internal import ArgumentParser
internal import CheckpointFormats
internal import Checkpoints
internal import Conversion
internal import TensorCore

struct Diff: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Compare two checkpoints: their tensors by name, and the files beside them.",
        discussion: """
            FIRST and SECOND are weights files or directories of any formats. Tensors are compared by their names, \
            dtypes, shapes and values, whatever holds them; the largest differences come first. Config, tokenizer \
            and the like are compared where both have such files.

            Exit codes: 0 the same; 1 different, or one of them is bad; 2 wrong usage; 3 could not.
            """)

    @Argument(help: "A checkpoint: a file or a directory.", completion: .file())
    var first: String

    @Argument(help: "The checkpoint that it is compared with.", completion: .file())
    var second: String

    @Flag(help: "Compare names, dtypes and shapes only; read no tensor.")
    var quick = false

    @Option(
        help: ArgumentHelp(
            "Take tensors for the same where no number is farther from its counterpart.",
            valueName: "distance"))
    var tolerance: Double = 0

    @Flag(help: "Take a tensor of another dtype for the same where its values are.")
    var ignoreDtype = false

    @Flag(help: "Show the SHA-256 of the tensors that differ.")
    var digests = false

    @Option(
        help: ArgumentHelp("Compare only the tensors of these names. May be repeated.", valueName: "glob"))
    var select: [String] = []

    @Option(help: ArgumentHelp("Leave out the tensors of these names. May be repeated.", valueName: "glob"))
    var drop: [String] = []

    @Option(
        help: ArgumentHelp(
            "Change the names of the first checkpoint as sed -E does before they are compared. May be repeated.",
            valueName: "s/…/…/"))
    var rename: [String] = []

    @Option(
        help: ArgumentHelp(
            "The key that holds the weights in the second checkpoint, where --root is that of the first alone.",
            valueName: "key"))
    var secondRoot: String?

    @Flag(help: "List every tensor that differs.")
    var all = false

    @OptionGroup var reading: SourceOptions
    @OptionGroup var jobs: JobOptions
    @OptionGroup var progress: ProgressOptions
    @OptionGroup var output: OutputOptions

    func validate() throws {
        guard tolerance >= 0, tolerance.isFinite else {
            throw ValidationError("--tolerance takes a number that is not negative")
        }
        _ = try options()
        _ = try renames()
    }

    private func options() throws -> CheckpointDiff.Options {
        var options = CheckpointDiff.Options()
        options.isQuick = quick
        options.tolerance = tolerance
        options.ignoresDTypes = ignoreDtype
        options.wantsDigests = digests && !quick
        options.selected = try select.map { try parsed("select", $0, Glob.init(parsing:)) }
        options.dropped = try drop.map { try parsed("drop", $0, Glob.init(parsing:)) }
        options.jobs = jobs.jobs
        return options
    }

    private func renames() throws -> [Transform] {
        try rename.map { try parsed("rename", $0, Transform.rename(parsing:)) }
    }

    private func parsed<T>(
        _ option: String, _ text: String, _ parse: (String) throws(PatternError) -> T
    ) throws -> T {
        do { return try parse(text) } catch { throw ValidationError("--\(option) \(error.description)") }
    }

    func run() throws {
        let progress = self.progress.start("comparing", output)
        defer { progress.finish() }
        do {
            var inner = reading.readOptions
            let one = try open(first, inner)
            inner.root = secondRoot ?? inner.root
            let two = try open(second, inner)
            var renamed = one
            renamed.checkpoint = try one.checkpoint.applying(renames())
            let diff = try CheckpointDiff(
                renamed, two, options: options(), willRead: { progress.expect($0) },
                progress: { progress.advance($0) }, isCancelled: isInterrupted, counters: progress.counters)
            progress.finish(isComplete: true)
            show(DiffReport(diff, first: first, second: second, isQuick: quick), diff, progress)
            if !diff.isSame { throw Exit(code: 1) }
        } catch let error as ConversionError {
            if output.json { Terminal.print(json: error.json) }
            throw Exit(error)
        }
    }

    private func open(_ path: String, _ options: ReadOptions) throws(ConversionError) -> OpenedModel {
        do { return try FormatRegistry.open(path: path, options: options) } catch { throw .source(error) }
    }

    private func show(_ report: DiffReport, _ diff: CheckpointDiff, _ progress: Progress) {
        let summary = progress.summary
        if output.json {
            Terminal.print(json: report.json.adding("summary", summary.json))
        } else if !output.quiet {
            Terminal.print(report.text(Terminal.outputStyle, listsAll: all))
            self.progress.show(summary, output)
        }
    }
}
