internal import Checkpoints
internal import TensorCore

/// Finds the rule for a name.
struct NameIndex {
    private let map: ArchitectureMap
    private let scheme: NamingScheme
    private let toOurs: Bool
    private var rules: [ByteKey: [(rule: Int, name: Int)]] = [:]
    private var canonical: [ByteKey: [Int]] = [:]

    init(_ map: ArchitectureMap, _ scheme: NamingScheme, toOurs: Bool) {
        self.map = map
        self.scheme = scheme
        self.toOurs = toOurs
        for (rule, line) in scheme.rules.enumerated() where toOurs || !line.settings.isForReading {
            for (name, pattern) in line.names(toOurs ? .theirs : .ours).enumerated() {
                rules[pattern.key, default: []].append((rule, name))
            }
        }
        for (place, tensor) in map.tensors.enumerated() {
            canonical[tensor.pattern.key, default: []].append(place)
        }
    }

    /// Names as they may be meant: with what the scheme puts before all names taken off.
    private func spellings(_ name: TensorName) -> [ArraySlice<UInt8>] {
        guard toOurs else { return [name.utf8[...]] }
        return scheme.prefixes.compactMap { prefix in
            name.utf8.starts(with: prefix.utf8) ? name.utf8.dropFirst(prefix.utf8.count) : nil
        }
    }

    /// The rule for a name, which of its names it is, and the numbers in it.
    func find(_ name: TensorName, _ dimensions: Dimensions) -> (rule: Int, name: Int, bindings: Bindings)? {
        for spelling in spellings(name) {
            let numbered = NumberedName(spelling)
            for (rule, place) in rules[numbered.key] ?? [] where scheme.rules[rule].holds(dimensions) {
                let pattern = scheme.rules[rule].names(toOurs ? .theirs : .ours)[place]
                if let bindings = pattern.match(numbered), Self.fits(bindings, dimensions) {
                    return (rule, place, bindings)
                }
            }
        }
        return nil
    }

    /// The canonical tensor of a name that may lack what stands before all of them, with its full name.
    func canonical(_ name: TensorName, _ dimensions: Dimensions) -> (tensor: Int, name: TensorName)? {
        for prefix in map.base.isEmpty ? [""] : ["", map.base] {
            let full = Array(prefix.utf8) + name.utf8
            let numbered = NumberedName(full)
            for place in canonical[numbered.key] ?? [] {
                let pattern = map.tensors[place].pattern
                if let bindings = pattern.match(numbered), Self.fits(bindings, dimensions) {
                    return (place, TensorName(utf8: full))
                }
            }
        }
        return nil
    }

    /// Whether a name carries no weights.
    func ignores(_ name: TensorName) -> Bool {
        spellings(name).contains { scheme.ignores($0, NumberedName($0)) }
    }

    private static func fits(_ bindings: Bindings, _ dimensions: Dimensions) -> Bool {
        Placeholder.allCases.allSatisfy { placeholder in
            guard let number = bindings[placeholder] else { return true }
            return UInt64(number) < dimensions[placeholder.dimension] ?? Dimensions.countLimit
        }
    }
}

extension MapRule {
    /// Whether the rule is for a model of these dimensions.
    fileprivate func holds(_ dimensions: Dimensions) -> Bool {
        guard let condition = settings.condition else { return true }
        return (dimensions[condition.dimension] ?? 0 == 0) == condition.isZero
    }
}
