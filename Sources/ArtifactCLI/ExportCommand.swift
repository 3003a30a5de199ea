internal import ArgumentParser
internal import CheckpointFormats
internal import Checkpoints
internal import Conversion
internal import Integrity
internal import SafeTensors
internal import StrictJSON
internal import TensorCore

struct Export: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Convert a checkpoint into a verified SafeTensors model directory.",
        discussion: """
            SOURCE is a weights file (.bin, .pt, .pth, .safetensors) or a model directory. The result is a \
            directory with the weights in SafeTensors files of bounded size, their index, the config, tokenizer \
            and licence that stood beside the source, and artifact-manifest.json: the SHA-256 of every file and \
            tensor.

            Nothing in the source is executed. The destination appears in one step, complete, or not at all.
            """)

    enum Format: String, ExpressibleByArgument, CaseIterable { case safetensors }

    enum Layout: String, ExpressibleByArgument, CaseIterable { case hub, aligned }

    enum TargetDType: String, ExpressibleByArgument, CaseIterable {
        case bf16, f16, f32

        var dtype: DType {
            switch self {
            case .bf16: .bf16
            case .f16: .f16
            case .f32: .f32
            }
        }
    }

    @Argument(help: "The checkpoint: a file or a directory.", completion: .file())
    var source: String

    @Option(help: "The format to write.")
    var to: Format = .safetensors

    @Option(name: .shortAndLong, help: "The directory to make.", completion: .directory)
    var output: String

    @Option(
        help: ArgumentHelp(
            "The most bytes of tensors in a file, such as 5GB (decimal) or 5GiB (binary).", valueName: "size")
    )
    var maxShardSize = "5GB"

    @Option(
        help: "How tensors lie in a file: as the hub library writes them, or each at a large power of two.")
    var layout: Layout = .hub

    @Option(
        help: ArgumentHelp(
            "The multiple at which the data of an aligned file begins (default: 4096).", valueName: "bytes"))
    var align: UInt64?

    @Option(help: "Convert floating tensors (F64, F32, F16, BF16), rounding to nearest even.")
    var dtype: TargetDType?

    @Option(help: ArgumentHelp("The key of the nested dictionary that holds the weights.", valueName: "key"))
    var root: String?

    @Flag(help: "Replace what stands at the destination; what artifact did not make is moved aside.")
    var force = false

    @Flag(help: "Say what would be written and write nothing.")
    var dryRun = false

    @OptionGroup var jobs: JobOptions
    @OptionGroup var progress: ProgressOptions
    @OptionGroup var output_: OutputOptions

    func validate() throws {
        guard ByteSize.parse(maxShardSize) != nil else {
            throw ValidationError(
                "--max-shard-size takes a size such as 5GB, 500MB or 5GiB, not \(maxShardSize)")
        }
        if let align {
            guard layout == .aligned else { throw ValidationError("--align goes with --layout aligned") }
            let range = SafeTensorsLayout.minimumAlignment...SafeTensorsLayout.maximumAlignment
            guard align.nonzeroBitCount == 1, range.contains(align) else {
                throw ValidationError(
                    "--align takes a power of two from \(range.lowerBound) to \(range.upperBound), not \(align)"
                )
            }
        }
        guard !output.isEmpty else { throw ValidationError("--output takes the name of a directory") }
    }

    func run() throws {
        do {
            try export()
        } catch let error as ConversionError {
            if output_.json { Terminal.print(json: error.json) }
            throw Exit(error)
        }
    }

    private func export() throws {
        let progress = self.progress.start("exporting", output_)
        defer { progress.finish() }
        let model: OpenedModel
        do { model = try FormatRegistry.open(path: source, options: ReadOptions(root: root)) } catch {
            throw ConversionError.source(error)
        }
        let options = ExportOptions(
            dtype: dtype?.dtype, maxShardByteCount: ByteSize.parse(maxShardSize) ?? 5_000_000_000,
            replacing: force,
            alignment: layout == .aligned ? align ?? 4096 : SafeTensorsLayout.minimumAlignment)
        let plan = try ExportPlan(model: model, options: options)
        progress.expect(Exporter.workByteCount(of: plan))
        let report: ExportReport
        if dryRun {
            try Exporter.check(plan, destination: output, replacing: force)
            report = ExportReport(source: source, destination: output, plan: plan, result: nil, seconds: 0)
        } else {
            var exporter = Exporter(
                tool: Version.tool, jobs: jobs.jobs, progress: { progress.advance($0) },
                isCancelled: isInterrupted)
            exporter.counters = progress.counters
            let result = try exporter.export(plan, to: output, replacing: force)
            report = ExportReport(
                source: source, destination: Path.normalized(output), plan: plan, result: result,
                seconds: progress.elapsed)
        }
        progress.finish(isComplete: true)
        let summary = progress.summary
        if output_.json {
            Terminal.print(json: report.json.adding("summary", summary.json))
        } else if !output_.quiet {
            Terminal.print(report.text(Terminal.outputStyle))
            self.progress.show(summary, output_)
        }
        if !output_.quiet {
            for warning in plan.checkpoint.warnings {
                Terminal.printError("artifact: warning: \(warning.line)")
            }
        }
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
