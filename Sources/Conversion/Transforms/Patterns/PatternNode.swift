internal import TensorCore

/// A pattern as a tree.
indirect enum PatternNode: Sendable {
    case set(UnitSet)
    /// The start of the name.
    case start
    /// The end of the name.
    case end
    case sequence([PatternNode])
    /// The first that leads to a match.
    case choice([PatternNode])
    case repetition(PatternNode, atLeast: Int, atMost: Int?, isLazy: Bool)
    /// A group whose match is kept under a number.
    case group(PatternNode, Int)
}

/// Why a pattern cannot be used: what is wrong and at which character, counted from 1.
public struct PatternError: Error, Sendable, CustomStringConvertible {
    /// The pattern, or the expression that it is part of.
    public let pattern: String
    /// The character, counted from 1.
    public let position: Int
    /// What is wrong there.
    public let message: String

    /// One line.
    public var description: String {
        "\(escapedPattern(pattern)): character \(position): \(escapedPattern(message))"
    }
}

/// A pattern being read: its characters and a place among them.
struct PatternText {
    let text: String
    let units: [UInt32]
    var position: Int
    let end: Int

    init(_ text: String) {
        self.text = text
        units = NameUnits.units(of: text)
        position = 0
        end = units.count
    }

    /// A part of the same text; errors count from the start of the whole.
    init(_ whole: PatternText, _ part: Range<Int>) {
        text = whole.text
        units = whole.units
        position = part.lowerBound
        end = part.upperBound
    }

    var next: Character? {
        position < end ? Unicode.Scalar(units[position]).map(Character.init) : nil
    }

    /// The character after the next one.
    var following: Character? {
        position + 1 < end ? Unicode.Scalar(units[position + 1]).map(Character.init) : nil
    }

    /// Takes the next character if it is `character`.
    mutating func take(_ character: Character) -> Bool {
        guard next == character else { return false }
        position += 1
        return true
    }

    /// Takes the next character, whatever it is.
    mutating func take() -> UInt32? {
        guard position < end else { return nil }
        position += 1
        return units[position - 1]
    }

    func error(_ message: String, at place: Int? = nil) -> PatternError {
        PatternError(pattern: text, position: (place ?? position) + 1, message: message)
    }
}

/// A pattern for a terminal: control characters as escapes, but backslashes as they are, for they belong to it.
public func escapedPattern(_ text: String) -> String {
    var result = ""
    for scalar in text.unicodeScalars {
        let isOwn = scalar == "\\" || scalar == "\""
        result += isOwn ? String(scalar) : escapedForDisplay(String(scalar))
    }
    return result
}
