internal import Checkpoints
internal import Conversion
internal import StrictJSON
internal import TensorCore

/// What an adapter changes, for people and for programs.
struct AdapterReport {
    private let adapter: Adapter

    init(_ adapter: Adapter) { self.adapter = adapter }

    private var kind: String {
        let settings = adapter.settings
        let base = settings.usesMagnitudes ? "DoRA" : settings.usesRootScale ? "rsLoRA" : "LoRA"
        return settings.usesMagnitudes && settings.usesRootScale ? base + ", rsLoRA" : base
    }

    private var byteCount: UInt64 { adapter.checkpoint.tensors.reduce(0) { $0 + $1.byteCount } }
    private var parameterCount: UInt64 { adapter.checkpoint.tensors.reduce(0) { $0 + $1.elementCount } }

    /// The least and the greatest rank of modules.
    private var ranks: (least: Int, most: Int) {
        let ranks = adapter.modules.map(\.rank)
        return (ranks.min() ?? 0, ranks.max() ?? 0)
    }

    func text(_ style: Style) -> String {
        let settings = adapter.settings
        let ranks = ranks
        let scales = Set(adapter.modules.map(\.scale)).sorted()
        var lines = [
            "\(style.bold(escapedForDisplay(adapter.path)))  \(kind) in the layout of "
                + (adapter.format == .peft ? "PEFT" : "mlx-lm")
        ]
        var table = Table(.left, .left)
        table.add("rank", ranks.least == ranks.most ? "\(ranks.most)" : "\(ranks.least) to \(ranks.most)")
        table.add("scale", scales.map { "\($0)" }.joined(separator: ", "))
        table.add(
            "size",
            "\(grouped(parameterCount)) parameters, \(ByteSize.describe(byteCount)), "
                + "\(counted(adapter.checkpoint.tensors.count, "tensor"))")
        if let base = settings.baseModel { table.add("base", escapedForDisplay(base)) }
        for (module, count) in targets { table.add("updates", "\(escapedForDisplay(module)) × \(count)") }
        for item in adapter.replacements {
            table.add("replaces", "\(escapedForDisplay(item.name)) \(item.tensor.shape)")
        }
        for item in adapter.tokenRows {
            table.add("replaces", "\(item.indices.count) rows of \(escapedForDisplay(item.module))")
        }
        if settings.hasUpdateBias { table.add("bias", "of its own in every update") }
        lines += table.lines(indent: "  ")
        return lines.joined(separator: "\n")
    }

    /// The last components of module names with how many there are of each.
    private var targets: [(module: String, count: Int)] {
        var order: [String] = []
        var counts: [String: Int] = [:]
        for module in adapter.modules {
            let name = module.name.split(separator: ".").last.map(String.init) ?? module.name
            if counts[name] == nil { order.append(name) }
            counts[name, default: 0] += 1
        }
        return order.map { ($0, counts[$0] ?? 0) }
    }

    var json: JSONValue {
        let settings = adapter.settings
        return .object([
            .init("schema", .string("artifact.adapter/v1")), .init("path", .string(adapter.path)),
            .init("format", .string(adapter.format.rawValue)), .init("kind", .string(kind)),
            .init("rank", .integer(settings.rank)), .init("max_rank", .integer(ranks.most)),
            .init("alpha", .number("\(settings.alpha)")),
            .init("base_model", settings.baseModel.map { .string($0) } ?? .null),
            .init("nbytes", .integer(byteCount)), .init("parameters", .integer(parameterCount)),
            .init("tensors", .integer(adapter.checkpoint.tensors.count)),
            .init(
                "modules",
                .array(
                    adapter.modules.map { module in
                        .object([
                            .init("name", .string(module.name)), .init("rank", .integer(module.rank)),
                            .init("scale", .number("\(module.scale)")),
                            .init("embedding", .bool(module.isEmbedding)),
                            .init("magnitude", .bool(module.magnitude != nil)),
                            .init("bias", .bool(module.bias != nil)),
                        ])
                    })),
            .init("replaces", .array(adapter.replacements.map { .string($0.name) })),
            .init(
                "token_rows",
                .array(
                    adapter.tokenRows.map {
                        .object([
                            .init("module", .string($0.module)), .init("rows", .integer($0.indices.count)),
                        ])
                    })),
        ])
    }

    /// What an extraction misses of each difference, the worst first.
    static func table(_ outcomes: [AdapterExtraction.Outcome], _ style: Style) -> String {
        var table = Table(.left, .right, .right)
        table.add("weight", "rank", "missed")
        for outcome in outcomes.sorted(by: { ($1.relativeError, $0.name) < ($0.relativeError, $1.name) })
            .prefix(20)
        {
            table.add("\(outcome.name)", "\(outcome.rank)", scientific(outcome.relativeError))
        }
        var lines = table.lines(indent: "  ")
        if outcomes.count > 20 { lines.append("  and \(outcomes.count - 20) more that miss less") }
        return lines.map(style.dim).joined(separator: "\n")
    }

    /// Three digits and an exponent.
    private static func scientific(_ value: Double) -> String {
        guard value > 0, value.isFinite else { return "0" }
        var (mantissa, exponent) = (value, 0)
        while mantissa < 1 { (mantissa, exponent) = (mantissa * 10, exponent - 1) }
        while mantissa >= 10 { (mantissa, exponent) = (mantissa / 10, exponent + 1) }
        let digits = Int((mantissa * 100).rounded())
        let rest = digits % 100
        return "\(digits / 100).\(rest < 10 ? "0" : "")\(rest)e\(exponent)"
    }
}
