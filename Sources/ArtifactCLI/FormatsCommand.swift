internal import ArgumentParser
internal import CheckpointFormats
internal import Conversion
internal import StrictJSON

struct Formats: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "List the formats that are read and written.",
        discussion: "What is read is found by what is in a file or directory, not by its name.")

    @Flag(help: "Print Markdown tables.")
    var markdown = false

    @OptionGroup var output: OutputOptions

    func run() throws {
        let table = FormatTable()
        if output.json { return Terminal.print(json: table.json) }
        if !output.quiet { Terminal.print(markdown ? table.markdown : table.text(Terminal.outputStyle)) }
    }
}

/// What the registries hold, for people, programs and documents.
struct FormatTable {
    private struct Row {
        let name: String
        let summary: String
        let patterns: [String]

        init(_ name: String, _ summary: String, _ patterns: String) {
            self.name = name
            self.summary = summary
            self.patterns = patterns.split(separator: " ").map(String.init)
        }

        var json: JSONValue {
            .object([
                .init("name", .string(name)), .init("summary", .string(summary)),
                .init("patterns", .array(patterns.map { .string($0) })),
            ])
        }
    }

    private let reads = FormatRegistry.formats.map { Row($0.name, $0.summary, $0.patterns) }
        .sorted { $0.name < $1.name }
    private let writes = OutputFormats.all.map { Row($0.name, $0.summary, $0.patterns) }

    func text(_ style: Style) -> String {
        func lines(_ title: String, _ rows: [Row]) -> [String] {
            var table = Table(.left, .left, .left)
            for row in rows { table.add(row.name, row.summary, row.patterns.joined(separator: " ")) }
            return [style.bold(title)] + table.lines(indent: "  ")
        }
        return (lines("reads", reads) + lines("writes (--to)", writes)).joined(separator: "\n")
    }

    var json: JSONValue {
        .object([
            .init("schema", .string("artifact.formats/v1")), .init("reads", .array(reads.map(\.json))),
            .init("writes", .array(writes.map(\.json))),
        ])
    }

    var markdown: String {
        func lines(_ title: String, _ rows: [Row]) -> [String] {
            ["| \(title) | what it is | files |", "| --- | --- | --- |"]
                + rows.map { row in
                    "| `\(row.name)` | \(row.summary) | "
                        + row.patterns.map { "`\($0)`" }.joined(separator: " ") + " |"
                }
        }
        return (lines("read", reads) + [""] + lines("written with `--to`", writes)).joined(separator: "\n")
    }
}
