internal import CheckpointFormats
internal import Checkpoints
internal import Conversion
internal import TensorCore

/// What export, reshard, cast and cat do: read the sources' headers, plan, write, report.
struct ExportRun {
    /// The checkpoints; several are joined into one.
    let sources: [String]
    var reading = ReadOptions()
    var merges: MergeOptions?
    /// The model to write, where it is not just what the sources hold.
    var made: OpenedModel?
    /// What weights files are called.
    var baseName: String?
    var format: any OutputFormat = OutputFormats.all[0]
    var transforms: [Transform] = []
    var allowsUnmatched = false
    let layout: LayoutOptions
    /// The directory to make.
    let destination: String
    var writing: WriteOptions
    var engine: EngineOptions
    var output: OutputOptions
    /// The plan that must come out.
    var expectation: PlanFile?

    func run() throws {
        do {
            try export()
        } catch let error as ConversionError {
            if output.json { Terminal.print(json: error.json) }
            throw Exit(error)
        }
    }

    /// The sources' tables as one.
    func open() throws(ConversionError) -> OpenedModel {
        if let made { return made }
        var models: [(path: String, model: OpenedModel)] = []
        for source in sources {
            do {
                models.append(
                    (source, try FormatRegistry.open(path: source, options: reading)))
            } catch {
                throw ConversionError.source(error)
            }
        }
        let joined = try OpenedModel(joining: models)
        return if let merges { try merges.merged(joined) } else { joined }
    }

    /// The plan of what will be written.
    func plan() throws(ConversionError) -> ExportPlan {
        var options = ExportOptions(
            format: format, transforms: transforms, allowsUnmatched: allowsUnmatched,
            layout: layout.exportLayout,
            maxShardByteCount: layout.maxShardByteCount, replacing: writing.force)
        options.baseName = baseName
        let plan = try ExportPlan(model: try open(), options: options)
        try expectation?.check(plan)
        return plan
    }

    private func export() throws {
        let progress = engine.progress.start("exporting", output)
        defer { progress.finish() }
        let plan = try plan()
        let report: ExportReport
        if writing.dryRun {
            try Exporter.check(plan, destination: destination, replacing: writing.force)
            report = ExportReport(
                sources: sources, destination: destination, plan: plan, result: nil, seconds: 0)
        } else {
            let result = try engine.exporter(progress: progress).export(
                plan, to: destination, replacing: writing.force)
            report = ExportReport(
                sources: sources, destination: Path.normalized(destination), plan: plan, result: result,
                seconds: progress.elapsed)
        }
        progress.finish(isComplete: true)
        let summary = progress.summary
        if output.json {
            Terminal.print(json: report.json.adding("summary", summary.json))
        } else if !output.quiet {
            Terminal.print(report.text(Terminal.outputStyle))
            engine.progress.show(summary, output)
        }
        if !output.quiet {
            for warning in plan.checkpoint.warnings {
                Terminal.printError("artifact: warning: \(warning.line)")
            }
        }
    }
}
