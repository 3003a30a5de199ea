/// Steps that run one after another, as a file describes them.
///
/// A step is a command of `artifact` with its arguments; the names are those of the command line. Nothing else can be
/// run.
public struct Pipeline: Sendable {
    /// The steps, in order.
    public let steps: [Step]

    /// One command.
    public struct Step: Sendable {
        /// The command's name, such as `export` or `index audit`.
        public let command: String
        /// Where its name stands.
        public let place: TextPlace
        /// Its arguments, in order.
        public let arguments: [Argument]
    }

    /// An argument of a command.
    public struct Argument: Sendable {
        /// The name, without dashes.
        public let name: String
        /// Where the name stands.
        public let place: TextPlace
        /// The values.
        public let values: [Value]
    }

    /// One value.
    public struct Value: Sendable {
        /// The text, variables replaced.
        public let text: String
        /// Whether it stands without quotes, so that `true` is a yes.
        public let isPlain: Bool
        /// Where it stands.
        public let place: TextPlace
    }

    /// Reads a pipeline.
    ///
    /// - Parameters:
    ///   - bytes: the file.
    ///   - variables: values for variables that the file declares, in place of its own.
    ///   - environment: looks up `${env.NAME}`.
    public init(
        parsing bytes: [UInt8], variables: [String: String] = [:],
        environment: @escaping (String) -> String? = { _ in nil }
    ) throws(PipelineError) {
        let top = try YAMLReader.read(bytes)
        var scope = VariableScope(given: variables, environment: environment)
        var list = top
        if case .mapping(let entries) = top.value {
            for entry in entries where entry.key == "vars" { try scope.declare(entry.value) }
            for entry in entries where entry.key != "vars" && entry.key != "steps" {
                throw PipelineError("a pipeline has vars and steps, not \(entry.key)", at: entry.place)
            }
            guard let steps = entries.first(where: { $0.key == "steps" }) else {
                throw PipelineError("there are no steps", at: top.place)
            }
            list = steps.value
        }
        try scope.checkGiven(at: top.place)
        guard case .sequence(let items) = list.value, !items.isEmpty else {
            throw PipelineError(
                "the steps are a list of commands, such as - verify: {path: model}", at: list.place)
        }
        var steps: [Step] = []
        for item in items { steps.append(try Step(item, scope)) }
        self.steps = steps
    }
}

extension Pipeline.Step {
    /// Reads `command` or `command: arguments`.
    fileprivate init(_ node: YAMLNode, _ scope: VariableScope) throws(PipelineError) {
        switch node.value {
        case .scalar(let command, _): self.init(command: command, place: node.place, arguments: [])
        case .mapping(let entries) where entries.count == 1:
            let arguments = try Self.arguments(entries[0].value, scope)
            self.init(command: entries[0].key, place: entries[0].place, arguments: arguments)
        case .mapping(let entries) where entries.count > 1:
            throw PipelineError(
                "a step is one command; its arguments are indented below it", at: entries[1].place)
        case .empty, .sequence, .mapping:
            throw PipelineError("a step is a command, such as - verify: {path: model}", at: node.place)
        }
    }

    /// Reads a mapping of arguments, or a list of such mappings where one comes more than once.
    private static func arguments(
        _ node: YAMLNode, _ scope: VariableScope
    ) throws(PipelineError) -> [Pipeline.Argument] {
        switch node.value {
        case .empty: return []
        case .mapping(let entries):
            var arguments: [Pipeline.Argument] = []
            for entry in entries {
                arguments.append(
                    .init(name: entry.key, place: entry.place, values: try values(entry, scope)))
            }
            return arguments
        case .sequence(let items):
            var arguments: [Pipeline.Argument] = []
            for item in items {
                guard case .mapping = item.value else {
                    throw PipelineError(
                        "in a list of arguments each is a name with its value", at: item.place)
                }
                arguments += try self.arguments(item, scope)
            }
            return arguments
        case .scalar:
            throw PipelineError("arguments have names, as in {path: model}", at: node.place)
        }
    }

    private static func values(
        _ entry: YAMLNode.Entry, _ scope: VariableScope
    ) throws(PipelineError) -> [Pipeline.Value] {
        let nodes: [YAMLNode] =
            if case .sequence(let items) = entry.value.value { items } else { [entry.value] }
        var values: [Pipeline.Value] = []
        for node in nodes {
            guard case .scalar(let text, let isPlain) = node.value else {
                throw PipelineError("\(entry.key) takes text", at: node.place)
            }
            values.append(
                .init(text: try scope.replace(in: text, at: node.place), isPlain: isPlain, place: node.place))
        }
        return values
    }
}
