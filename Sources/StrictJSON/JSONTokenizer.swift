/// Walks a strict RFC 8259 document token by token, building nothing.
///
/// The tokenizer enforces the whole grammar: after ``JSONToken/beginObject`` come keys and values until
/// ``JSONToken/endObject``, and ``JSONToken/end`` comes only after one complete value with nothing behind it.
/// It uses no recursion and a fixed amount of memory, and takes time in proportion to the document. Keys that
/// occur twice are the caller's to find.
public struct JSONTokenizer: ~Escapable {
    /// Levels of arrays and objects that ``init(validating:maximumDepth:)`` can be asked for.
    public static let depthLimit = 512

    private enum Expectation { case value, firstElement, firstKey, afterValue }

    let bytes: RawSpan
    /// The byte that is read next.
    public private(set) var position = 0
    /// The first byte of the token that was returned last.
    public private(set) var tokenStart = 0
    /// The arrays and objects that are open.
    public private(set) var depth = 0
    private let maximumDepth: Int
    private var expectation = Expectation.value
    /// True where the innermost open container is an object.
    private var isInObject = false
    /// The same for the containers around it, one bit a level.
    private var objectBits = [8 of UInt64](repeating: 0)

    /// Starts at the first byte of `bytes` after checking that all are UTF-8.
    ///
    /// - Parameter maximumDepth: the deepest nesting to accept, at most ``depthLimit``.
    @_lifetime(copy bytes)
    public init(validating bytes: RawSpan, maximumDepth: Int = 128) throws(JSONError) {
        self.bytes = bytes
        self.maximumDepth = min(maximumDepth, Self.depthLimit)
        try Self.checkUTF8(bytes)
    }

    /// The next token.
    public mutating func next() throws(JSONError) -> JSONToken {
        skipWhitespace()
        switch expectation {
        case .value: return try value()
        case .firstKey:
            if peek == UInt8(ascii: "}") { return close() }
            return try key()
        case .firstElement:
            if peek == UInt8(ascii: "]") { return close() }
            return try value()
        case .afterValue: return try continuation()
        }
    }

    /// Goes on behind a member of the innermost object that the caller has read itself.
    ///
    /// - Parameter end: the byte after the member's value, at or behind ``position``.
    public mutating func resume(afterMemberEndingAt end: Int) {
        precondition(depth > 0 && isInObject && end >= position && end <= bytes.byteCount)
        position = end
        expectation = .afterValue
    }

    /// Reads on to the end of the array or object whose beginning was just returned.
    ///
    /// - Parameter number: called for each number on the way.
    public mutating func skipContainer(
        _ number: (JSONNumberText) throws(JSONError) -> Void = { (_) throws(JSONError) in }
    ) throws(JSONError) {
        let outside = depth - 1
        while depth > outside {
            skipPlainElements(outside: outside)
            guard depth > outside else { return }
            if case .number(let text) = try next() { try number(text) }
        }
    }
}

extension JSONTokenizer {
    /// Passes over brackets, commas and short unsigned integers in arrays, as far as they follow each other
    /// without anything else, until `outside` levels are left: what takes most time in a hostile document.
    private mutating func skipPlainElements(outside: Int) {
        while !isInObject, let byte = peek {
            switch (byte, expectation) {
            case (UInt8(ascii: "]"), .afterValue), (UInt8(ascii: "]"), .firstElement):
                _ = close()
                if depth == outside { return }
            case (UInt8(ascii: "["), .value), (UInt8(ascii: "["), .firstElement):
                guard depth < maximumDepth, (try? open(object: false)) != nil else { return }
            case (UInt8(ascii: ","), .afterValue):
                position += 1
                expectation = .value
            case (UInt8(ascii: "0")...UInt8(ascii: "9"), .value),
                (UInt8(ascii: "0")...UInt8(ascii: "9"), .firstElement):
                guard let end = endOfPlainInteger() else { return }
                position = end
                expectation = .afterValue
            default: return
            }
        }
    }

    /// The byte after the digits that begin here, or nil where they are not simply an integer of 64 bits.
    @inline(__always)
    private func endOfPlainInteger() -> Int? {
        var end = position + 1
        while end < bytes.byteCount, bytes.byte(end) &- UInt8(ascii: "0") < 10 { end += 1 }
        guard end < bytes.byteCount, end - position < 20 else { return nil }
        guard bytes.byte(position) != UInt8(ascii: "0") || end == position + 1 else { return nil }
        return bytes.byte(end) == UInt8(ascii: ",") || bytes.byte(end) == UInt8(ascii: "]") ? end : nil
    }

    private var peek: UInt8? { position < bytes.byteCount ? bytes.byte(position) : nil }

    @inline(__always)
    private mutating func skipWhitespace() {
        while position < bytes.byteCount {
            let byte = bytes.byte(position)
            guard byte <= 0x20, byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 else { return }
            position += 1
        }
    }

    /// After a value: a comma and what follows it, the end of the container, or the end of the document.
    @inline(__always)
    private mutating func continuation() throws(JSONError) -> JSONToken {
        guard depth > 0 else {
            guard peek == nil else {
                throw JSONError(
                    .trailingBytes, at: position, "something follows the end of the JSON document")
            }
            return .end
        }
        let object = isInObject
        switch peek {
        case UInt8(ascii: ","):
            position += 1
            skipWhitespace()
            return object ? try key() : try value()
        case UInt8(ascii: "}") where object: return close()
        case UInt8(ascii: "]") where !object: return close()
        default: throw unexpected(object ? "a comma or } must follow" : "a comma or ] must follow")
        }
    }

    @inline(__always)
    private mutating func close() -> JSONToken {
        let object = isInObject
        tokenStart = position
        position += 1
        depth -= 1
        isInObject = objectBits[depth >> 6] >> UInt64(depth & 63) & 1 == 1
        expectation = .afterValue
        return object ? .endObject : .endArray
    }

    @inline(__always)
    private mutating func open(object: Bool) throws(JSONError) -> JSONToken {
        guard depth < maximumDepth else {
            throw JSONError(.nestingTooDeep, at: position, "nesting is deeper than \(maximumDepth) levels")
        }
        let bit = UInt64(1) << UInt64(depth & 63)
        if isInObject { objectBits[depth >> 6] |= bit } else { objectBits[depth >> 6] &= ~bit }
        isInObject = object
        depth += 1
        position += 1
        expectation = object ? .firstKey : .firstElement
        return object ? .beginObject : .beginArray
    }

    @inline(__always)
    private mutating func key() throws(JSONError) -> JSONToken {
        guard peek == UInt8(ascii: "\"") else { throw unexpected("a key in quotes must stand here") }
        tokenStart = position
        let text = try string()
        skipWhitespace()
        guard peek == UInt8(ascii: ":") else { throw unexpected("a colon must follow the key") }
        position += 1
        expectation = .value
        return .key(text)
    }

    @inline(__always)
    private mutating func value() throws(JSONError) -> JSONToken {
        guard let first = peek else { throw unexpected("a value must stand here") }
        tokenStart = position
        switch first {
        case UInt8(ascii: "{"): return try open(object: true)
        case UInt8(ascii: "["): return try open(object: false)
        default: break
        }
        expectation = .afterValue
        switch first {
        case UInt8(ascii: "\""): return .string(try string())
        case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): return .number(try number())
        case UInt8(ascii: "t"): return try literal("true", .bool(true))
        case UInt8(ascii: "f"): return try literal("false", .bool(false))
        case UInt8(ascii: "n"): return try literal("null", .null)
        default: throw unexpected("a value must stand here")
        }
    }

    private mutating func literal(_ spelling: String, _ token: JSONToken) throws(JSONError) -> JSONToken {
        for expected in spelling.utf8 {
            guard peek == expected else { throw unexpected("a value must stand here") }
            position += 1
        }
        return token
    }

    /// Reads a string from its opening quote.
    private mutating func string() throws(JSONError) -> JSONText {
        let text = try bytes.string(openedAt: position)
        position = text.end + 1
        return text
    }

    private mutating func number() throws(JSONError) -> JSONNumberText {
        let text = try bytes.number(at: position)
        position = text.end
        return text
    }

    private func unexpected(_ message: String) -> JSONError {
        guard let byte = peek else {
            return JSONError(.unexpectedEnd, at: position, "the JSON document is cut short: \(message)")
        }
        return JSONError(.unexpectedByte, at: position, "\(message), not \(describe(byte))")
    }

    private static func checkUTF8(_ bytes: RawSpan) throws(JSONError) {
        do {
            _ = try UTF8Span(validating: Span<UInt8>(_bytes: bytes))
        } catch {
            throw JSONError(.notUTF8, at: error.byteOffsets.lowerBound, "the bytes are not UTF-8")
        }
    }
}

/// A byte for a message: the character where it is printable ASCII.
func describe(_ byte: UInt8) -> String {
    (0x21...0x7E).contains(byte)
        ? "`\(Character(Unicode.Scalar(byte)))`" : "byte 0x" + String(byte, radix: 16, uppercase: true)
}
