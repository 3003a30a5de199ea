internal import Checkpoints
internal import Conversion
internal import Glibc
internal import StrictJSON
internal import TensorCore

/// The difference of two checkpoints, for people and for programs.
struct DiffReport {
    let diff: CheckpointDiff
    private let a: (path: String, checkpoint: Checkpoint)
    private let b: (path: String, checkpoint: Checkpoint)

    init(
        _ diff: CheckpointDiff, a: (path: String, checkpoint: Checkpoint),
        b: (path: String, checkpoint: Checkpoint)
    ) {
        self.diff = diff
        self.a = a
        self.b = b
    }

    private static let rowLimit = 40
    private static let entryLimit = 20

    // MARK: People

    func text(_ style: Style, listsAll: Bool) -> String {
        var lines = sides(style)
        var only = Table(.left, .left, .left, .left, .left)
        for (title, tensors, side) in [("only in A", diff.onlyInA, a), ("only in B", diff.onlyInB, b)] {
            let groups = tensors.isEmpty ? [] : side.checkpoint.tiedGroups
            for tensor in listsAll ? tensors[...] : tensors.prefix(Self.rowLimit) {
                // A name that is left out because another has the same bytes is no loss.
                let others = groups.first { $0.contains(tensor.name) }?.filter { $0 != tensor.name }
                only.add(
                    title, "\(tensor.name)", tensor.dtype.name, Self.describe(tensor.shape),
                    others?.first.map { "the same as \($0)" } ?? "")
            }
            if !listsAll, tensors.count > Self.rowLimit {
                only.add(title, "… and \(grouped(UInt64(tensors.count - Self.rowLimit))) more", "", "", "")
            }
        }
        if !only.isEmpty { lines += [""] + only.lines(indent: "  ") }
        lines += changes(style, listsAll: listsAll)
        lines += layers(style)
        lines += files()
        return (lines + ["", verdict(style)]).joined(separator: "\n")
    }

    private func sides(_ style: Style) -> [String] {
        var table = Table(.left, .left, .left, .right, .right)
        for (title, side) in [("A", a), ("B", b)] {
            let tensors = side.checkpoint.tensors
            let size = tensors.indices.reduce(UInt64(0)) { $0 &+ tensors.size(at: $1).byteCount }
            table.add(
                title, escapedForDisplay(side.path), side.checkpoint.format,
                counted(tensors.count, "tensor"), ByteSize.describe(size))
        }
        return table.lines().map(style.bold)
    }

    private func changes(_ style: Style, listsAll: Bool) -> [String] {
        guard !diff.changed.isEmpty else { return [] }
        let shown = listsAll ? diff.changed[...] : diff.changed.prefix(Self.rowLimit)
        var table = Table(.left, .left, .left, .right, .right, .right, .right, .left, .left)
        table.add("tensor", "dtype", "shape", "differ", "max |Δ|", "mean |Δ|", "|Δ|/|A|", "", "")
        for tensor in shown {
            let dtype = Self.arrow(tensor.a.dtype.name, tensor.b.dtype.name)
            let shape = Self.arrow(Self.describe(tensor.a.shape), Self.describe(tensor.b.shape))
            guard let values = tensor.values else {
                table.add("\(tensor.name)", dtype, shape, "", "", "", "", "", "")
                continue
            }
            table.add(
                "\(tensor.name)", dtype, shape, Self.part(values.differing, of: values.count),
                Self.short(values.largest), Self.short(values.mean),
                values.relative.map(Self.short) ?? "", Self.bar(values.relative), Self.oddities(values))
        }
        var lines = table.lines(indent: "  ")
        lines[0] = style.dim(lines[0])
        let rest = diff.changed.count - shown.count
        if rest > 0 { lines.append("  … and \(grouped(UInt64(rest))) more: use --all") }
        return [""] + lines
    }

    /// A picture of how much each layer has changed.
    private func layers(_ style: Style) -> [String] {
        let layers = diff.layers
        guard layers.count > 1, let first = layers.first, let last = layers.last,
            let most = layers.max(by: { $0.relative < $1.relative }), most.relative > 0
        else { return [] }
        let levels = Array("▁▂▃▄▅▆▇█")
        let picture = layers.prefix(200).map { layer in
            levels[
                min(levels.count - 1, Int(layer.relative / most.relative * Double(levels.count - 1) + 0.5))]
        }
        return [
            "",
            "  layers \(first.number)…\(last.number)  \(style.green(String(picture)))  most in \(most.number): "
                + Self.short(most.relative),
        ]
    }

    private func files() -> [String] {
        var table = Table(.left, .left, .left)
        for file in diff.files {
            let name = escapedForDisplay(file.name)
            switch file.change {
            case .onlyInA: table.add(name, "only in A", "")
            case .onlyInB: table.add(name, "only in B", "")
            case .contents:
                guard let entries = file.entries else {
                    table.add(name, "differs", "")
                    continue
                }
                if entries.isEmpty { table.add(name, "differs in spelling only", "") }
                for entry in entries.prefix(Self.entryLimit) {
                    table.add(
                        name, escapedForDisplay(entry.path),
                        "\(Self.value(entry.a)) → \(Self.value(entry.b))")
                }
                if entries.count > Self.entryLimit {
                    table.add(name, "… and \(entries.count - Self.entryLimit) more", "")
                }
            }
        }
        return table.isEmpty ? [] : [""] + table.lines(indent: "  ")
    }

    private func verdict(_ style: Style) -> String {
        var parts = ["\(grouped(UInt64(diff.sameCount))) same"]
        let significant = diff.significant.count
        if significant > 0 { parts.append("\(grouped(UInt64(significant))) changed") }
        let within = diff.changed.count - significant
        if within > 0 { parts.append("\(grouped(UInt64(within))) within the tolerance") }
        if !diff.onlyInA.isEmpty { parts.append("\(grouped(UInt64(diff.onlyInA.count))) only in A") }
        if !diff.onlyInB.isEmpty { parts.append("\(grouped(UInt64(diff.onlyInB.count))) only in B") }
        if !diff.files.isEmpty { parts.append(counted(diff.files.count, "other file")) }
        let text = parts.joined(separator: ", ") + (diff.options.isQuick ? " (values not compared)" : "")
        return diff.isSame ? style.green("= \(text)") : style.yellow("≠ \(text)")
    }

    private static func describe(_ shape: [UInt64]) -> String {
        "[" + shape.map(String.init).joined(separator: ", ") + "]"
    }

    private static func arrow(_ a: String, _ b: String) -> String { a == b ? a : "\(a) → \(b)" }

    private static func value(_ json: String?) -> String {
        guard let json else { return "absent" }
        return json.count > 60 ? json.prefix(60) + "…" : json
    }

    private static func part(_ count: UInt64, of total: UInt64) -> String {
        guard total > 0, count > 0 else { return "0 %" }
        let thousandths = Double(count) / Double(total) * 1000
        if thousandths < 1 { return "<0.1 %" }
        let whole = Int(thousandths.rounded(.down))
        return "\(whole / 10).\(whole % 10) %"
    }

    private static func oddities(_ values: ElementComparison) -> String {
        var parts: [String] = []
        for (title, a, b) in [
            ("NaN", values.oddA.nans, values.oddB.nans),
            ("Inf", values.oddA.infinities, values.oddB.infinities),
        ] where a + b > 0 {
            parts.append("\(title) \(grouped(a)) → \(grouped(b))")
        }
        return parts.joined(separator: ", ")
    }

    /// Ten columns for a change from a millionth to one, by its logarithm.
    private static func bar(_ relative: Double?) -> String {
        guard let relative, relative > 0 else { return "" }
        let fraction = min(1, max(0, (log10(relative) + 6) / 6))
        let eighths = max(1, Int(fraction * 80))
        let partial = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"][eighths % 8]
        return String(repeating: "█", count: eighths / 8) + partial
    }

    /// Three digits, with an exponent where the number is small or large.
    static func short(_ number: Double) -> String {
        guard number.isFinite else { return number.isNaN ? "NaN" : "∞" }
        guard number > 0 else { return "0" }
        var exponent = Int(log10(number).rounded(.down))
        var digits = Int((number / pow(10, Double(exponent)) * 100).rounded())
        if digits >= 1000 { (digits, exponent) = (100, exponent + 1) }
        if digits < 100 { (digits, exponent) = (digits * 10, exponent - 1) }
        let text = "\(digits)"
        switch exponent {
        case 0...1: return "\(text.prefix(exponent + 1)).\(text.dropFirst(exponent + 1))"
        case 2...5: return text + String(repeating: "0", count: exponent - 2)
        case -3..<0: return "0." + String(repeating: "0", count: -exponent - 1) + text
        default: return "\(text.prefix(1)).\(text.dropFirst())e\(exponent)"
        }
    }

    // MARK: Programs

    var json: JSONValue {
        var members: [JSONMember] = [
            .init("schema", .string("artifact.diff/v1")), .init("a", side(a)), .init("b", side(b)),
            .init("same", .bool(diff.isSame)), .init("values_compared", .bool(!diff.options.isQuick)),
            .init("tolerance", diff.options.tolerance.map(Self.number) ?? .null),
            .init("same_count", .integer(diff.sameCount)),
            .init("only_in_a", .array(diff.onlyInA.map(Self.tensor))),
            .init("only_in_b", .array(diff.onlyInB.map(Self.tensor))),
            .init("changed", .array(diff.changed.map(change))),
        ]
        members.append(
            .init(
                "layers",
                .array(
                    diff.layers.map {
                        .object([
                            .init("layer", .integer($0.number)), .init("relative", Self.number($0.relative)),
                        ])
                    })))
        members.append(.init("files", .array(diff.files.map(Self.file))))
        return .object(members)
    }

    private func side(_ side: (path: String, checkpoint: Checkpoint)) -> JSONValue {
        .object([
            .init("path", .string(side.path)), .init("format", .string(side.checkpoint.format)),
            .init("tensor_count", .integer(side.checkpoint.tensors.count)),
        ])
    }

    private static func tensor(_ tensor: TensorRecord) -> JSONValue {
        .object([
            .init("name", .string(tensor.name.string)), .init("dtype", .string(tensor.dtype.name)),
            .init("shape", .array(tensor.shape.map { .integer($0) })),
            .init("nbytes", .integer(tensor.byteCount)),
        ])
    }

    private func change(_ tensor: TensorDifference) -> JSONValue {
        func side(_ side: TensorDifference.Side) -> JSONValue {
            .object([
                .init("dtype", .string(side.dtype.name)),
                .init("shape", .array(side.shape.map { .integer($0) })),
            ])
        }
        let isWithin = diff.options.tolerance.map { tensor.isWithin($0) } ?? false
        return .object([
            .init("name", .string(tensor.name.string)), .init("change", .string(tensor.change.rawValue)),
            .init("a", side(tensor.a)), .init("b", side(tensor.b)),
            .init("within_tolerance", .bool(isWithin)),
            .init("values", tensor.values.map(Self.values) ?? .null),
        ])
    }

    private static func values(_ values: ElementComparison) -> JSONValue {
        .object([
            .init("count", .integer(values.count)), .init("differing", .integer(values.differing)),
            .init("max_abs", number(values.largest)), .init("mean_abs", number(values.mean)),
            .init("rms", number(values.rootMeanSquare)),
            .init("max_relative", number(values.largestRelative)),
            .init("relative", values.relative.map(number) ?? .null),
            .init("nan", .array([.integer(values.oddA.nans), .integer(values.oddB.nans)])),
            .init("infinite", .array([.integer(values.oddA.infinities), .integer(values.oddB.infinities)])),
        ])
    }

    private static func file(_ file: SideFileDifference) -> JSONValue {
        let entries = file.entries.map { entries in
            JSONValue.array(
                entries.map {
                    .object([
                        .init("path", .string($0.path)), .init("a", $0.a.map { .string($0) } ?? .null),
                        .init("b", $0.b.map { .string($0) } ?? .null),
                    ])
                })
        }
        return .object([
            .init("name", .string(file.name)), .init("change", .string(file.change.rawValue)),
            .init("entries", entries ?? .null),
        ])
    }

    /// A number; null for infinity, which JSON has not.
    private static func number(_ value: Double) -> JSONValue {
        value.isFinite ? .number("\(value)") : .null
    }
}
