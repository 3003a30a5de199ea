internal import ArgumentParser
internal import Conversion
internal import Glibc
internal import TensorCore

struct Plan: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Say what an export would write, as a file that export can carry out.",
        discussion: """
            The plan lists every file, tensor, offset and conversion, and divides the work into items that are \
            independent of each other. Only headers are read, and nothing is written but the plan: to --output, \
            or to standard output. `artifact export --plan FILE -o DIRECTORY` carries it out, and refuses where \
            the source is no longer what was planned.
            """)

    @Argument(help: "The checkpoint: a file or a directory.", completion: .file())
    var source: String

    @OptionGroup var format: FormatOptions

    @Option(
        name: .shortAndLong,
        help: ArgumentHelp("The file to make (default: standard output).", valueName: "file"),
        completion: .file(extensions: ["json"]))
    var output: String?

    @Flag(help: "Replace the file.")
    var force = false

    @Flag(name: .shortAndLong, help: "Print errors only.")
    var quiet = false

    @OptionGroup var merges: MergeOptions
    @OptionGroup var layout: LayoutOptions
    @OptionGroup var cast: CastOptions
    @OptionGroup var names: NameOptions
    @OptionGroup var reading: SourceOptions

    func run() throws {
        do { try plan() } catch let error as ConversionError { throw Exit(error) }
    }

    private func plan() throws {
        // A plan is carried out from anywhere, so it names the source in full.
        let source = FileSystem.resolved(source) ?? source
        let changes = try cast.casts() + names.changes()
        var run = ExportRun(
            sources: [source], reading: reading.readOptions, merges: merges, format: format.output,
            transforms: changes.inOrder,
            allowsUnmatched: names.allowUnmatched, layout: layout, destination: "",
            writing: try WriteOptions.parse([]), engine: try EngineOptions.parse([]),
            output: try OutputOptions.parse([]))
        run.writing.dryRun = true
        let plan = try run.plan()
        let arguments =
            [source] + format.arguments + merges.arguments + layout.arguments + reading.arguments
            + cast.arguments + names.arguments + changes.arguments
        guard let output, output != "-" else {
            plan.write(arguments: arguments, tool: Version.tool) { Terminal.write($0, to: STDOUT_FILENO) }
            return
        }
        try plan.write(arguments: arguments, tool: Version.tool, to: output, replacing: force)
        if !quiet {
            let report = ExportReport(sources: [source], destination: "", plan: plan, result: nil, seconds: 0)
            Terminal.print(report.text(Terminal.outputStyle))
            Terminal.print("\(counted(plan.items().count, "item")) of work, in \(escapedForDisplay(output))")
        }
    }
}
