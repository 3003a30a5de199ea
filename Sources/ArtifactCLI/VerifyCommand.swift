internal import ArgumentParser
internal import Conversion
internal import Integrity
internal import SafeTensors
internal import StrictJSON
internal import TensorCore

struct Verify: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Check a model against its manifest, byte for byte.",
        discussion: """
            Files, index, headers and manifest are compared with each other, both ways, and every byte is \
            re-hashed. Names each file that is missing, extra, truncated or altered, and the tensor that was hit.

            Exit codes: 0 every byte is what the record says; 1 something is proven wrong; 2 wrong usage; \
            3 something could not be read; 4 nothing is wrong, but there is no record to compare contents with.
            """)

    @Argument(help: "A model directory or a weights file.", completion: .file())
    var path: String

    @Flag(help: "Check files, index and headers only; read no tensor.")
    var structure = false

    @Option(help: "How SafeTensors headers are judged.")
    var validation: ValidationOption = .strict

    @OptionGroup var jobs: JobOptions
    @OptionGroup var progress: ProgressOptions
    @OptionGroup var output: OutputOptions

    func run() throws {
        let progress = self.progress.start("verifying", output)
        defer { progress.finish() }
        var verifier = ModelVerifier(
            jobs: jobs.jobs, validation: validation.mode, structureOnly: structure,
            willRead: { progress.expect($0) }, progress: { progress.advance($0) }, isCancelled: isInterrupted)
        verifier.counters = progress.counters
        let report: VerificationReport
        do {
            report = try verifier.verify(path: path)
        } catch {
            if output.json { Terminal.print(json: error.json) }
            throw Exit(error)
        }
        if isInterrupted() { throw Exit(.io(IOError(.cancelled, path: path, operation: "verify"))) }
        progress.finish(isComplete: true)
        let rendering = VerificationRendering(report, seconds: progress.elapsed)
        let summary = progress.summary
        if output.json {
            Terminal.print(json: rendering.json.adding("summary", summary.json))
        } else if !output.quiet {
            Terminal.print(rendering.text(Terminal.outputStyle))
            self.progress.show(summary, output)
        } else if report.verdict != .verified {
            Terminal.printError(rendering.text(Terminal.errorStyle))
        }
        if report.exitCode != 0 { throw Exit(code: report.exitCode) }
    }
}

extension VerificationReport {
    var exitCode: Int32 {
        switch verdict {
        case .verified: 0
        case .failed: 1
        case .unreadable: 3
        case .undecided: 4
        }
    }
}

/// A verification, for people and for programs.
struct VerificationRendering {
    private let report: VerificationReport
    private let seconds: Double

    init(_ report: VerificationReport, seconds: Double) {
        self.report = report
        self.seconds = seconds
    }

    func text(_ style: Style) -> String {
        var lines = report.findings.map { finding in
            let mark =
                switch finding.severity {
                case .error: style.red("✗")
                case .unreadable, .undecided: style.yellow("?")
                case .warning: style.yellow("!")
                }
            var place = escapedForDisplay(finding.file ?? report.path)
            if let tensor = finding.tensor { place += ": tensor \(tensor)" }
            if let offset = finding.offset { place += ": byte \(offset)" }
            return "\(mark) \(place): \(finding.message) [\(finding.code)]"
        }
        let size = "\(ByteSize.describe(report.byteCount)) read in \(Clock.describe(seconds))"
        let scope = "\(counted(report.fileCount, "file")), \(counted(report.tensorCount, "tensor")), \(size)"
        let path = escapedForDisplay(report.path)
        switch report.verdict {
        case .verified:
            let record = report.record.map { " against \($0)" } ?? ""
            let what = report.record == nil ? "structure is sound" : "verified\(record)"
            lines.append("\(style.green("✓")) \(style.bold(path)): \(what) — \(scope)")
        case .failed: lines.append("\(style.red("✗")) \(style.bold(path)): NOT verified — \(scope)")
        case .unreadable:
            lines.append("\(style.yellow("?")) \(style.bold(path)): could not be read — \(scope)")
        case .undecided:
            lines.append(
                "\(style.yellow("?")) \(style.bold(path)): nothing wrong found, not proven — \(scope)")
        }
        return lines.joined(separator: "\n")
    }

    var json: JSONValue {
        .object([
            .init("schema", .string("artifact.verify/v1")), .init("path", .string(report.path)),
            .init("verdict", .string(report.verdict.rawValue)),
            .init("exit_code", .integer(report.exitCode)),
            .init("record", report.record.map { .string($0) } ?? .null),
            .init("file_count", .integer(report.fileCount)),
            .init("tensor_count", .integer(report.tensorCount)),
            .init("bytes_read", .integer(report.byteCount)),
            .init("findings", .array(report.findings.map(\.json))),
        ])
    }
}

extension VerificationReport.Finding {
    var json: JSONValue {
        .object([
            .init("severity", .string(severity.rawValue)), .init("code", .string(code)),
            .init("message", .string(message)), .init("file", file.map { .string($0) } ?? .null),
            .init("tensor", tensor.map { .string($0.string) } ?? .null),
            .init("offset", offset.map { .integer($0) } ?? .null),
        ])
    }
}
