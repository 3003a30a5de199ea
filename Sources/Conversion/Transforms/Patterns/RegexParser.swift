/// Reads a regular expression: characters, `.`, `[…]`, `[^…]`, `* + ? {m} {m,} {m,n}` (with `?` after them for as
/// few as can be), `( )`, `(?: )`, `|`, `^`, `$`, `\d \w \s` and their opposites, `\` before a character that
/// stands for itself.
struct RegexParser {
    private var text: PatternText
    private let ignoresCase: Bool
    private(set) var groupCount = 0

    private static let depthLimit = 50
    private static let countLimit = 1000

    init(_ text: PatternText, ignoresCase: Bool) {
        self.text = text
        self.ignoresCase = ignoresCase
    }

    /// Reads all of it.
    mutating func parse() throws(PatternError) -> PatternNode {
        let node = try choice(depth: 0)
        guard text.next == nil else {
            throw text.error("this ) closes nothing; \\) stands for the character")
        }
        return node
    }

    private mutating func choice(depth: Int) throws(PatternError) -> PatternNode {
        var choices = [try sequence(depth: depth)]
        while text.take("|") { choices.append(try sequence(depth: depth)) }
        return choices.count == 1 ? choices[0] : .choice(choices)
    }

    private mutating func sequence(depth: Int) throws(PatternError) -> PatternNode {
        var nodes: [PatternNode] = []
        while let next = text.next, next != "|", next != ")" {
            let start = text.position
            let node = try atom(next, depth: depth)
            nodes.append(try repeated(node, from: start))
        }
        return .sequence(nodes)
    }

    private mutating func atom(_ next: Character, depth: Int) throws(PatternError) -> PatternNode {
        switch next {
        case "(": return try group(depth: depth)
        case "[":
            return set(try text.bracket(negations: ["^"]))
        case "\\": return set(try text.escape().set)
        case "*", "+", "?": throw text.error("\(next) follows nothing; \\\(next) stands for the character")
        case "{": throw text.error("{ follows nothing; \\{ stands for the character")
        default: break
        }
        guard let unit = text.take() else { return .sequence([]) }
        switch next {
        case ".": return .set(.any)
        case "^": return .start
        case "$": return .end
        default: return set(UnitSet(unit))
        }
    }

    private func set(_ set: UnitSet) -> PatternNode { .set(ignoresCase ? set.ignoringCase : set) }

    private mutating func group(depth: Int) throws(PatternError) -> PatternNode {
        let start = text.position
        guard depth < Self.depthLimit else { throw text.error("too many groups within groups") }
        text.position += 1
        var number: Int?
        if text.take("?") {
            guard text.take(":") else {
                throw text.error("of groups that begin with (? only (?: is known", at: start)
            }
        } else {
            groupCount += 1
            number = groupCount
        }
        let inner = try choice(depth: depth + 1)
        guard text.take(")") else {
            throw text.error("this ( is never closed; \\( stands for the character", at: start)
        }
        return number.map { .group(inner, $0) } ?? inner
    }

    /// Reads what says how often `node` may come.
    private mutating func repeated(_ node: PatternNode, from start: Int) throws(PatternError) -> PatternNode {
        guard let (low, high) = try count() else { return node }
        switch node {
        case .start, .end: throw text.error("a place cannot be repeated", at: start)
        default: break
        }
        let isLazy = text.take("?")
        if let next = text.next, ["*", "+", "?", "{"].contains(next) {
            throw text.error("\(next) repeats what is repeated already")
        }
        return .repetition(node, atLeast: low, atMost: high, isLazy: isLazy)
    }

    private mutating func count() throws(PatternError) -> (Int, Int?)? {
        if text.take("*") { return (0, nil) }
        if text.take("+") { return (1, nil) }
        if text.take("?") { return (0, 1) }
        let start = text.position
        guard text.take("{") else { return nil }
        let problem = text.error(
            "{ begins a count such as {2}, {2,} or {2,5}, up to \(Self.countLimit); \\{ stands for the character",
            at: start)
        guard let low = number() else { throw problem }
        var high: Int? = low
        if text.take(",") { high = text.next == "}" ? nil : number() ?? -1 }
        guard text.take("}"), high.map({ $0 >= low }) ?? true else { throw problem }
        return (low, high)
    }

    private mutating func number() -> Int? {
        var value: Int?
        while let next = text.next, let digit = next.wholeNumberValue, next.isASCII {
            value = (value ?? 0) * 10 + digit
            text.position += 1
            guard value ?? 0 <= Self.countLimit else { return nil }
        }
        return value
    }
}
