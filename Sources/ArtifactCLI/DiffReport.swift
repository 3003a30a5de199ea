internal import Conversion
internal import Glibc
internal import Integrity
internal import StrictJSON
internal import TensorCore

/// A comparison, for people (and, in its extension, for programs).
struct DiffReport {
    let diff: CheckpointDiff
    let first: String
    let second: String
    let isQuick: Bool

    init(_ diff: CheckpointDiff, first: String, second: String, isQuick: Bool) {
        self.diff = diff
        self.first = first
        self.second = second
        self.isQuick = isQuick
    }

    // MARK: People

    /// More lines than anyone reads at once.
    private static let shortRowLimit = 20
    private static let layerLimit = 100

    func text(_ style: Style, listsAll: Bool) -> String {
        var lines: [String] = []
        let shown = diff.tensors.prefix(listsAll ? diff.tensors.count : Self.shortRowLimit)
        var table = Table(.left, .left, .left, .right, .right)
        for tensor in shown {
            table.add("\(tensor.name)", tensor.what, tensor.distance, tensor.part, tensor.relative)
        }
        lines += table.lines(indent: "  ")
        if shown.count < diff.tensors.count {
            lines.append(
                "  … and \(counted(diff.tensors.count - shown.count, "tensor")) more: use --all or --json")
        }
        if listsAll {
            for tensor in shown {
                for (path, side) in [(first, tensor.first), (second, tensor.second)] {
                    guard let digest = side?.sha256 else { continue }
                    lines.append("  \(digest.hex)  \(tensor.name) in \(escapedForDisplay(path))")
                }
            }
        }
        let bars = layerBars()
        if !bars.isEmpty {
            lines += ["", "  change by layer (length of the difference / length of the first)"] + bars
        }
        if !diff.files.isEmpty { lines += lines.isEmpty ? fileLines() : [""] + fileLines() }
        if !lines.isEmpty { lines.append("") }
        return (lines + [verdict(style)]).joined(separator: "\n")
    }

    private func verdict(_ style: Style) -> String {
        let pair = style.bold(escapedForDisplay(first)) + " and " + style.bold(escapedForDisplay(second))
        let same = "\(counted(diff.sameCount, "tensor")) \(isQuick ? "alike by their heads" : "the same")"
        let others = diff.tensors.count { !$0.isTolerated }
        let near = diff.tensors.count - others
        let tolerated = near > 0 ? ", \(grouped(UInt64(near))) within the tolerance" : ""
        guard !diff.isSame else { return "\(style.green("=")) \(pair): \(same)\(tolerated)" }
        let files = diff.files.isEmpty ? "" : ", \(counted(diff.files.count, "file")) different"
        return
            "\(style.red("≠")) \(pair): \(counted(others, "tensor")) different\(files); \(same)\(tolerated)"
    }

    private func fileLines() -> [String] {
        diff.files.flatMap { file -> [String] in
            let name = escapedForDisplay(file.name)
            switch file.change {
            case .onlyInFirst: return ["  \(name): only in the first"]
            case .onlyInSecond: return ["  \(name): only in the second"]
            case .contents:
                let values = file.values.prefix(10).map { value in
                    "    \(escapedForDisplay(value.path)): \(Self.shown(value.first)) → \(Self.shown(value.second))"
                }
                let rest = file.values.count > 10 ? ["    … and more: use --json"] : []
                return ["  \(name): differs"] + values + rest
            }
        }
    }

    private static func shown(_ value: JSONValue?) -> String {
        value?.displayText ?? "(none)"
    }

    /// A bar for each layer, as long as its tensors changed together, on the scale of the largest.
    private func layerBars() -> [String] {
        var order: [String] = []
        var layers: [String: ElementDifference] = [:]
        for tensor in diff.tensors {
            guard let values = tensor.values else { continue }
            let name = tensor.layer
            if layers[name] == nil { order.append(name) }
            layers[name, default: ElementDifference()].add(values)
        }
        guard order.count > 1, order.count <= Self.layerLimit else { return [] }
        order.sort { LayerName($0) < LayerName($1) }
        let sizes = order.map { layers[$0]?.relative ?? 0 }.map { $0.isFinite ? $0 : 0 }
        guard let largest = sizes.max(), largest > 0 else { return [] }
        var table = Table(.left, .right, .left)
        for (name, size) in zip(order, sizes) {
            let eighths = Int((size / largest * 240).rounded(.up))
            let partial = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"][eighths % 8]
            table.add(
                escapedForDisplay(name), threeDigits(size),
                String(repeating: "█", count: eighths / 8) + partial)
        }
        return table.lines(indent: "  ")
    }
}

/// The name of a layer in an order where numbers count as such.
private struct LayerName: Comparable {
    private let parts: [(number: Int, text: String)]

    init(_ name: String) {
        parts = name.split(separator: ".", omittingEmptySubsequences: false).map {
            (Int($0) ?? -1, String($0))
        }
    }

    static func < (a: LayerName, b: LayerName) -> Bool {
        for (one, two) in zip(a.parts, b.parts) where one != two { return one < two }
        return a.parts.count < b.parts.count
    }

    static func == (a: LayerName, b: LayerName) -> Bool { !(a < b) && !(b < a) }
}

/// A number in three digits.
func threeDigits(_ value: Double) -> String {
    guard value != 0, value.isFinite else { return value == 0 ? "0" : "\(value)" }
    let exponent = Int(floor(log10(abs(value))))
    guard (-4...5).contains(exponent) else {
        let digits = (value / pow(10, Double(exponent)) * 100).rounded() / 100
        return abs(digits) >= 10 ? "\(digits / 10)e\(exponent + 1)" : "\(digits)e\(exponent)"
    }
    let scale = pow(10, Double(2 - exponent))
    let rounded = (value * scale).rounded() / scale
    return rounded == rounded.rounded() && abs(rounded) < 1e6 ? "\(Int(rounded))" : "\(rounded)"
}

extension CheckpointDiff.Tensor {
    /// The name up to its first number, which tells layers apart; without one, up to the last dot.
    var layer: String {
        let parts = name.string.split(separator: ".", omittingEmptySubsequences: false)
        let number = parts.firstIndex { !$0.isEmpty && $0.allSatisfy(\.isWholeNumber) }
        let count = number.map { $0 + 1 } ?? max(1, parts.count - 1)
        return parts.prefix(count).joined(separator: ".")
    }

    var what: String {
        func text(_ side: CheckpointDiff.Side?) -> String {
            side.map { "\($0.dtype.name) [\($0.shape.map(String.init).joined(separator: ", "))]" } ?? ""
        }
        switch change {
        case .onlyInFirst: return "only in the first: \(text(first))"
        case .onlyInSecond: return "only in the second: \(text(second))"
        case .shape: return "\(text(first)) → \(text(second))"
        case .dtype: return "\(first?.dtype.name ?? "") → \(second?.dtype.name ?? "")"
        case .values: return isTolerated ? "within the tolerance" : "values"
        }
    }

    var distance: String {
        guard let values else { return "" }
        if values.differing == 0 { return "the same numbers" }
        let odd = values.incomparable > 0 ? ", \(grouped(values.incomparable)) not finite" : ""
        return "max \(threeDigits(values.maximum)), mean \(threeDigits(values.mean))\(odd)"
    }

    /// How many numbers differ, of all.
    var part: String {
        guard let values, values.differing > 0 else { return "" }
        let percent = Double(values.differing) / Double(max(1, values.count)) * 100
        return percent >= 99.95 && values.differing < values.count ? "99.9 %" : "\(threeDigits(percent)) %"
    }

    var relative: String {
        guard let values, values.differing > 0 else { return "" }
        return values.relative.map { "±\(threeDigits($0))" } ?? "from zero"
    }
}
