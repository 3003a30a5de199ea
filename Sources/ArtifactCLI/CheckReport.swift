internal import Loaders
internal import StrictJSON
internal import TensorCore

/// What loaders will do with a model, for people and for programs.
struct CheckRendering {
    private let path: String
    private let reports: [LoaderReport]

    init(path: String, reports: [LoaderReport]) {
        self.path = path
        self.reports = reports
    }

    var exitCode: Int32 {
        switch reports.map(\.verdict).max() ?? .loads {
        case .loads: 0
        case .unknown: 4
        case .wrong, .refuses: 1
        }
    }

    // MARK: People

    func text(_ style: Style) -> String {
        var lines = [style.bold(escapedForDisplay(path))]
        let width = reports.map(\.loader.id.count).max() ?? 0
        for report in reports {
            let name = report.loader.id + String(repeating: " ", count: width - report.loader.id.count)
            let read = "\(report.loader.title), \(report.loader.tested)"
            lines.append(
                "\(Self.mark(report.verdict, style)) \(name)  \(Self.word(report.verdict))  \(style.dim(read))"
            )
            for finding in report.findings { lines += Self.lines(finding, style) }
        }
        return lines.joined(separator: "\n")
    }

    private static func lines(_ finding: LoaderReport.Finding, _ style: Style) -> [String] {
        var place = finding.file.map { escapedForDisplay($0) + ": " } ?? ""
        if let tensor = finding.tensor { place += "tensor \(tensor): " }
        let more = finding.count > 1 ? " (and \(finding.count - 1) more)" : ""
        let known = finding.evidence == .read ? ", not run" : ""
        return [
            "    \(mark(finding.verdict, style)) \(place)\(finding.reason)\(more) [\(finding.rule)\(known)]",
            "      → \(finding.fix)",
        ]
    }

    private static func mark(_ verdict: LoaderVerdict, _ style: Style) -> String {
        switch verdict {
        case .loads: style.green("✓")
        case .unknown: style.yellow("?")
        case .wrong: style.red("!")
        case .refuses: style.red("✗")
        }
    }

    private static func word(_ verdict: LoaderVerdict) -> String {
        switch verdict {
        case .loads: "loads"
        case .unknown: "unknown"
        case .wrong: "loads, but wrong"
        case .refuses: "refuses"
        }
    }

    // MARK: Programs

    var json: JSONValue {
        .object([
            .init("schema", .string("artifact.check/v1")), .init("path", .string(path)),
            .init("exit_code", .integer(exitCode)),
            .init("loaders", .array(reports.map(Self.json))),
        ])
    }

    private static func json(_ report: LoaderReport) -> JSONValue {
        .object([
            .init("loader", .string(report.loader.id)), .init("title", .string(report.loader.title)),
            .init("tested", .string(report.loader.tested)),
            .init("verdict", .string(report.verdict.rawValue)),
            .init("files", .array(report.files.map { .string($0) })),
            .init("findings", .array(report.findings.map(json))),
        ])
    }

    private static func json(_ finding: LoaderReport.Finding) -> JSONValue {
        .object([
            .init("rule", .string(finding.rule)), .init("verdict", .string(finding.verdict.rawValue)),
            .init("reason", .string(finding.reason)), .init("fix", .string(finding.fix)),
            .init("file", finding.file.map { .string($0) } ?? .null),
            .init("tensor", finding.tensor.map { .string($0.string) } ?? .null),
            .init("offset", finding.offset.map { .integer($0) } ?? .null),
            .init("count", .integer(finding.count)), .init("evidence", .string(finding.evidence.rawValue)),
            .init(
                "source",
                .object([
                    .init("repository", .string(finding.source.repository)),
                    .init("file", finding.source.file.map { .string($0) } ?? .null),
                    .init("version", .string(finding.source.version)),
                ])),
        ])
    }
}
