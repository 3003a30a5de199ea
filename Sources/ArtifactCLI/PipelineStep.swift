internal import ArgumentParser
internal import Pipelines
internal import TensorCore

/// A step of a pipeline as the command that it stands for.
struct PipelineStep {
    let name: String
    let place: TextPlace
    /// What would be typed after `artifact`.
    let arguments: [String]
    let command: any ParsableCommand
    /// The directory that the step makes.
    let output: String?
    /// What it reads.
    let inputs: [String]
    let hasDryRun: Bool

    /// Turns a step into arguments and has the command parse them.
    ///
    /// - Parameters:
    ///   - current: the directory that the last step made, read where a step does not say what it reads.
    ///   - adding: flags that the run adds, where the command has them.
    init(
        _ step: Pipeline.Step, catalog: CommandCatalog, current: String?, adding: [String]
    ) throws(PipelineError) {
        guard let known = catalog[step.command] else { throw Self.unknown(step, catalog) }
        var words = step.command.split(separator: " ").map(String.init)
        var positional: [String: [String]] = [:]
        var output: String?
        var seen: Set<String> = []
        for argument in step.arguments {
            guard let definition = known.definition(argument.name) else {
                throw Self.unknown(argument, known)
            }
            let isFirst = seen.insert(argument.name).inserted
            guard definition.isRepeating || (isFirst && argument.values.count == 1) else {
                throw PipelineError("\(argument.name) takes one value", at: argument.place)
            }
            switch definition.kind {
            case .flag: if try Self.isYes(argument) { words.append("--" + argument.name) }
            case .positional: positional[argument.name, default: []] += argument.values.map(\.text)
            case .option:
                for value in argument.values { words += Self.option(argument, value) }
                if argument.name == "output" { output = argument.values.last?.text }
            }
        }
        let places = known.arguments.filter { $0.kind == .positional }
        if let first = places.first, !first.isOptional, positional[first.name] == nil, let current {
            positional[first.name] = [current]
        }
        words += adding.filter { flag in known.definition(flag) != nil && !seen.contains(flag) }.map {
            "--" + $0
        }
        inputs = places.first.flatMap { positional[$0.name] } ?? []
        let values = places.flatMap { positional[$0.name] ?? [] }
        arguments = words + (values.isEmpty ? [] : ["--"] + values)
        name = step.command
        place = step.place
        self.output = output
        hasDryRun = known.definition("dry-run") != nil
        do { command = try Artifact.parseAsRoot(NameOptions.completing(arguments)) } catch {
            throw PipelineError("\(step.command): \(Artifact.message(for: error))", at: step.place)
        }
    }

    private static func isYes(_ argument: Pipeline.Argument) throws(PipelineError) -> Bool {
        guard let value = argument.values.first, value.isPlain, ["true", "false"].contains(value.text) else {
            throw PipelineError(
                "\(argument.name) is true or false", at: argument.values.first?.place ?? argument.place)
        }
        return value.text == "true"
    }

    /// An option with its value; those that need none take true and false too.
    private static func option(_ argument: Pipeline.Argument, _ value: Pipeline.Value) -> [String] {
        if NameOptions.withoutValue.contains(argument.name), value.isPlain {
            if value.text == "true" { return ["--" + argument.name] }
            if value.text == "false" { return [] }
        }
        return ["--\(argument.name)=\(value.text)"]
    }

    private static func unknown(_ step: Pipeline.Step, _ catalog: CommandCatalog) -> PipelineError {
        let inner = catalog.commands.map(\.name).filter { $0.hasPrefix(step.command + " ") }
        let list = (inner.isEmpty ? catalog.commands.map(\.name) : inner).joined(separator: ", ")
        return PipelineError(
            "\(escapedForDisplay(step.command)) is no command that a step can be; there are \(list)",
            at: step.place)
    }

    private static func unknown(
        _ argument: Pipeline.Argument, _ command: CommandCatalog.Command
    ) -> PipelineError {
        let list = command.arguments.map(\.name).joined(separator: ", ")
        return PipelineError(
            "\(command.name) has no \(escapedForDisplay(argument.name)); it has \(list)", at: argument.place)
    }
}

extension CommandCatalog.Command {
    /// The argument of a name; an option before a positional one that is called alike.
    fileprivate func definition(_ name: String) -> CommandCatalog.Argument? {
        arguments.first { $0.name == name && $0.kind != .positional } ?? arguments.first { $0.name == name }
    }
}
