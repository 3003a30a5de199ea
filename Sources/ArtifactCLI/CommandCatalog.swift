internal import ArgumentParser
internal import StrictJSON

/// The commands with their arguments, as their own help has them, so that pipelines and help cannot disagree.
struct CommandCatalog {
    /// A command that does something.
    struct Command {
        let name: String
        let arguments: [Argument]
    }

    struct Argument {
        enum Kind: String { case positional, option, flag }

        let kind: Kind
        /// The long name without dashes; what help calls the value of a positional argument.
        let name: String
        let isOptional: Bool
        let isRepeating: Bool
    }

    let commands: [Command]

    /// Reads the help of `artifact`.
    init() throws {
        let help = try JSONValue(parsing: Array(Artifact._dumpHelp().utf8))
        commands = Self.leaves(help["command"]?["subcommands"], prefix: "")
    }

    subscript(name: String) -> Command? { commands.first { $0.name == name } }

    private static func leaves(_ list: JSONValue?, prefix: String) -> [Command] {
        guard case .array(let items)? = list else { return [] }
        return items.flatMap { item -> [Command] in
            guard let own = item["commandName"]?.string, own != "help", own != "run" else { return [] }
            let inner = leaves(item["subcommands"], prefix: prefix + own + " ")
            guard inner.isEmpty, case .array(let arguments)? = item["arguments"] else { return inner }
            return [Command(name: prefix + own, arguments: arguments.compactMap(Argument.init))]
        }
    }
}

extension CommandCatalog.Argument {
    fileprivate init?(_ json: JSONValue) {
        guard let kind = json["kind"]?.string.flatMap(Kind.init(rawValue:)) else { return nil }
        var name = json["valueName"]?.string
        if kind != .positional, case .array(let names)? = json["names"] {
            name = names.first { $0["kind"]?.string == "long" }?["name"]?.string
        }
        guard let name, !["help", "version"].contains(name) else { return nil }
        self.kind = kind
        self.name = name
        isOptional = json["isOptional"]?.bool ?? true
        isRepeating = json["isRepeating"]?.bool ?? false
    }
}
