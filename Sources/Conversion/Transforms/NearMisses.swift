internal import TensorCore

/// Names that a pattern nearly matches, for messages about patterns that match nothing.
enum NearMisses {
    /// How many names are looked at, of those that differ in more than their numbers.
    private static let candidateLimit = 2000
    private static let lengthLimit = 256

    /// Up to three names, the nearest first, that take the fewest changes to match.
    static func names(near glob: Glob, among names: some Sequence<TensorName>) -> [TensorName] {
        let literals = glob.tokens.count { $0 != nil }
        guard glob.tokens.count <= lengthLimit else { return [] }
        var seen: Set<ByteKey> = []
        var found: [(distance: Int, name: TensorName)] = []
        for name in names where name.utf8.count <= lengthLimit {
            // Layers differ in a number; one of them is enough.
            let shape = name.utf8.map { 0x30...0x39 ~= $0 ? 0x30 : $0 }
            guard seen.insert(ByteKey(shape)).inserted else { continue }
            let distance = distance(glob.tokens, NameUnits.units(of: name.utf8))
            if distance <= max(2, literals / 3) { found.append((distance, name)) }
            if seen.count == candidateLimit { break }
        }
        let least = found.map(\.distance).min() ?? 0
        return found.filter { $0.distance <= least + 1 }
            .sorted { ($0.distance, $0.name) < ($1.distance, $1.name) }.prefix(3).map(\.name)
    }

    /// The fewest characters to add, remove or change in a name so that it matches, where nil takes any run.
    private static func distance(_ tokens: [UnitSet?], _ units: [UInt32]) -> Int {
        var costs = Array(0...units.count)
        for token in tokens {
            var previous = costs[0]
            guard let token else {
                for place in 1..<max(1, costs.count) { costs[place] = min(costs[place], costs[place - 1]) }
                continue
            }
            costs[0] += 1
            for place in 1..<max(1, costs.count) {
                let exchanged = previous + (token.contains(units[place - 1]) ? 0 : 1)
                previous = costs[place]
                costs[place] = min(exchanged, costs[place] + 1, costs[place - 1] + 1)
            }
        }
        return costs.last ?? 0
    }
}
