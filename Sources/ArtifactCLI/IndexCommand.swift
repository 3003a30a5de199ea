internal import ArgumentParser
internal import Conversion
internal import SafeTensors
internal import StrictJSON
internal import TensorCore

struct Index: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Audit, rebuild or repair the index of a sharded model.",
        subcommands: [Audit.self, Rebuild.self, Repair.self])
}

/// The place of a set of shards.
struct IndexPlace: ParsableArguments {
    @Argument(help: "The directory of the shards, or an index file in it.", completion: .directory)
    var path: String

    /// Reads the headers and indexes.
    func audit(_ mode: ValidationMode = .strict) throws -> ShardSetAudit {
        do throws(IOError) {
            let kind = try FileSystem.kind(of: path)
            guard kind == .file else { return try ShardSetAudit(directory: path, mode: mode) }
            return try ShardSetAudit(
                directory: Path.parent(of: path), indexes: [Path.name(of: path)], mode: mode)
        } catch {
            throw Exit(.io(error))
        }
    }
}

/// Options of the commands that write an index.
struct IndexWriting: ParsableArguments {
    @Flag(help: "Replace an index that stands there.")
    var force = false

    @Flag(help: "Say what would be written and write nothing.")
    var dryRun = false
}

enum LayoutOption: String, ExpressibleByArgument, CaseIterable {
    case hub, transformers

    var layout: ShardIndex.Layout {
        switch self {
        case .hub: .hub
        case .transformers: .transformers
        }
    }
}

extension Index {
    struct Audit: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Compare the index with the headers of the shards, both ways.",
            discussion: """
                Reads headers and indexes, no tensors. Exit codes: 0 no error (there may be warnings); 1 a loader \
                would fail or get wrong weights; 3 something could not be read.
                """)

        @OptionGroup var place: IndexPlace
        @Option(help: "How SafeTensors headers are judged.")
        var validation: ValidationOption = .strict
        @OptionGroup var output: OutputOptions

        func run() throws {
            let audit = try place.audit(validation.mode)
            guard !audit.shards.isEmpty || !audit.indexes.isEmpty else {
                throw Exit(
                    code: 3,
                    message:
                        "\(escapedForDisplay(audit.directory)): there is no SafeTensors file and no index here"
                )
            }
            let code: Int32 = audit.hasErrors ? 1 : audit.hasUnreadable ? 3 : 0
            var report = IndexReport("audit", directory: audit.directory)
            report.add("exit_code", .integer(code))
            report.add("shards", .array(audit.shards.map { .string($0.name) }))
            report.add("indexes", .array(audit.indexes.map { .string($0.name) }))
            report.add("tensor_count", .integer(audit.shards.reduce(0) { $0 + ($1.header?.count ?? 0) }))
            report.add("findings", .array(audit.findings.map(\.json)))
            report.print(output) { IndexReport.text(audit, $0) }
            if code != 0 { throw Exit(code: code) }
        }
    }

    struct Rebuild: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Write the index anew, from the headers of the shards alone.",
            discussion: """
                Refuses where a header is refused, a number lacks in the names of the shards (--allow-gaps takes \
                what is there) or two shards hold a tensor of the same name.
                """)

        @OptionGroup var place: IndexPlace
        @Option(help: "The library whose index it shall be like, to the byte.")
        var layout: LayoutOption = .transformers
        @Option(help: ArgumentHelp("What the names of the shards begin with.", valueName: "name"))
        var base: String?
        @Flag(help: "Index the shards that are there although their names count more.")
        var allowGaps = false
        @OptionGroup var writing: IndexWriting
        @OptionGroup var output: OutputOptions

        func run() throws {
            let audit = try place.audit()
            let rebuilt: ShardSetAudit.Rebuilt
            do {
                rebuilt = try audit.rebuiltIndex(
                    base: base, layout: layout.layout, allowingGaps: allowGaps)
            } catch {
                throw Exit(code: error.severity == .unreadable ? 3 : 1, message: "\(error)")
            }
            let document = rebuilt.index.serialized(layout.layout)
            let isWritten = try write(document, rebuilt.name, in: audit, writing)
            var report = IndexReport("rebuild", directory: audit.directory)
            report.add("index", .string(rebuilt.name))
            report.add("layout", .string(layout.rawValue))
            report.add("dry_run", .bool(writing.dryRun))
            report.add("is_written", .bool(isWritten))
            report.add("tensor_count", .integer(rebuilt.index.entries.count))
            report.add("total_size", .integer(rebuilt.index.totalSize ?? 0))
            report.add("shards", .array(rebuilt.files.map { .string($0) }))
            report.print(output) { style in
                IndexReport.closing(
                    style, isDryRun: writing.dryRun,
                    "\(escapedForDisplay(Path.join(audit.directory, rebuilt.name))): "
                        + "\(counted(rebuilt.index.entries.count, "tensor")) in "
                        + counted(rebuilt.files.count, "shard"))
            }
        }
    }

    struct Repair: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Put right what the headers contradict in the index.",
            discussion: """
                Keeps the order and the metadata. Tensors are sent to the shard that holds them, those that no \
                shard holds are removed, those that the index lacks are added at the end, and total_size is put \
                right. Entries whose shard is not there stay, and the exit code is 1.
                """)

        @OptionGroup var place: IndexPlace
        @Option(help: "The library whose index it shall be like (default: as it seems to be written).")
        var layout: LayoutOption?
        @OptionGroup var writing: IndexWriting
        @OptionGroup var output: OutputOptions

        func run() throws {
            let audit = try place.audit()
            if audit.indexes.isEmpty,
                let finding = audit.findings.first(where: { $0.severity == .unreadable })
            {
                throw Exit(code: 3, message: "\(finding)")
            }
            guard audit.indexes.count == 1 else {
                throw Exit(
                    code: audit.indexes.isEmpty ? 1 : 2,
                    message: audit.indexes.isEmpty
                        ? "there is no index in \(escapedForDisplay(audit.directory)): make one with index rebuild"
                        : "there are several indexes in \(escapedForDisplay(audit.directory)): name one")
            }
            let index = audit.indexes[0]
            let repaired: ShardSetAudit.Repaired
            do { repaired = try audit.repaired(index) } catch {
                throw Exit(code: error.severity == .unreadable ? 3 : 1, message: "\(error)")
            }
            let document = repaired.index.serialized(
                layout?.layout ?? ShardIndex.layout(of: index.document))
            // A layout that was asked for is a change too.
            let isChanged = !repaired.changes.isEmpty || (layout != nil && document != index.document)
            let isWritten = isChanged ? try write(document, index.name, in: audit, writing) : false
            var report = IndexReport("repair", directory: audit.directory)
            report.add("index", .string(index.name))
            report.add("dry_run", .bool(writing.dryRun))
            report.add("is_written", .bool(isWritten))
            report.add("is_incomplete", .bool(repaired.isIncomplete))
            report.add("changes", .array(repaired.changes.map(\.json)))
            report.print(output) { style in
                let closing =
                    isChanged
                    ? IndexReport.closing(
                        style, isDryRun: writing.dryRun,
                        "\(escapedForDisplay(index.name)): \(counted(repaired.changes.count, "change"))")
                    : "\(style.green("✓")) \(escapedForDisplay(index.name)): nothing to repair"
                return (repaired.changes.map(\.line) + [closing]).joined(separator: "\n")
            }
            if audit.findings.contains(where: { $0.code == .duplicateAcrossShards }) {
                throw Exit(
                    code: 1,
                    message:
                        "two shards hold a tensor of the same name, which no index mends: see index audit")
            }
            if repaired.isIncomplete {
                throw Exit(
                    code: 1,
                    message:
                        "shards of \(escapedForDisplay(index.name)) are missing or cannot be read: fetch them"
                )
            }
        }
    }
}

/// Writes an index unless it is a dry run; whether it was written.
private func write(
    _ document: [UInt8], _ name: String, in audit: ShardSetAudit, _ options: IndexWriting
) throws -> Bool {
    guard !options.dryRun else { return false }
    let path = Path.join(audit.directory, name)
    do throws(IOError) {
        if !options.force {
            guard try FileSystem.kind(of: path, followingLinks: false) == nil else {
                throw IOError(.system, path: path, operation: "write", errno: 17)
            }
        }
        // Nobody may have put one there meanwhile.
        var file = try ReplacementFile(for: path)
        try file.write(document.span.bytesView, at: 0)
        try file.commit(replacing: options.force)
        return true
    } catch  where error.errno == 17 {
        throw Exit(
            code: 2,
            message:
                "\(escapedForDisplay(path)) is there already: replace it with --force, or see what would "
                + "change with --dry-run")
    } catch {
        throw Exit(.io(error))
    }
}
