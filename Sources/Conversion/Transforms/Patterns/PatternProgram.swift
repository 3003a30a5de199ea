/// A pattern as instructions for a ``PatternMachine``.
struct PatternProgram: Sendable {
    enum Instruction: Sendable {
        /// Takes one character.
        case unit(UInt32)
        /// Takes any character.
        case any
        /// Takes one character of the set of this number.
        case set(Int)
        case start
        case end
        /// Goes on at both, the first before the second.
        case split(Int, Int)
        case jump(Int)
        /// Keeps the place in a slot.
        case save(Int)
        case match
    }

    private(set) var instructions: [Instruction] = []
    private(set) var sets: [UnitSet] = []
    /// Twice the number of groups, the whole match included; 0 where nobody asks for places.
    let slotCount: Int

    /// The most instructions: bounds both memory and the time for a character.
    static let limit = 20_000

    /// Matches the empty name.
    init() {
        slotCount = 0
        instructions = [.match]
    }

    /// - Returns: nil where the pattern is too large.
    init?(_ node: PatternNode, groupCount: Int?) {
        slotCount = groupCount.map { 2 * ($0 + 1) } ?? 0
        if groupCount != nil { instructions.append(.save(0)) }
        guard add(node) else { return nil }
        if groupCount != nil { instructions.append(.save(1)) }
        instructions.append(.match)
    }

    private mutating func add(_ node: PatternNode) -> Bool {
        guard instructions.count < Self.limit else { return false }
        switch node {
        case .set(let set): add(set)
        case .start: instructions.append(.start)
        case .end: instructions.append(.end)
        case .sequence(let nodes): return nodes.allSatisfy { add($0) }
        case .choice(let nodes): return addChoice(nodes)
        case .group(let inner, let number):
            guard slotCount > 0 else { return add(inner) }
            instructions.append(.save(2 * number))
            guard add(inner) else { return false }
            instructions.append(.save(2 * number + 1))
        case .repetition(let inner, let atLeast, let atMost, let isLazy):
            for _ in 0..<atLeast { guard add(inner) else { return false } }
            guard let atMost else { return addLoop(inner, isLazy: isLazy) }
            return addOptions(inner, count: atMost - atLeast, isLazy: isLazy)
        }
        return true
    }

    private mutating func add(_ set: UnitSet) {
        if set == .any { return instructions.append(.any) }
        if let unit = set.onlyMember { return instructions.append(.unit(unit)) }
        instructions.append(.set(sets.count))
        sets.append(set)
    }

    private mutating func addChoice(_ nodes: [PatternNode]) -> Bool {
        var exits: [Int] = []
        for (number, node) in nodes.enumerated() {
            let fork = instructions.count
            let isLast = number == nodes.count - 1
            if !isLast { instructions.append(.match) }
            guard add(node) else { return false }
            if !isLast {
                exits.append(instructions.count)
                instructions.append(.match)
                instructions[fork] = .split(fork + 1, instructions.count)
            }
        }
        for exit in exits { instructions[exit] = .jump(instructions.count) }
        return true
    }

    private mutating func addLoop(_ inner: PatternNode, isLazy: Bool) -> Bool {
        let fork = instructions.count
        instructions.append(.match)
        guard add(inner) else { return false }
        instructions.append(.jump(fork))
        let exit = instructions.count
        instructions[fork] = isLazy ? .split(exit, fork + 1) : .split(fork + 1, exit)
        return true
    }

    private mutating func addOptions(_ inner: PatternNode, count: Int, isLazy: Bool) -> Bool {
        var forks: [Int] = []
        for _ in 0..<max(0, count) {
            forks.append(instructions.count)
            instructions.append(.match)
            guard add(inner) else { return false }
        }
        let exit = instructions.count
        for fork in forks {
            instructions[fork] = isLazy ? .split(exit, fork + 1) : .split(fork + 1, exit)
        }
        return true
    }
}
