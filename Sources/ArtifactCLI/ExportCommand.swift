internal import ArgumentParser
internal import Checkpoints
internal import Conversion
internal import StrictJSON
internal import TensorCore

struct Export: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Convert a checkpoint into a verified model directory, of SafeTensors or another format.",
        discussion: """
            SOURCE is a weights file or a model directory; `artifact formats` lists what is read and written. \
            The result is a directory with the weights in files of bounded size, their index, the config, \
            tokenizer and licence that stood beside the source, and artifact-manifest.json: the SHA-256 of every \
            file and tensor.

            --merge merges LoRA adapters into the weights before anything else is done to them.

            --dtype, --rename, --select, --drop, --tie and --untie apply in the order in which they are given, \
            each to the names that the ones before it left. A glob stands for whole names: * is any run of \
            characters, dots too.

            Nothing in the source is executed. The destination appears in one step, complete, or not at all.
            """)

    @Argument(help: "The checkpoint: a file or a directory.", completion: .file())
    var source: String?

    @OptionGroup var format: FormatOptions

    @Option(
        help: ArgumentHelp(
            "Carry out a plan that `artifact plan` made: it names the source and says what is done to it.",
            valueName: "file"), completion: .file(extensions: ["json"]))
    var plan: String?

    @OptionGroup var destination: DestinationOptions
    @OptionGroup var merges: MergeOptions
    @OptionGroup var layout: LayoutOptions
    @OptionGroup var cast: CastOptions
    @OptionGroup var names: NameOptions
    @OptionGroup var reading: SourceOptions
    @OptionGroup var engine: EngineOptions
    @OptionGroup var output: OutputOptions

    func validate() throws {
        guard (source == nil) != (plan == nil) else {
            throw ValidationError("name a SOURCE to export, or a plan with --plan")
        }
        let isPlain =
            cast.dtype.isEmpty && names.isEmpty && reading.isDefault && layout.isDefault && format.isDefault
            && merges.isDefault
        guard plan == nil || isPlain else {
            throw ValidationError(
                "a plan says what is done to the source: give such options to artifact plan")
        }
    }

    func run() throws {
        if let plan { return try run(plan: plan) }
        try exportRun(of: source ?? "").run()
    }

    /// The run that the options describe.
    func exportRun(of source: String) throws -> ExportRun {
        try ExportRun(
            sources: [source], reading: reading.readOptions, merges: merges, format: format.output,
            transforms: (cast.casts() + names.changes()).inOrder,
            allowsUnmatched: names.allowUnmatched, layout: layout,
            destination: destination.output, writing: destination.writing, engine: engine, output: output)
    }

    /// Reads a plan and does what it says, where everything is still as it was planned.
    private func run(plan path: String) throws {
        let file: PlanFile
        do { file = try PlanFile(reading: path) } catch {
            if output.json { Terminal.print(json: error.json) }
            throw Exit(error)
        }
        // Whatever does not lead to an export, such as --help, is a fault of the plan.
        guard let planned = try? Export.parse(file.arguments + ["--output", destination.output]),
            planned.plan == nil, let source = planned.source
        else {
            throw Exit(
                code: 1, message: "\(escapedForDisplay(path)): its arguments are not those of an export")
        }
        var run = try planned.exportRun(of: source)
        run.expectation = file
        run.writing = destination.writing
        run.engine = engine
        run.output = output
        try run.run()
    }
}

struct Reshard: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Divide a model into other files, tensors unchanged.",
        discussion: "An export that changes nothing but the files: same engine, same receipt.")

    @Argument(help: "The checkpoint: a file or a directory.", completion: .file())
    var source: String

    @OptionGroup var destination: DestinationOptions
    @OptionGroup var layout: LayoutOptions
    @OptionGroup var reading: SourceOptions
    @OptionGroup var engine: EngineOptions
    @OptionGroup var output: OutputOptions

    func run() throws {
        try ExportRun(
            sources: [source], reading: reading.readOptions, layout: layout,
            destination: destination.output, writing: destination.writing, engine: engine, output: output
        ).run()
    }
}

struct Cast: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Convert tensors to another dtype.",
        discussion: """
            An export that changes dtypes: `artifact cast SOURCE bf16 -o DIRECTORY`. DTYPE is what --dtype takes: \
            a dtype for all floating tensors, or GLOB=DTYPE for the tensors of these names.
            """)

    @Argument(help: "The checkpoint: a file or a directory.", completion: .file())
    var source: String

    @Argument(help: ArgumentHelp("The dtypes, as for --dtype.", valueName: "dtype"))
    var dtypes: [OrderedText] = []

    @OptionGroup var destination: DestinationOptions
    @OptionGroup var cast: CastOptions
    @OptionGroup var layout: LayoutOptions
    @OptionGroup var reading: SourceOptions
    @OptionGroup var engine: EngineOptions
    @OptionGroup var output: OutputOptions

    func validate() throws {
        guard dtypes.isEmpty != cast.dtype.isEmpty else {
            throw ValidationError("name the dtype once, as in: artifact cast SOURCE bf16 -o DIRECTORY")
        }
        _ = try casts().casts()
    }

    /// The options with the dtypes that came as arguments.
    private func casts() -> CastOptions {
        var casts = cast
        casts.dtype += dtypes
        return casts
    }

    func run() throws {
        try ExportRun(
            sources: [source], reading: reading.readOptions, transforms: casts().casts().inOrder,
            layout: layout,
            destination: destination.output, writing: destination.writing, engine: engine, output: output
        ).run()
    }
}

extension CheckpointWarning {
    /// The warning in one line.
    var line: String {
        let place = escapedForDisplay(file) + (tensor.map { ": tensor \($0)" } ?? "")
        return "\(place): \(message) [\(code)]"
    }

    var json: JSONValue {
        var members: [JSONMember] = [
            .init("code", .string(code)), .init("message", .string(message)), .init("file", .string(file)),
        ]
        if let tensor { members.append(.init("tensor", .string(tensor.string))) }
        if let offset { members.append(.init("offset", .integer(offset))) }
        return .object(members)
    }
}
