internal import ArgumentParser
internal import Loaders
internal import StrictJSON
internal import TensorCore

struct Check: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Say which loaders will load a SafeTensors model, and what to do where one will not.",
        discussion: """
            Reads headers and index only. Each loader gets a verdict: it loads the model, refuses it, loads it \
            wrong (other values or dtypes, missing tensors), or nobody knows. The rules are those of \
            Formats/loaders, found by running or by reading the loaders.

            Exit codes: 0 every loader loads it; 1 one refuses it or loads it wrong; 2 wrong usage; 3 something \
            could not be read; 4 nothing worse than unknown.
            """)

    @Argument(help: "A SafeTensors file, a model directory, or an index.", completion: .file())
    var path: String

    @Option(
        name: .customLong("for"),
        help: ArgumentHelp(
            "The loaders, with commas between: transformers for every version, transformers@4 for one.",
            valueName: "loaders"))
    var loaders: String?

    @Option(
        name: .customLong("rules"),
        help: ArgumentHelp(
            "A file with rules for a further loader, in the form of Formats/loaders. May be repeated.",
            valueName: "file"), completion: .file(extensions: ["json"]))
    var rules: [String] = []

    @OptionGroup var output: OutputOptions

    func run() throws {
        let catalog = try catalog()
        let profiles = try chosen(from: catalog)
        let model: ModelFiles
        var reports: [LoaderReport] = []
        do {
            model = try ModelFiles(path: path)
            guard !model.files.isEmpty else {
                throw Exit(code: 3, message: "\(escapedForDisplay(path)): there is no SafeTensors file here")
            }
            let judge = LoaderJudge(model, catalog: catalog)
            for profile in profiles { reports.append(try judge.report(on: profile)) }
        } catch let error as IOError {
            throw Exit(code: 3, message: error.description)
        }
        let rendering = CheckRendering(path: path, reports: reports)
        if output.json {
            Terminal.print(json: rendering.json)
        } else if !output.quiet {
            Terminal.print(rendering.text(Terminal.outputStyle))
        }
        if rendering.exitCode != 0 { throw Exit(code: rendering.exitCode) }
    }

    private func catalog() throws -> LoaderCatalog {
        do {
            var catalog = try LoaderCatalog()
            var added: [LoaderProfile] = []
            for file in rules {
                let document = try FileSystem.contents(of: file, limit: 16 << 20)
                added.append(try LoaderProfile(parsing: document, file: file))
            }
            try catalog.add(added)
            return catalog
        } catch let error as LoaderRulesError {
            throw Exit(code: 2, message: error.description)
        } catch let error as IOError {
            throw Exit(code: 3, message: error.description)
        }
    }

    private func chosen(from catalog: LoaderCatalog) throws -> [LoaderProfile] {
        guard let loaders else { return catalog.profiles }
        var chosen: [LoaderProfile] = []
        for name in loaders.split(separator: ",").map(String.init) {
            let found = catalog.profiles(named: name)
            guard !found.isEmpty else {
                let known = catalog.profiles.map(\.id).joined(separator: ", ")
                throw Exit(
                    code: 2,
                    message: "no rules for \"\(escapedForDisplay(name))\"; there are some for \(known)")
            }
            chosen += found.filter { profile in !chosen.contains { $0.id == profile.id } }
        }
        // A list from an empty variable must not pass for a check.
        guard !chosen.isEmpty else { throw Exit(code: 2, message: "--for names no loader") }
        return chosen
    }
}
