internal import ArgumentParser
internal import Conversion
internal import SafeTensors
internal import TensorCore

struct Metadata: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Show or change the metadata of a SafeTensors file, in place.",
        discussion: """
            Only the header is written; where it has no room the file grows at its start by whole blocks, or is \
            written anew on file systems that cannot do that. Tensors keep their order, spelling and offsets. A \
            journal beside the file lets the next of these commands finish what a killed one began.
            """,
        subcommands: [Get.self, Set.self, Unset.self])
}

extension Metadata {
    struct Get: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Print metadata as key=value lines.")

        @Argument(help: "The SafeTensors file.", completion: .file())
        var file: String
        @Argument(help: "The keys to print (default: all).")
        var keys: [String] = []
        @OptionGroup var output: OutputOptions

        func run() throws {
            let (editor, entries) = try attempt(file) { () throws(SafeTensorsError) in
                let editor = try SafeTensorsMetadataEditor(path: file)
                return (editor, try editor.metadata())
            }
            let wanted = try keys.isEmpty ? entries : keys.map { try entry($0, of: entries) }
            MetadataReport.noteRecovery(editor, output)
            if output.json {
                MetadataReport.print(MetadataReport.json(editor, entries: wanted))
            } else if !output.quiet {
                for entry in wanted { Terminal.print(MetadataReport.line(entry)) }
            }
        }

        private func entry(_ key: String, of entries: [(key: String, value: String)]) throws -> (
            key: String, value: String
        ) {
            guard let entry = entries.first(where: { $0.key.utf8.elementsEqual(key.utf8) }) else {
                throw Exit(
                    code: 1,
                    message: "\(escapedForDisplay(file)): the metadata has no key \(escapedForDisplay(key))")
            }
            return entry
        }
    }

    struct Set: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Give keys a value, new or not.")

        @Argument(help: "The SafeTensors file; a symbolic link is followed.", completion: .file())
        var file: String
        @Argument(help: ArgumentHelp("What to set.", valueName: "key=value"))
        var entries: [String]
        @OptionGroup var change: MetadataChange

        func validate() throws { _ = try edit() }

        func run() throws { try change.run(file, try edit()) }

        private func edit() throws -> MetadataEdit {
            let pairs = try entries.map { entry in
                let parts = entry.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
                guard parts.count == 2, !parts[0].isEmpty else {
                    throw ValidationError("\(escapedForDisplay(entry)) is not of the form key=value")
                }
                return (key: String(parts[0]), value: String(parts[1]))
            }
            do throws(SafeTensorsError) { return try MetadataEdit(set: pairs) } catch {
                throw ValidationError(error.message)
            }
        }
    }

    struct Unset: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Remove keys.")

        @Argument(help: "The SafeTensors file; a symbolic link is followed.", completion: .file())
        var file: String
        @Argument(help: ArgumentHelp("What to remove.", valueName: "key"))
        var keys: [String]
        @OptionGroup var change: MetadataChange

        func validate() throws { _ = try edit() }

        func run() throws { try change.run(file, try edit()) }

        private func edit() throws -> MetadataEdit {
            do throws(SafeTensorsError) { return try MetadataEdit(unset: keys) } catch {
                throw ValidationError(error.message)
            }
        }
    }
}

/// What `set` and `unset` have in common.
struct MetadataChange: ParsableArguments {
    @Flag(help: "Say what would be written and write nothing.")
    var dryRun = false

    @Flag(help: "Change a file that has several hard links, and so under all of its names.")
    var force = false

    @OptionGroup var output: OutputOptions

    func run(_ file: String, _ edit: MetadataEdit) throws {
        if dryRun, SafeTensorsMetadataEditor.isInterrupted(file) {
            throw Exit(
                code: 3,
                message:
                    "a change of \(escapedForDisplay(file)) was interrupted: finish it with artifact metadata get"
            )
        }
        let (editor, outcome) = try attempt(file) { () throws(SafeTensorsError) in
            let editor = try SafeTensorsMetadataEditor(path: file, changesSharedFiles: force)
            return (editor, dryRun ? try editor.plan(edit) : try editor.apply(edit))
        }
        MetadataReport.noteRecovery(editor, output)
        let report = MetadataReport(editor: editor, outcome: outcome, isDryRun: dryRun)
        if output.json {
            MetadataReport.print(report.json)
        } else if !output.quiet {
            Terminal.print(report.text(Terminal.outputStyle))
        }
        if !output.quiet {
            for warning in report.warnings { Terminal.printError("artifact: warning: \(warning.message)") }
        }
    }
}

/// Runs `body`; an error ends the command with the code of its kind.
private func attempt<R>(_ file: String, _ body: () throws(SafeTensorsError) -> R) throws -> R {
    do throws(SafeTensorsError) { return try body() } catch {
        let place = escapedForDisplay(file)
        switch error.code {
        case .io: throw Exit(code: 3, message: error.description)
        case .fileBusy, .interruptedEdit: throw Exit(code: 3, message: "\(place): \(error.message)")
        case .sharedFile: throw Exit(code: 2, message: "\(place): \(error.message) (--force)")
        case .unknownKey: throw Exit(code: 1, message: "\(place): \(error.message)")
        default: throw Exit(code: 1, message: "\(place): \(error)")
        }
    }
}
