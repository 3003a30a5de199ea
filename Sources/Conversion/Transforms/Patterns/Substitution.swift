public import TensorCore

/// A replacement in names, written as for sed: `s/PATTERN/REPLACEMENT/FLAGS` with any punctuation for `/`.
///
/// In the replacement `&` is what matched, `\1` to `\9` are its groups, `\` takes the next character as it is.
/// Flags: `g` for every match rather than the first, `i` for either case of ASCII letters.
public struct Substitution: Sendable, CustomStringConvertible {
    /// The expression as it was written.
    public let description: String
    private let program: PatternProgram
    private let replacement: [Piece]
    private let isGlobal: Bool

    private enum Piece: Sendable {
        case unit(UInt32)
        /// What a group matched; 0 is the whole match.
        case group(Int)
    }

    /// Reads an expression.
    public init(parsing text: String) throws(PatternError) {
        var whole = PatternText(text)
        guard whole.take("s"), let mark = whole.next else {
            throw whole.error("a replacement is written s/PATTERN/REPLACEMENT/", at: 0)
        }
        guard let delimiter = whole.take(), mark.isASCII, mark.isPunctuation || mark.isSymbol, mark != "\\"
        else {
            throw whole.error(
                "after the s comes the character that stands between the parts, such as /", at: 1)
        }
        let pattern = try Self.part(&whole, delimiter, "PATTERN")
        let target = try Self.part(&whole, delimiter, "REPLACEMENT")
        let flags = try Self.flags(&whole)
        var parser = RegexParser(PatternText(whole, pattern), ignoresCase: flags.ignoresCase)
        let node = try parser.parse()
        guard !pattern.isEmpty else { throw whole.error("the pattern is empty", at: pattern.lowerBound) }
        guard let program = PatternProgram(node, groupCount: parser.groupCount) else {
            throw whole.error("the pattern is too large", at: pattern.lowerBound)
        }
        description = text
        self.program = program
        isGlobal = flags.isGlobal
        replacement = try Self.pieces(PatternText(whole, target), groupCount: parser.groupCount)
    }

    /// The characters up to the next delimiter that no `\` precedes, which is passed.
    private static func part(
        _ text: inout PatternText, _ delimiter: UInt32, _ what: String
    ) throws(PatternError) -> Range<Int> {
        let start = text.position
        while let unit = text.take() {
            if unit == delimiter { return start..<text.position - 1 }
            if unit == 0x5C { _ = text.take() }
        }
        let mark = String(Unicode.Scalar(delimiter).map(Character.init) ?? "/")
        throw text.error("\(what) does not end: a \(mark) is missing", at: start)
    }

    private static func flags(_ text: inout PatternText) throws(PatternError) -> (
        isGlobal: Bool, ignoresCase: Bool
    ) {
        var flags = (isGlobal: false, ignoresCase: false)
        while let next = text.next {
            switch next {
            case "g": flags.isGlobal = true
            case "i", "I": flags.ignoresCase = true
            default: throw text.error("the flags are g (every match) and i (either case), not \(next)")
            }
            text.position += 1
        }
        return flags
    }

    private static func pieces(_ text: PatternText, groupCount: Int) throws(PatternError) -> [Piece] {
        var text = text
        var pieces: [Piece] = []
        while let next = text.next, let unit = text.take() {
            guard next == "\\", let escaped = text.next, let literal = text.take() else {
                pieces.append(next == "&" ? .group(0) : .unit(unit))
                continue
            }
            if escaped.isASCII, let group = escaped.wholeNumberValue {
                guard group <= groupCount else {
                    throw text.error(
                        "\\\(group) is a group, and the pattern has \(groupCount)", at: text.position - 2)
                }
                pieces.append(.group(group))
            } else if escaped.isASCII && escaped.isLetter {
                throw text.error("\\\(escaped) has no meaning here", at: text.position - 2)
            } else {
                pieces.append(.unit(literal))
            }
        }
        return pieces
    }

    /// What replaces in name after name; keeps its memory.
    func replacer() -> Replacer { Replacer(self) }

    struct Replacer {
        private let substitution: Substitution
        private var machine: PatternMachine

        fileprivate init(_ substitution: Substitution) {
            self.substitution = substitution
            machine = PatternMachine(substitution.program)
        }

        /// The new name, or nil where nothing matches.
        mutating func replace(in name: TensorName) -> TensorName? {
            let units = NameUnits.units(of: name.utf8)
            guard machine.findMatch(in: units, from: 0) else { return nil }
            var bytes: [UInt8] = []
            var copied = 0
            var emptyEnd: Int?
            repeat {
                let start = machine.captures[0]
                let end = machine.captures[1]
                NameUnits.append(units[copied..<start], to: &bytes)
                appendReplacement(units, to: &bytes)
                copied = end
                // An empty match is not found again, or it would be for ever.
                emptyEnd = end == start ? end : nil
            } while substitution.isGlobal && machine.findMatch(in: units, from: copied, butEmptyAt: emptyEnd)
            NameUnits.append(units[copied...], to: &bytes)
            return TensorName(utf8: bytes)
        }

        private func appendReplacement(_ units: [UInt32], to bytes: inout [UInt8]) {
            for piece in substitution.replacement {
                switch piece {
                case .unit(let unit): NameUnits.append(CollectionOfOne(unit), to: &bytes)
                case .group(let group):
                    let start = machine.captures[2 * group]
                    let end = machine.captures[2 * group + 1]
                    if start >= 0 { NameUnits.append(units[start..<end], to: &bytes) }
                }
            }
        }
    }

    /// The new name, or nil where nothing in `name` matches.
    public func replace(in name: TensorName) -> TensorName? {
        var replacer = replacer()
        return replacer.replace(in: name)
    }
}
