internal import Conversion
internal import Integrity
internal import SafeTensors
internal import StrictJSON
internal import TensorCore

/// What `artifact metadata` shows or did, for people and for programs.
struct MetadataReport {
    let editor: SafeTensorsMetadataEditor
    let outcome: SafeTensorsMetadataEditor.Outcome
    let isDryRun: Bool
    /// What the change does to files beside this one, and to loaders.
    let warnings: [(code: String, message: String)]

    init(editor: SafeTensorsMetadataEditor, outcome: SafeTensorsMetadataEditor.Outcome, isDryRun: Bool) {
        self.editor = editor
        self.outcome = outcome
        self.isDryRun = isDryRun
        warnings = outcome.method == .none ? [] : Self.warnings(editor.path, outcome)
    }

    func text(_ style: Style) -> String {
        var lines = changes.map { change in
            let key = escapedForDisplay(change.key)
            switch (change.before, change.after) {
            case (let before?, let after?):
                return "  \(key): \(escapedForDisplay(before)) → \(escapedForDisplay(after))"
            case (nil, let after?): return "  \(key): \(escapedForDisplay(after))"
            default: return "  \(key): removed"
            }
        }
        let how =
            switch outcome.method {
            case .none: "nothing to change"
            case .inPlace: "header written in place"
            case .insert:
                "header grown in place by \(outcome.headerByteCount.after - outcome.headerByteCount.before) bytes"
            case .rewrite: "file written anew"
            }
        let path = escapedForDisplay(editor.path)
        lines.append(
            isDryRun && outcome.method != .none
                ? "dry run: \(path): \(how)" : style.green("✓") + " \(path): \(how)")
        return lines.joined(separator: "\n")
    }

    var json: JSONValue {
        .object(
            [
                .init("schema", .string("artifact.metadata/v1")), .init("path", .string(editor.path)),
                .init("recovery", .string(editor.recovery.rawValue)),
                .init("metadata", Self.object(outcome.after)), .init("dry_run", .bool(isDryRun)),
                .init("method", .string(outcome.method.rawValue)),
                .init("header_bytes", .integer(outcome.headerByteCount.after)),
                .init("file_bytes", .integer(outcome.fileByteCount)),
                .init(
                    "changes",
                    .array(
                        changes.map { change in
                            .object([
                                .init("key", .string(change.key)),
                                .init("before", change.before.map { .string($0) } ?? .null),
                                .init("after", change.after.map { .string($0) } ?? .null),
                            ])
                        })),
                .init(
                    "warnings",
                    .array(
                        warnings.map {
                            .object([.init("code", .string($0.code)), .init("message", .string($0.message))])
                        })),
            ])
    }

    /// The keys whose value differs, in the order of the new header, then those that are gone.
    private var changes: [(key: String, before: String?, after: String?)] {
        func table(_ entries: [(key: String, value: String)]) -> [ByteKey: String] {
            Dictionary(entries.map { (ByteKey($0.key), $0.value) }) { _, last in last }
        }
        let (before, after) = (table(outcome.before), table(outcome.after))
        var result: [(key: String, before: String?, after: String?)] = []
        for (key, value) in outcome.after {
            let old = before[ByteKey(key)]
            if old.map({ !$0.utf8.elementsEqual(value.utf8) }) ?? true { result.append((key, old, value)) }
        }
        for (key, value) in outcome.before where after[ByteKey(key)] == nil {
            result.append((key, value, nil))
        }
        return result
    }
}

extension MetadataReport {
    static func print(_ json: JSONValue) {
        Terminal.write(json.serialized(indent: 2), to: 1)
        Terminal.print("")
    }

    static func json(_ editor: SafeTensorsMetadataEditor, entries: [(key: String, value: String)])
        -> JSONValue
    {
        .object([
            .init("schema", .string("artifact.metadata/v1")), .init("path", .string(editor.path)),
            .init("recovery", .string(editor.recovery.rawValue)), .init("metadata", object(entries)),
        ])
    }

    private static func object(_ entries: [(key: String, value: String)]) -> JSONValue {
        .object(entries.map { .init(key: $0.key, value: .string($0.value)) })
    }

    /// An entry in one line: control characters are escaped, quotes and backslashes stay.
    static func line(_ entry: (key: String, value: String)) -> String {
        let text = "\(entry.key)=\(entry.value)"
        return String(
            text.unicodeScalars.reduce(into: "") { result, scalar in
                let isPlain = scalar == "\"" || scalar == "\\"
                result += isPlain ? String(scalar) : escapedForDisplay(String(scalar))
            })
    }

    static func noteRecovery(_ editor: SafeTensorsMetadataEditor, _ output: OutputOptions) {
        guard editor.recovery != .none, !output.quiet else { return }
        let what = editor.recovery == .finished ? "was finished" : "had not begun and is forgotten"
        Terminal.printError("artifact: an interrupted change of \(escapedForDisplay(editor.path)) \(what)")
    }

    private static func warnings(
        _ path: String, _ outcome: SafeTensorsMetadataEditor.Outcome
    ) -> [(code: String, message: String)] {
        var result: [(code: String, message: String)] = []
        if !outcome.after.isEmpty, !outcome.after.contains(where: { $0.key == "format" }) {
            result.append(
                (
                    "noFormat",
                    "there is metadata without the key format, which transformers 4 and accelerate refuse: set "
                        + "format=pt"
                ))
        }
        let directory = Path.parent(of: path)
        let name = Path.name(of: path)
        let manifest = Path.join(directory, Manifest.fileName)
        if let bytes = try? FileSystem.contents(of: manifest, limit: 1 << 30),
            let manifest = try? Manifest(decoding: bytes), manifest.files.contains(where: { $0.path == name })
        {
            result.append(
                (
                    "manifestMismatch",
                    "\(Manifest.fileName) lists the SHA-256 of \(escapedForDisplay(name)) as it was, so artifact "
                        + "verify will report it: export again, or remove the manifest"
                ))
        }
        let signatures = [name + ".sig", name + ".asc", name + ".sigstore", "model.sig"]
        for signature in signatures
        where (try? FileSystem.kind(of: Path.join(directory, signature))) == .some(.file) {
            result.append(
                (
                    "signatureMismatch",
                    "\(escapedForDisplay(signature)) may sign the file as it was: sign it again"
                ))
        }
        return result
    }
}
