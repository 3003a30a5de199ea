internal import TensorCore

/// A value spelt as Python spells it, of the few kinds that array headers are made of.
///
/// Nothing is evaluated: there are no names but `True`, `False` and `None`, no operators and no calls.
indirect enum PythonLiteral: Equatable {
    case none
    case bool(Bool)
    /// A whole number below 2^64.
    case integer(UInt64)
    case text([UInt8])
    case list([PythonLiteral])
    case tuple([PythonLiteral])
    case dictionary([Entry])

    /// A key with its value.
    struct Entry: Equatable {
        let key: [UInt8]
        let value: PythonLiteral
    }

    /// Where a text stops being a literal, and why.
    struct Failure: Error, Equatable {
        let offset: Int
        let message: String
    }

    /// Reads a text that is one literal and white space.
    init(parsing text: [UInt8]) throws(Failure) {
        var parser = PythonLiteralParser(text: text)
        self = try parser.value(depth: 0)
        try parser.finish()
    }

    /// Whether this is the text `other`.
    func isText(_ other: String) -> Bool {
        if case .text(let bytes) = self { bytes.elementsEqual(other.utf8) } else { false }
    }
}

/// Reads literals; the depth is bounded, and the rest by the length of the text.
private struct PythonLiteralParser {
    let text: [UInt8]
    var position = 0

    private static let nestingLimit = 32

    func failure(_ message: String) -> PythonLiteral.Failure { .init(offset: position, message: message) }

    private var next: UInt8? { position < text.count ? text[position] : nil }

    private mutating func skipSpace() {
        while let byte = next, byte == 0x20 || 0x09...0x0D ~= byte { position += 1 }
    }

    private mutating func take(_ byte: UInt8) -> Bool {
        skipSpace()
        guard next == byte else { return false }
        position += 1
        return true
    }

    mutating func finish() throws(PythonLiteral.Failure) {
        skipSpace()
        guard next == nil else { throw failure("text after the end of the header") }
    }

    mutating func value(depth: Int) throws(PythonLiteral.Failure) -> PythonLiteral {
        guard depth < Self.nestingLimit else { throw failure("it is nested too deep") }
        skipSpace()
        guard let byte = next else { throw failure("the header breaks off") }
        switch byte {
        case 0x7B: return .dictionary(try entries(depth: depth))
        case 0x5B:
            position += 1
            return .list(try items(until: 0x5D, depth: depth).items)
        case 0x28:
            position += 1
            let (items, hasComma) = try items(until: 0x29, depth: depth)
            // Parentheses around a single value without a comma are only parentheses.
            return items.count == 1 && !hasComma ? items[0] : .tuple(items)
        case 0x27, 0x22: return .text(try string())
        case 0x30...0x39: return .integer(try number())
        default: return try word()
        }
    }

    private mutating func items(
        until end: UInt8, depth: Int
    ) throws(PythonLiteral.Failure) -> (items: [PythonLiteral], hasComma: Bool) {
        var items: [PythonLiteral] = []
        var hasComma = false
        while !take(end) {
            guard items.isEmpty || hasComma else { throw failure("a comma is missing") }
            items.append(try value(depth: depth + 1))
            hasComma = take(0x2C)
        }
        return (items, hasComma)
    }

    private mutating func entries(depth: Int) throws(PythonLiteral.Failure) -> [PythonLiteral.Entry] {
        position += 1
        var entries: [PythonLiteral.Entry] = []
        var hasComma = true
        while !take(0x7D) {
            guard hasComma else { throw failure("a comma is missing") }
            guard case .text(let key) = try value(depth: depth + 1) else { throw failure("a key is no text") }
            guard take(0x3A) else { throw failure("a colon is missing") }
            entries.append(.init(key: key, value: try value(depth: depth + 1)))
            hasComma = take(0x2C)
        }
        return entries
    }

    /// A string, whose escapes are the quotes, the backslash, `\n`, `\t` and `\r`.
    private mutating func string() throws(PythonLiteral.Failure) -> [UInt8] {
        guard let quote = next else { throw failure("the header breaks off") }
        position += 1
        var result: [UInt8] = []
        while let byte = next, byte != quote {
            position += 1
            guard byte == 0x5C else {
                result.append(byte)
                continue
            }
            switch next {
            case 0x5C, 0x27, 0x22: result.append(text[position])
            case UInt8(ascii: "n"): result.append(0x0A)
            case UInt8(ascii: "t"): result.append(0x09)
            case UInt8(ascii: "r"): result.append(0x0D)
            default: throw failure("an escape that headers do not need")
            }
            position += 1
        }
        guard next == quote else { throw failure("a string has no end") }
        position += 1
        return result
    }

    /// A decimal number; Python 2 writes an `L` after long ones.
    private mutating func number() throws(PythonLiteral.Failure) -> UInt64 {
        var value: UInt64 = 0
        while let byte = next, 0x30...0x39 ~= byte {
            let (product, overflow) = value.multipliedReportingOverflow(by: 10)
            let (sum, carry) = product.addingReportingOverflow(UInt64(byte - 0x30))
            guard !overflow, !carry else { throw failure("a number beyond 64 bits") }
            value = sum
            position += 1
        }
        if next == UInt8(ascii: "L") { position += 1 }
        return value
    }

    private mutating func word() throws(PythonLiteral.Failure) -> PythonLiteral {
        let words: [(String, PythonLiteral)] = [
            ("True", .bool(true)), ("False", .bool(false)), ("None", .none),
        ]
        for (word, value) in words where text[position...].starts(with: word.utf8) {
            position += word.utf8.count
            return value
        }
        // Strings of bytes and of Python 2.
        if let byte = next, byte == UInt8(ascii: "b") || byte == UInt8(ascii: "u"), position + 1 < text.count,
            text[position + 1] == 0x27 || text[position + 1] == 0x22
        {
            position += 1
            return .text(try string())
        }
        throw failure("neither text, number, list nor truth value")
    }
}
