internal import StrictJSON

/// The names and shapes that a trainer or server has for the tensors of a model, as rules to the canonical ones.
struct NamingScheme: Sendable {
    /// The rules.
    var rules: [MapRule] = []
    /// What may stand before every name, the usual one first.
    var prefixes = [""]
    /// Names that carry no weights, such as tables that are computed from the config; `*` before an ending.
    private var ignored: [IgnoredName] = []
    /// Whether canonical names without a rule are their own.
    var keepsOthers = false
    /// Names of theirs whose rules, of the scheme that this is put over, are no more.
    private var removed: [String] = []

    /// Whether a name is among those that carry no weights.
    func ignores(_ name: ArraySlice<UInt8>, _ numbered: NumberedName) -> Bool {
        ignored.contains { pattern in
            switch pattern {
            case .ending(let ending):
                name.count >= ending.count && name.suffix(ending.count).elementsEqual(ending)
            case .name(let own): own.key == numbered.key && own.match(numbered) != nil
            }
        }
    }

    /// Reads `names`, `rules`, `ignore` and `prefixes` of a scheme; nil where something is wrong.
    init?(_ json: JSONValue) {
        for member in json.members ?? [] {
            switch member.key {
            case "names":
                for pair in member.value.members ?? [] {
                    if pair.value.isNull {
                        removed += MapRule.expand(pair.key)
                        continue
                    }
                    let line = JSONValue.object([
                        JSONMember("theirs", .string(pair.key)), JSONMember("ours", pair.value),
                    ])
                    guard let parsed = MapRule.parse(line) else { return nil }
                    rules += parsed
                }
            case "rules":
                for line in member.value.elements ?? [] {
                    guard let parsed = MapRule.parse(line) else { return nil }
                    rules += parsed
                }
            case "ignore":
                let texts = member.value.elements ?? []
                ignored = texts.compactMap { $0.string.flatMap { IgnoredName($0) } }
                guard ignored.count == texts.count else { return nil }
            case "prefixes": prefixes = member.value.elements?.compactMap(\.string) ?? []
            case "same": keepsOthers = member.value.bool ?? false
            case "stacked", "base": break
            default: return nil
            }
        }
    }

    /// Puts the rules and settings of a scheme that is built on this one over it.
    mutating func add(_ other: NamingScheme, prefixes newPrefixes: Bool) {
        let replaced = Set(other.rules.flatMap { $0.ours.map(\.text) })
        rules.removeAll { rule in
            rule.ours.contains { replaced.contains($0.text) }
                || rule.theirs.contains { other.removed.contains($0.text) }
        }
        rules += other.rules
        ignored += other.ignored
        if newPrefixes { prefixes = other.prefixes }
    }

    /// Adds a rule for each canonical name that has none.
    mutating func keepOthers(_ tensors: [ArchitectureMap.Tensor]) {
        let known = Set(rules.flatMap { $0.ours.map(\.text) })
        for tensor in tensors where !known.contains(tensor.pattern.text) {
            if let rule = MapRule(theirs: [tensor.pattern], ours: [tensor.pattern]) { rules.append(rule) }
        }
    }

    /// The scheme in which layers are stacked: `text` is left out of its names; nil where that is no scheme.
    func stacked(without text: String) -> NamingScheme? {
        var result = self
        result.rules = []
        for rule in rules {
            let theirs = rule.theirs.compactMap { pattern -> NamePattern? in
                guard let found = pattern.text.firstRange(of: text) else { return pattern }
                return NamePattern(pattern.text.replacingCharacters(in: found))
            }
            guard let copy = MapRule(theirs: theirs, ours: rule.ours, settings: rule.settings) else {
                return nil
            }
            result.rules.append(copy)
        }
        return result
    }
}

/// A name that carries no weights.
private enum IgnoredName: Sendable {
    case ending([UInt8])
    case name(NamePattern)

    init?(_ text: String) {
        if text.utf8.first == UInt8(ascii: "*") {
            self = .ending(Array(text.utf8.dropFirst()))
        } else {
            guard let pattern = NamePattern(text) else { return nil }
            self = .name(pattern)
        }
    }
}

extension String {
    fileprivate func firstRange(of text: String) -> Range<String.Index>? {
        var start = startIndex
        while start < endIndex {
            if self[start...].utf8.starts(with: text.utf8) {
                return start..<index(start, offsetBy: text.count)
            }
            start = index(after: start)
        }
        return nil
    }

    fileprivate func replacingCharacters(in range: Range<String.Index>) -> String {
        String(self[..<range.lowerBound] + self[range.upperBound...])
    }
}
