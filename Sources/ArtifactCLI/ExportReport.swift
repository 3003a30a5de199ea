internal import Checkpoints
internal import Conversion
internal import Integrity
internal import StrictJSON
internal import TensorCore

/// What an export made, for people and for programs.
struct ExportReport {
    let sources: [String]
    let destination: String
    let plan: ExportPlan
    /// Nil for a dry run.
    let result: Exporter.Result?
    let seconds: Double

    /// The digest of each file that was written.
    private var digests: [ByteKey: String] {
        Dictionary(
            (result?.manifest.files ?? []).compactMap { file in
                file.sha256.map { (ByteKey(file.path), $0.hex) }
            },
            uniquingKeysWith: { first, _ in first })
    }

    /// The types of blocks that numbers are packed in, with the tensors of each.
    private var encodings: [(String, Int)] {
        var counts: [String: Int] = [:]
        for item in plan.shards.lazy.flatMap(\.tensors) {
            if let encoding = item.encoding { counts[encoding, default: 0] += 1 }
        }
        return counts.sorted { $0.key < $1.key }
    }

    private var tensorCount: Int { plan.shards.reduce(0) { $0 + $1.tensors.count } }

    func text(_ style: Style) -> String {
        var lines: [String] = []
        let input = plan.checkpoint
        let root = input.root.map { " under \"\(escapedForDisplay($0))\"" } ?? ""
        let names = sources.map { style.bold(escapedForDisplay($0)) }.joined(separator: " + ")
        lines.append(
            "\(names)  \(input.format), "
                + "\(counted(input.tensors.count, "tensor"))\(root)")
        if !destination.isEmpty { lines.append("→ \(style.bold(escapedForDisplay(destination)))") }
        lines += files(style)
        var notes = Table(.left, .left, .left)
        for change in input.changes { notes.add(change.kind, "", change.summary) }
        for effect in plan.effects { add(effect, to: &notes) }
        for (encoding, count) in encodings {
            notes.add("quantize", counted(count, "tensor"), "to \(encoding)")
        }
        for tie in plan.ties { notes.add("tied", "\(tie.dropped)", "is \(tie.kept)") }
        let byConfig = Set(plan.untiedByConfig)
        for name in plan.untied {
            notes.add(
                "untied", "\(name)",
                byConfig.contains(name) ? "the config says that it is not tied" : "as asked")
        }
        for item in plan.skipped {
            let tensors = item.tensorCount > 0 ? ", \(counted(item.tensorCount, "tensor"))" : ""
            notes.add("left", escapedForDisplay(item.name), item.reason + tensors)
        }
        lines += notes.lines(indent: "  ").map(style.dim)
        lines.append(closing(style))
        return lines.joined(separator: "\n")
    }

    private func add(_ effect: TransformEffect, to notes: inout Table) {
        let count = counted(effect.tensorCount, "tensor")
        let patterns = effect.transform.patterns.map(escapedPattern).joined(separator: " ")
        switch effect.transform {
        case .cast(let pattern, let dtype, let overflow):
            notes.add(
                "cast", count,
                (pattern == nil ? "" : patterns + " ") + "to \(dtype.name), nearest even"
                    + (overflow == .saturate ? ", too large to the largest" : ""))
        case .rename, .select, .drop: notes.add(effect.transform.kind, count, patterns)
        // The names are listed one by one.
        case .tie, .untie: break
        }
        for example in effect.examples { notes.add("", "\(example.before)", "→ \(example.after)") }
    }

    private func files(_ style: Style) -> [String] {
        var table = Table(.left, .right, .left, .left)
        let digests = digests
        func add(_ name: String, _ size: UInt64, _ what: String) {
            table.add(
                escapedForDisplay(name), ByteSize.describe(size),
                digests[ByteKey(name)].map { "\($0.prefix(12))…" } ?? "", what)
        }
        for shard in plan.shards {
            add(shard.fileName, shard.byteCount, counted(shard.tensors.count, "tensor"))
        }
        if let index = plan.index { add(index.name, UInt64(index.contents.count), "index") }
        for item in plan.sideFiles {
            add(
                item.file.name, item.source.byteCount,
                item.file.role.rawValue + (item.isEdited ? ", dtype changed" : ""))
        }
        if let manifest = result?.manifest {
            add(Manifest.fileName, UInt64(manifest.encoded().count), "manifest")
        }
        return table.lines(indent: "  ")
    }

    private func closing(_ style: Style) -> String {
        let size = ByteSize.describe(plan.byteCount)
        guard let result else {
            return "dry run: \(counted(tensorCount, "tensor")), \(size) would be written"
        }
        let resumed =
            result.resumedByteCount > 0
            ? ", gone on from \(ByteSize.describe(result.resumedByteCount)) of an interrupted run" : ""
        let kept = result.replaced.map { "\nwhat stood there is now at \(escapedForDisplay($0))" } ?? ""
        return style.green("✓")
            + " \(counted(tensorCount, "tensor")), \(size) in \(Clock.describe(seconds))\(resumed)\(kept)"
    }

    var json: JSONValue {
        var members: [JSONMember] = [
            .init("schema", .string("artifact.export/v1")), .init("source", .string(sources.first ?? "")),
            .init("destination", .string(destination)), .init("dry_run", .bool(result == nil)),
            .init("format", .string(plan.checkpoint.format)),
            .init("tensor_count", .integer(tensorCount)), .init("nbytes", .integer(plan.byteCount)),
        ]
        if sources.count > 1 { members.append(.init("sources", .array(sources.map { .string($0) }))) }
        if let root = plan.checkpoint.root { members.append(.init("root", .string(root))) }
        let digests = digests
        func file(_ name: String, _ size: UInt64, _ role: String) -> JSONValue {
            var file: [JSONMember] = [
                .init("path", .string(name)), .init("role", .string(role)), .init("size", .integer(size)),
            ]
            if let digest = digests[ByteKey(name)] { file.append(.init("sha256", .string(digest))) }
            return .object(file)
        }
        var files = plan.shards.map { file($0.fileName, $0.byteCount, "weights") }
        if let index = plan.index { files.append(file(index.name, UInt64(index.contents.count), "index")) }
        files += plan.sideFiles.map { file($0.file.name, $0.source.byteCount, $0.file.role.rawValue) }
        members.append(.init("files", .array(files)))
        members.append(
            .init(
                "ties",
                .array(
                    plan.ties.map {
                        .object([
                            .init("name", .string($0.dropped.string)), .init("kept", .string($0.kept.string)),
                        ])
                    })))
        members.append(.init("untied", .array(plan.untied.map { .string($0.string) })))
        members.append(.init("transforms", .array(plan.effects.map(\.json))))
        if !plan.checkpoint.changes.isEmpty {
            let changes = plan.checkpoint.changes.map { change in
                JSONValue.object([.init("kind", .string(change.kind))] + change.parameters)
            }
            members.append(.init("changes", .array(changes)))
        }
        members.append(.init("skipped", .array(plan.skipped.map(\.json))))
        members.append(.init("warnings", .array(plan.checkpoint.warnings.map(\.json))))
        if let resumed = result?.resumedByteCount, resumed > 0 {
            members.append(.init("resumed_nbytes", .integer(resumed)))
        }
        if let replaced = result?.replaced { members.append(.init("replaced", .string(replaced))) }
        return .object(members)
    }
}

extension TransformEffect {
    var json: JSONValue {
        var members = [JSONMember("kind", .string(transform.kind))] + transform.parameters
        members.append(.init("tensors", .integer(tensorCount)))
        if !examples.isEmpty {
            members.append(
                .init(
                    "examples",
                    .array(
                        examples.map {
                            .object([
                                .init("before", .string($0.before.string)),
                                .init("after", .string($0.after.string)),
                            ])
                        })))
        }
        return .object(members)
    }
}

extension SkippedItem {
    var json: JSONValue {
        .object([
            .init("name", .string(name)), .init("reason", .string(reason)),
            .init("tensors", .integer(tensorCount)),
        ])
    }
}
