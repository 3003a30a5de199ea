internal import ArgumentParser
internal import CheckpointFormats
internal import Checkpoints
internal import Conversion
internal import Integrity
internal import SafeTensors
internal import StrictJSON
internal import TensorCore

struct Inspect: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Show what is in a checkpoint, from its headers.",
        discussion: """
            PATH is a weights file or a model directory. Only headers are read (and the values of BOOL tensors), \
            unless --digests asks for the SHA-256 of each tensor. A refused input ends with exit code 1 (malformed or unsafe) or 3 (unsupported).
            """)

    @Argument(help: "The checkpoint: a file or a directory.", completion: .file())
    var path: String

    @Flag(help: "Read every tensor and show the SHA-256 of its contiguous little-endian bytes.")
    var digests = false

    @Option(help: "How SafeTensors headers are judged.")
    var validation: ValidationOption = .strict

    @Flag(help: "List every tensor; without it, repeated layers share a line.")
    var all = false

    @OptionGroup var reading: SourceOptions
    @OptionGroup var jobs: JobOptions
    @OptionGroup var progress: ProgressOptions
    @OptionGroup var output: OutputOptions

    func run() throws {
        do {
            var options = reading.readOptions
            options.validation = validation.mode
            options.scansValues = true
            options.listsUnsupported = true
            var inspection = try Inspection(path: path, options: options)
            var summary: RunSummary?
            if digests {
                let progress = self.progress.start("digesting", output)
                defer { progress.finish() }
                progress.expect(inspection.byteCount)
                try inspection.computeDigests(
                    jobs: jobs.jobs, progress: { progress.advance($0) }, isCancelled: isInterrupted,
                    counters: progress.counters)
                progress.finish(isComplete: true)
                summary = progress.summary
            }
            let report = InspectionReport(inspection)
            if output.json {
                report.printJSON()
            } else if !output.quiet {
                Terminal.print(report.text(Terminal.outputStyle, listsAll: all || digests))
                if let summary { progress.show(summary, output) }
            }
        } catch {
            if output.json, case .source(let source) = error {
                let json = InspectionReport.refusal(source, path: path)
                Terminal.print(json: json)
            }
            throw Exit(error)
        }
    }
}
