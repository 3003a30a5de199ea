internal import ArgumentParser
internal import CheckpointFormats
internal import StrictJSON

struct Formats: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "List the formats that are read and written.",
        discussion: "A format is found by what is in a file or directory, not by its name.")

    @OptionGroup var output: OutputOptions

    func run() throws {
        let formats = FormatRegistry.formats
        if output.json {
            let rows = formats.map { format in
                JSONValue.object([
                    .init("name", .string(format.name)), .init("summary", .string(format.summary)),
                    .init(
                        "patterns", .array(format.patterns.split(separator: " ").map { .string(String($0)) })),
                    .init("reads", .bool(true)),
                ])
            }
            return Terminal.print(json: .object([.init("formats", .array(rows))]))
        }
        guard !output.quiet else { return }
        let width = formats.map(\.name.count).max() ?? 0
        for format in formats {
            let name = format.name + String(repeating: " ", count: width - format.name.count)
            Terminal.print("\(name)  \(format.summary) (\(format.patterns))")
        }
    }
}
