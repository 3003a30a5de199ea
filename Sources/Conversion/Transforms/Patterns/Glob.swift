public import TensorCore

/// A pattern for whole tensor names, as in a shell: `*` is any run of characters (dots and slashes too), `?` one,
/// `[a-z]` and `[!a-z]` one of a set, `{a,b}` either; `\` takes the next character as it is.
public struct Glob: Sendable, CustomStringConvertible {
    /// The pattern as it was written.
    public let description: String
    /// The name that it stands for, where it has no special character.
    private let exact: [UInt8]?
    private let program: PatternProgram
    /// The pattern in pieces, for looking up names that nearly match; nil stands for any run.
    let tokens: [UnitSet?]

    /// Reads a pattern.
    public init(parsing text: String) throws(PatternError) {
        var parser = GlobParser(text: PatternText(text))
        guard !text.isEmpty else { throw parser.text.error("there is no pattern") }
        let node = try parser.sequence(depth: 0)
        guard let program = PatternProgram(node, groupCount: nil) else {
            throw parser.text.error("the pattern is too large", at: 0)
        }
        description = text
        self.program = program
        tokens = parser.tokens
        exact = parser.exact
    }

    /// `*`.
    init() {
        description = "*"
        exact = nil
        program = PatternProgram()
        tokens = [nil]
    }

    /// A pattern for one name.
    public init(exactly name: String) {
        description = name
        exact = Array(name.utf8)
        program = PatternProgram()
        tokens = NameUnits.units(of: name).map { UnitSet($0) }
    }

    /// Whether this is the pattern that every name matches.
    public var matchesEverything: Bool { exact == nil && description == "*" }

    /// What tells whether names match; keeps its memory from name to name.
    func matcher() -> Matcher { Matcher(exact: exact, matchesEverything, PatternMachine(program)) }

    struct Matcher {
        private let exact: [UInt8]?
        private let matchesEverything: Bool
        private var machine: PatternMachine

        fileprivate init(exact: [UInt8]?, _ matchesEverything: Bool, _ machine: PatternMachine) {
            self.exact = exact
            self.matchesEverything = matchesEverything
            self.machine = machine
        }

        mutating func matches(_ name: TensorName) -> Bool {
            if matchesEverything { return true }
            if let exact { return exact == name.utf8 }
            return machine.matchesAll(NameUnits.units(of: name.utf8))
        }
    }

    /// Whether the whole of `name` matches.
    public func matches(_ name: TensorName) -> Bool {
        var matcher = matcher()
        return matcher.matches(name)
    }
}

private struct GlobParser {
    var text: PatternText
    var tokens: [UnitSet?] = []
    /// The name that the pattern stands for so far; nil once there was a special character.
    var exact: [UInt8]? = []

    private static let depthLimit = 50

    init(text: PatternText) { self.text = text }

    /// Reads up to the end, or within braces up to a comma or the closing one.
    mutating func sequence(depth: Int) throws(PatternError) -> PatternNode {
        var nodes: [PatternNode] = []
        while let next = text.next, depth == 0 || (next != "," && next != "}") {
            nodes.append(try element(next, depth: depth))
        }
        return .sequence(nodes)
    }

    private mutating func element(_ next: Character, depth: Int) throws(PatternError) -> PatternNode {
        switch next {
        case "*":
            while text.take("*") {}
            tokens.append(nil)
            exact = nil
            return .repetition(.set(.any), atLeast: 0, atMost: nil, isLazy: false)
        case "?":
            text.position += 1
            return special(.any)
        case "[": return special(try text.bracket(negations: ["!", "^"]))
        case "{": return try braces(depth: depth)
        default:
            let start = text.position
            if text.take("\\"), text.position == text.end {
                throw text.error("nothing follows the \\", at: start)
            }
            guard let unit = text.take() else { return .sequence([]) }
            if exact != nil { NameUnits.append([unit], to: &exact!) }
            tokens.append(UnitSet(unit))
            return .set(UnitSet(unit))
        }
    }

    private mutating func special(_ set: UnitSet) -> PatternNode {
        tokens.append(set)
        exact = nil
        return .set(set)
    }

    private mutating func braces(depth: Int) throws(PatternError) -> PatternNode {
        let start = text.position
        guard depth < Self.depthLimit else { throw text.error("too many braces within braces") }
        text.position += 1
        let earlier = tokens.count
        exact = nil
        var choices: [PatternNode] = []
        repeat { choices.append(try sequence(depth: depth + 1)) } while text.take(",")
        guard text.take("}") else {
            throw text.error("this { is never closed; \\{ stands for the character", at: start)
        }
        // Near misses may have anything in place of a choice.
        tokens.removeSubrange(earlier...)
        tokens.append(nil)
        return .choice(choices)
    }
}

extension PatternText {
    /// Reads a set in brackets.
    mutating func bracket(negations: [Character]) throws(PatternError) -> UnitSet {
        let start = position
        position += 1
        var set = UnitSet([])
        var isNegated = false
        for negation in negations where !isNegated && take(negation) { isNegated = true }
        var isFirst = true
        while true {
            guard let next else {
                throw error("this [ is never closed; \\[ stands for the character", at: start)
            }
            if next == "]" && !isFirst { break }
            if next == "[", let kind = following, [":", ".", "="].contains(kind) {
                throw error("classes such as [:digit:] are not known; write 0-9, a-z or \\d")
            }
            isFirst = false
            let place = position
            let low = try member()
            guard case .unit(let first) = low, self.next == "-", let following, following != "]" else {
                set.insert(low.set)
                continue
            }
            position += 1
            guard case .unit(let last) = try member(), first <= last else {
                throw error("this range runs backwards or ends in no character", at: place)
            }
            set.insert(first...last)
        }
        position += 1
        return isNegated ? set.negated : set
    }

    /// One character, or a class such as `\d`.
    enum Member {
        case unit(UInt32)
        case `class`(UnitSet)

        var set: UnitSet {
            switch self {
            case .unit(let unit): UnitSet(unit)
            case .class(let set): set
            }
        }
    }

    private mutating func member() throws(PatternError) -> Member {
        if next == "\\" { return try escape() }
        guard let unit = take() else { throw error("the pattern ends within a set") }
        return .unit(unit)
    }

    /// Reads `\` and what follows it.
    mutating func escape() throws(PatternError) -> Member {
        let start = position
        position += 1
        guard let character = next, let unit = take() else {
            throw error("nothing follows the \\", at: start)
        }
        switch character {
        case "d": return .class(.digits)
        case "D": return .class(UnitSet.digits.negated)
        case "w": return .class(.word)
        case "W": return .class(UnitSet.word.negated)
        case "s": return .class(.space)
        case "S": return .class(UnitSet.space.negated)
        case "t": return .unit(0x09)
        case "n": return .unit(0x0A)
        case _ where character.isASCII && (character.isLetter || character.isNumber):
            throw error(
                character.isNumber
                    ? "a pattern cannot refer to its own groups" : "\\\(character) has no meaning here",
                at: start)
        default: return .unit(unit)
        }
    }
}

extension UnitSet {
    /// `0` to `9`.
    static let digits = UnitSet([0x30...0x39])
    /// ASCII letters, digits and `_`.
    static let word = UnitSet([0x30...0x39, 0x41...0x5A, 0x5F...0x5F, 0x61...0x7A])
    /// ASCII white space.
    static let space = UnitSet([0x09...0x0D, 0x20...0x20])
}
