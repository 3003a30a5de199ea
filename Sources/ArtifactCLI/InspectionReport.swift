internal import CheckpointFormats
internal import Checkpoints
internal import Conversion
internal import Integrity
internal import SafeTensors
internal import StrictJSON
internal import TensorCore

/// An inspection, for people and for programs.
struct InspectionReport {
    private let inspection: Inspection

    init(_ inspection: Inspection) { self.inspection = inspection }

    private var checkpoint: Checkpoint { inspection.checkpoint }

    /// More lines than anyone reads.
    private static let rowLimit = 10_000
    /// More tensors than any model's layers explain.
    private static let foldingLimit = 200_000

    // MARK: People

    func text(_ style: Style, listsAll: Bool) -> String {
        var lines = [style.bold(escapedForDisplay(inspection.path))]
        lines += summary().lines(indent: "  ")
        let count = checkpoint.tensors.count
        let isFolded = !listsAll && count <= Self.foldingLimit
        let rows =
            isFolded ? TensorRow.folded(of: inspection) : TensorRow.each(of: inspection, limit: Self.rowLimit)
        let total = isFolded ? rows.count : count
        var table = Table(.left, .left, .left, .right, .left)
        for row in rows.prefix(Self.rowLimit) {
            table.add(row.name, row.dtype, row.shape, row.size, row.digest ?? row.repeats)
        }
        if !table.isEmpty { lines += [""] + table.lines(indent: "  ") }
        if total > Self.rowLimit {
            lines.append("  … and \(grouped(UInt64(total - Self.rowLimit))) lines more: use --json")
        }
        var notes = Table(.left, .left, .left)
        for group in checkpoint.tiedGroups {
            for name in group.dropFirst() { notes.add("tied", "\(name)", "is \(group[0])") }
        }
        for item in checkpoint.skipped + (inspection.model.directory?.left ?? []) {
            let tensors = item.tensorCount > 0 ? ", \(counted(item.tensorCount, "tensor"))" : ""
            notes.add("left", escapedForDisplay(item.name), item.reason + tensors)
        }
        for warning in checkpoint.warnings {
            notes.add("warning", warning.code, escapedForDisplay(warning.message))
        }
        if !notes.isEmpty { lines += [""] + notes.lines(indent: "  ") }
        return lines.joined(separator: "\n")
    }

    private func summary() -> Table {
        var table = Table(.left, .left)
        let root = checkpoint.root.map { ", under \"\(escapedForDisplay($0))\"" } ?? ""
        table.add("format", checkpoint.format + root)
        if let architecture = inspection.architecture ?? inspection.modelType {
            table.add("architecture", escapedForDisplay(architecture))
        }
        table.add("tensors", grouped(UInt64(checkpoint.tensors.count)))
        table.add("parameters", grouped(inspection.parameterCount))
        table.add("size", ByteSize.describe(inspection.byteCount))
        let dtypes = inspection.dtypes.map { "\($0.dtype.name) \(ByteSize.describe($0.byteCount))" }
        table.add("dtypes", dtypes.joined(separator: ", "))
        table.add("files", Self.describe(checkpoint.files.map { escapedForDisplay($0.path) }))
        for (key, value) in checkpoint.metadata.prefix(100) {
            let shown = value.utf8.count > 60 ? value.prefix(60) + "…" : value[...]
            table.add("metadata", "\(escapedForDisplay(key)) = \(escapedForDisplay(String(shown)))")
        }
        let inside = checkpoint.embedded.map { escapedForDisplay($0.file.name) }
        if !inside.isEmpty { table.add("holds", Self.describe(inside)) }
        // Where there is nothing else, the values are what was asked for.
        for member in checkpoint.values.prefix(checkpoint.tensors.isEmpty ? 1000 : 20) {
            table.add("value", "\(escapedForDisplay(member.key)) = \(member.value.displayText)")
        }
        return table
    }

    /// All names where there are few, else the first and the last.
    private static func describe(_ names: [String]) -> String {
        guard names.count > 4, let first = names.first, let last = names.last else {
            return names.joined(separator: ", ")
        }
        return "\(first) … \(last) (\(names.count) files)"
    }

    // MARK: Programs

    /// Prints the report, tensor by tensor, so that a header of millions of them needs no more memory.
    func printJSON() {
        var writer = JSONObjectWriter { Terminal.write($0, to: 1) }
        writer.member("schema", .string("artifact.inspect/v1"))
        writer.member("path", .string(inspection.path))
        writer.member("verdict", .string("accept"))
        writer.member("error", .null)
        writer.member("warnings", elements: checkpoint.warnings.map(\.json))
        writer.member("format", .string(checkpoint.format))
        writer.member("root", checkpoint.root.map { .string($0) } ?? .null)
        writer.member("architecture", inspection.architecture.map { .string($0) } ?? .null)
        writer.member("model_type", inspection.modelType.map { .string($0) } ?? .null)
        writer.member("tensor_count", .integer(checkpoint.tensors.count))
        writer.member("parameter_count", .integer(inspection.parameterCount))
        writer.member("nbytes", .integer(inspection.byteCount))
        writer.member("dtypes", elements: dtypes)
        writer.member(
            "files",
            elements: checkpoint.files.lazy.map {
                .object([.init("path", .string($0.path)), .init("size", .integer($0.source.byteCount))])
            })
        writer.member(
            "metadata", members: checkpoint.metadata.lazy.map { JSONMember($0.key, .string($0.value)) })
        writer.member(
            "tied", elements: checkpoint.tiedGroups.map { .array($0.map { .string($0.string) }) })
        let paths = Dictionary(
            checkpoint.files.map { ($0.source.name, $0.path) }, uniquingKeysWith: { first, _ in first })
        writer.member("tensors", of: checkpoint.tensors.indices) { index, bytes in
            append(checkpoint.tensors[index], at: index, paths: paths, to: &bytes)
        }
        writer.member(
            "side_files",
            elements: inspection.model.sideFiles.map {
                .object([.init("name", .string($0.file.name)), .init("role", .string($0.file.role.rawValue))])
            })
        writer.member("values", members: checkpoint.values)
        let skipped = checkpoint.skipped + (inspection.model.directory?.left ?? [])
        writer.member("skipped", elements: skipped.map(\.json))
        writer.finish()
    }

    private var dtypes: [JSONValue] {
        inspection.dtypes.map { dtype in
            .object([
                .init("dtype", .string(dtype.dtype.name)), .init("tensors", .integer(dtype.tensors)),
                .init("parameters", .integer(dtype.elements)), .init("nbytes", .integer(dtype.byteCount)),
            ])
        }
    }

    /// Appends a line for a tensor.
    ///
    /// There may be millions, so no value is built for it.
    private func append(
        _ tensor: TensorRecord, at index: Int, paths: [String: String], to bytes: inout [UInt8]
    ) {
        bytes += "{\"name\":".utf8
        JSONValue.appendString(utf8: tensor.name.utf8, to: &bytes)
        bytes += ",\"dtype\":\"".utf8
        bytes += tensor.dtype.name.utf8
        bytes += "\",\"shape\":[".utf8
        for (axis, dimension) in tensor.shape.enumerated() {
            if axis > 0 { bytes.append(UInt8(ascii: ",")) }
            JSONValue.appendInteger(dimension, to: &bytes)
        }
        bytes += "],\"nbytes\":".utf8
        JSONValue.appendInteger(tensor.byteCount, to: &bytes)
        if let location = tensor.source.location {
            bytes += ",\"file\":".utf8
            JSONValue.appendString(paths[location.source.name] ?? location.source.name, to: &bytes)
            bytes += ",\"offset\":".utf8
            JSONValue.appendInteger(location.offset, to: &bytes)
        }
        if let digests = inspection.digests, index < digests.count {
            bytes += ",\"sha256\":\"".utf8
            bytes += digests[index].hex.utf8
            bytes.append(UInt8(ascii: "\""))
        }
        bytes.append(UInt8(ascii: "}"))
    }

    /// The JSON for an input that was refused.
    static func refusal(_ error: CheckpointError, path: String) -> JSONValue {
        return .object([
            .init("schema", .string("artifact.inspect/v1")), .init("path", .string(path)),
            .init("verdict", .string("reject")), .init("error", .object(error.jsonMembers)),
            .init("warnings", .array([])),
        ])
    }
}

/// A line of the table of tensors.
struct TensorRow {
    var name: String
    var dtype: String
    var shape: String
    var size: String
    var repeats = ""
    var digest: String?

    /// One line for each of the first tensors.
    static func each(of inspection: Inspection, limit: Int) -> [TensorRow] {
        inspection.checkpoint.tensors.prefix(limit).enumerated().map { index, tensor in
            var row = TensorRow(tensor)
            row.digest = inspection.digests.flatMap { index < $0.count ? $0[index].hex : nil }
            return row
        }
    }

    /// Tensors whose names differ in one number only and that are alike share a line: `layers.{0…31}.up.weight`.
    static func folded(of inspection: Inspection) -> [TensorRow] {
        struct Group {
            var row: TensorRow
            var pattern: [Substring]
            var numbers: [Int]
            var byteCount: UInt64
        }
        var groups: [Group] = []
        var known: [String: Int] = [:]
        for tensor in inspection.checkpoint.tensors {
            let parts = tensor.name.description.split(separator: ".", omittingEmptySubsequences: false)
            let place = parts.firstIndex { Int($0) != nil }
            var pattern = parts
            if let place { pattern[place] = "#" }
            let key = "\(pattern.joined(separator: ".")) \(tensor.dtype.name) \(tensor.shape)"
            let number = place.flatMap { Int(parts[$0]) }
            if let number, let index = known[key] {
                groups[index].numbers.append(number)
                groups[index].byteCount += tensor.byteCount
            } else {
                known[key] = groups.count
                groups.append(
                    Group(
                        row: TensorRow(tensor), pattern: pattern, numbers: number.map { [$0] } ?? [],
                        byteCount: tensor.byteCount))
            }
        }
        return groups.map { group in
            guard group.numbers.count > 1 else { return group.row }
            var row = group.row
            let range = "{\(describe(group.numbers.sorted()))}"
            row.name = group.pattern.map { $0 == "#" ? range : String($0) }.joined(separator: ".")
            row.size = ByteSize.describe(group.byteCount)
            row.repeats = "×\(group.numbers.count)"
            return row
        }
    }

    private static func describe(_ numbers: [Int]) -> String {
        let isRun = zip(numbers, numbers.dropFirst()).allSatisfy { $1 == $0 + 1 }
        if isRun, let first = numbers.first, let last = numbers.last { return "\(first)…\(last)" }
        let shown = numbers.prefix(8).map(String.init).joined(separator: ",")
        return numbers.count > 8 ? shown + ",…" : shown
    }

    private init(_ tensor: TensorRecord) {
        name = tensor.name.description
        dtype = tensor.dtype.name
        shape = "[" + tensor.shape.map(String.init).joined(separator: ", ") + "]"
        size = ByteSize.describe(tensor.byteCount)
    }
}
