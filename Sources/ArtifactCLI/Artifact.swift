internal import ArgumentParser
internal import CSystem
internal import Glibc

@main
struct Artifact: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "artifact",
        abstract: "Frees model weights from the place where they were trained.",
        discussion: """
            Exit codes: 0 done; 1 the input is bad or a check failed; 2 wrong usage; 3 could not (I/O, \
            unsupported); 4 intact but undecided.
            """,
        version: Version.current,
        subcommands: [
            Export.self, Plan.self, Reshard.self, Cast.self, Cat.self, Inspect.self, Diff.self, Verify.self,
            Check.self, Index.self, Metadata.self, AdapterCommand.self, Run.self, Formats.self,
        ])

    /// Parses the arguments, runs the command and ends the process with its exit code.
    static func main() {
        csystem_open_standard_descriptors()
        csystem_watch_interrupts()
        csystem_raise_file_limit()
        // A reader that goes away (`artifact inspect … | head`) ends the program quietly.
        signal(SIGPIPE, SIG_DFL)
        refuseArgumentsThatAreNoText()
        do {
            var command = try parseAsRoot(NameOptions.completing(Array(CommandLine.arguments.dropFirst())))
            try command.run()
        } catch let exit as Exit {
            finish(exit)
        } catch {
            let code = exitCode(for: error)
            let text = fullMessage(for: error)
            if code == .success {
                Terminal.print(text)
                Glibc.exit(0)
            }
            Terminal.printError(text)
            Glibc.exit(2)
        }
    }

    /// Arguments are read as text; a path whose bytes are no UTF-8 would silently become another one.
    private static func refuseArgumentsThatAreNoText() {
        for index in 1..<max(1, Int(CommandLine.argc)) {
            guard let argument = unsafe CommandLine.unsafeArgv[index] else { continue }
            if unsafe String(validatingCString: argument) == nil {
                finish(Exit(code: 2, message: "argument \(index) is not UTF-8"))
            }
        }
    }

    private static func finish(_ exit: Exit) -> Never {
        if let message = exit.message { Terminal.printError("artifact: \(message)") }
        Glibc.exit(exit.code)
    }
}

/// What this build calls itself.
enum Version {
    static let current = "0.1.0"
    static let tool = (name: "artifact", version: current)
}
