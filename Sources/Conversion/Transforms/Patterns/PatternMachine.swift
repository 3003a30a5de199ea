/// Runs a pattern over names: all ways to match at once, a character at a time (Thompson, Pike).
///
/// Time is at most the length of the name times the size of the pattern, whatever the two are, so no pattern can
/// hang it. Of several matches the leftmost counts, and of those the one that Perl, Python and RE2 take.
struct PatternMachine {
    private let program: PatternProgram
    /// The list, by its number, that an instruction was last put on.
    private var marks: [Int]
    private var listNumber = 0
    private var current = Threads()
    private var following = Threads()
    private var stack: [Work] = []
    /// The places of the thread at hand.
    private var places: [Int]
    /// Where the groups of the last match began and ended, -1 for those that took no part.
    private(set) var captures: [Int]

    /// Ways to match that are still open, those of higher rank first, each with its places.
    private struct Threads {
        var counters: [Int] = []
        var places: [Int] = []

        mutating func removeAll() {
            counters.removeAll(keepingCapacity: true)
            places.removeAll(keepingCapacity: true)
        }
    }

    private enum Work {
        case follow(Int)
        case restore(slot: Int, value: Int)
    }

    init(_ program: PatternProgram) {
        self.program = program
        marks = [Int](repeating: -1, count: program.instructions.count)
        places = [Int](repeating: -1, count: program.slotCount)
        captures = places
    }

    /// Whether the whole of a name matches.
    mutating func matchesAll(_ units: [UInt32]) -> Bool { run(units, from: 0, isWhole: true) }

    /// Finds the leftmost match at or after `start`, but for an empty one at `emptyEnd`, and keeps its places in
    /// ``captures``.
    mutating func findMatch(in units: [UInt32], from start: Int, butEmptyAt emptyEnd: Int? = nil) -> Bool {
        run(units, from: start, isWhole: false, butEmptyAt: emptyEnd)
    }

    private mutating func run(
        _ units: [UInt32], from start: Int, isWhole: Bool, butEmptyAt emptyEnd: Int? = nil
    ) -> Bool {
        var isMatched = false
        current.removeAll()
        listNumber += 1
        for position in start...units.count {
            if !isMatched && (position == start || !isWhole) {
                for slot in places.indices { places[slot] = -1 }
                follow(0, at: position, of: units.count, isNow: true)
            }
            if current.counters.isEmpty && (isMatched || isWhole) { break }
            let mayEnd = position != emptyEnd && (!isWhole || position == units.count)
            if step(units, at: position, mayEnd: mayEnd) { isMatched = true }
        }
        return isMatched
    }

    /// Moves every thread over the character at `position`.
    ///
    /// - Returns: whether one of them is at its end; its places are kept, and the threads of lesser rank end.
    private mutating func step(_ units: [UInt32], at position: Int, mayEnd: Bool) -> Bool {
        var isMatched = false
        listNumber += 1
        following.removeAll()
        for (number, counter) in current.counters.enumerated() {
            switch program.instructions[counter] {
            case .unit(let unit):
                guard position < units.count, units[position] == unit else { continue }
            case .any:
                guard position < units.count else { continue }
            case .set(let number):
                guard position < units.count, program.sets[number].contains(units[position]) else { continue }
            default:
                guard mayEnd else { continue }
                load(number)
                captures = places
                isMatched = true
            }
            if isMatched { break }
            load(number)
            follow(counter + 1, at: position + 1, of: units.count, isNow: false)
        }
        swap(&current, &following)
        return isMatched
    }

    private mutating func load(_ number: Int) {
        let first = number * places.count
        for slot in places.indices { places[slot] = current.places[first + slot] }
    }

    /// Puts what can be reached from an instruction without a character on the current or the next list.
    private mutating func follow(_ counter: Int, at position: Int, of count: Int, isNow: Bool) {
        stack.append(.follow(counter))
        while let work = stack.popLast() {
            guard case .follow(let counter) = work else {
                if case .restore(let slot, let value) = work { places[slot] = value }
                continue
            }
            guard marks[counter] != listNumber else { continue }
            marks[counter] = listNumber
            switch program.instructions[counter] {
            case .jump(let target): stack.append(.follow(target))
            case .split(let first, let second):
                stack.append(.follow(second))
                stack.append(.follow(first))
            case .save(let slot):
                stack.append(.restore(slot: slot, value: places[slot]))
                places[slot] = position
                stack.append(.follow(counter + 1))
            case .start: if position == 0 { stack.append(.follow(counter + 1)) }
            case .end: if position == count { stack.append(.follow(counter + 1)) }
            case .unit, .any, .set, .match:
                if isNow {
                    current.counters.append(counter)
                    current.places += places
                } else {
                    following.counters.append(counter)
                    following.places += places
                }
            }
        }
    }
}
