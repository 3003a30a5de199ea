internal import SafeTensors
internal import StrictJSON
internal import TensorCore

/// What `artifact index` found or did, for people and for programs.
struct IndexReport {
    private var members: [JSONMember]

    init(_ action: String, directory: String) {
        members = [
            .init("schema", .string("artifact.index/v1")), .init("action", .string(action)),
            .init("directory", .string(directory)),
        ]
    }

    mutating func add(_ key: String, _ value: JSONValue) { members.append(.init(key, value)) }

    func print(_ output: OutputOptions, text: (Style) -> String) {
        if output.json {
            Terminal.write(JSONValue.object(members).serialized(indent: 2), to: 1)
            Terminal.print("")
        } else if !output.quiet {
            Terminal.print(text(Terminal.outputStyle))
        }
    }

    static func text(_ audit: ShardSetAudit, _ style: Style) -> String {
        var lines = audit.findings.map { finding in
            let mark =
                switch finding.severity {
                case .error: style.red("✗")
                case .unreadable: style.yellow("?")
                case .warning: style.yellow("!")
                }
            return "\(mark) \(finding)"
        }
        let tensors = audit.shards.reduce(0) { $0 + ($1.header?.count ?? 0) }
        let scope =
            "\(counted(tensors, "tensor")) in \(counted(audit.shards.count, "file")), "
            + (audit.indexes.count == 1 ? "1 index" : "\(audit.indexes.count) indexes")
        let path = style.bold(escapedForDisplay(audit.directory))
        lines.append(
            audit.hasErrors
                ? "\(style.red("✗")) \(path): index and shards disagree — \(scope)"
                : audit.hasUnreadable
                    ? "\(style.yellow("?")) \(path): could not be read — \(scope)"
                    : "\(style.green("✓")) \(path): no error — \(scope)")
        return lines.joined(separator: "\n")
    }

    static func closing(_ style: Style, isDryRun: Bool, _ text: String) -> String {
        isDryRun ? "dry run: would write \(text)" : "\(style.green("✓")) \(text)"
    }
}

extension ShardSetAudit.Finding {
    var json: JSONValue {
        .object([
            .init("severity", .string(severity.rawValue)), .init("code", .string(code.rawValue)),
            .init("message", .string(message)), .init("file", .string(file)),
            .init("tensor", tensor.map { .string($0.string) } ?? .null),
            .init("offset", offset.map { .integer($0) } ?? .null),
        ])
    }
}

extension ShardSetAudit.Change {
    /// The change in one line.
    var line: String {
        let place = tensor.map { "tensor \($0)" } ?? "metadata"
        let from = before.map { " from \(escapedForDisplay($0))" } ?? ""
        let to = after.map { " to \(escapedForDisplay($0))" } ?? ""
        return "  \(kind.rawValue)  \(place)\(from)\(to)"
    }

    var json: JSONValue {
        .object([
            .init("kind", .string(kind.rawValue)),
            .init("tensor", tensor.map { .string($0.string) } ?? .null),
            .init("before", before.map { .string($0) } ?? .null),
            .init("after", after.map { .string($0) } ?? .null),
        ])
    }
}
