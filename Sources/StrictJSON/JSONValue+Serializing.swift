extension JSONValue {
    /// The document as UTF-8, without a newline at the end.
    ///
    /// With an indent the bytes are those of Python's `json.dumps(value, indent:, ensure_ascii:, sort_keys:)`
    /// (except that numbers keep their spelling); without one they are those of the same with
    /// `separators=(",", ":")`.
    ///
    /// - Parameters:
    ///   - indent: spaces a level, or nil for no white space at all.
    ///   - asciiOnly: whether everything but printable ASCII is escaped.
    ///   - sortKeys: whether members are sorted by code point (which is UTF-8 byte order) rather than kept in
    ///     order.
    public func serialized(indent: Int? = nil, asciiOnly: Bool = false, sortKeys: Bool = false) -> [UInt8] {
        var writer = JSONWriter(indent: indent, asciiOnly: asciiOnly, sortKeys: sortKeys)
        writer.write(self, level: 0)
        return writer.bytes
    }

    /// Appends `text` to `bytes` as a JSON string with its quotes.
    ///
    /// - Parameter asciiOnly: whether everything but printable ASCII is escaped, as Python does by default;
    ///   otherwise only quotes, backslashes and control characters below U+0020 are.
    public static func appendString(_ text: String, asciiOnly: Bool = false, to bytes: inout [UInt8]) {
        bytes.append(UInt8(ascii: "\""))
        if text.utf8.allSatisfy({ isPlain($0, asciiOnly: asciiOnly) }) {
            bytes.append(contentsOf: text.utf8)
            bytes.append(UInt8(ascii: "\""))
            return
        }
        for scalar in text.unicodeScalars {
            if scalar == "\"" || scalar == "\\" {
                bytes.append(UInt8(ascii: "\\"))
                bytes.append(UInt8(scalar.value))
            } else if scalar.value < 0x20 || (asciiOnly && scalar.value > 0x7E) {
                appendEscape(scalar, to: &bytes)
            } else {
                bytes.append(contentsOf: scalar.utf8)
            }
        }
        bytes.append(UInt8(ascii: "\""))
    }

    /// Appends the text with these UTF-8 bytes as a JSON string; what is no UTF-8 is repaired.
    public static func appendString(utf8 text: [UInt8], to bytes: inout [UInt8]) {
        guard text.allSatisfy({ isPlain($0, asciiOnly: true) }) else {
            return appendString(String(decoding: text, as: UTF8.self), to: &bytes)
        }
        bytes.append(UInt8(ascii: "\""))
        bytes.append(contentsOf: text)
        bytes.append(UInt8(ascii: "\""))
    }

    /// Appends a number.
    public static func appendInteger(_ number: UInt64, to bytes: inout [UInt8]) {
        var rest = number
        let start = bytes.count
        repeat {
            bytes.append(UInt8(truncatingIfNeeded: 0x30 + rest % 10))
            rest /= 10
        } while rest > 0
        bytes[start...].reverse()
    }

    /// Whether a byte of UTF-8 stands for itself in a string.
    private static func isPlain(_ byte: UInt8, asciiOnly: Bool) -> Bool {
        byte >= 0x20 && byte != 0x22 && byte != 0x5C && (!asciiOnly || byte < 0x7F)
    }

    private static func appendEscape(_ scalar: Unicode.Scalar, to bytes: inout [UInt8]) {
        switch scalar {
        case "\u{8}": bytes.append(contentsOf: "\\b".utf8)
        case "\u{C}": bytes.append(contentsOf: "\\f".utf8)
        case "\n": bytes.append(contentsOf: "\\n".utf8)
        case "\r": bytes.append(contentsOf: "\\r".utf8)
        case "\t": bytes.append(contentsOf: "\\t".utf8)
        default:
            for unit in scalar.utf16 {
                let digits = String(unit, radix: 16)
                bytes.append(contentsOf: "\\u".utf8)
                bytes.append(contentsOf: repeatElement(UInt8(ascii: "0"), count: 4 - digits.utf8.count))
                bytes.append(contentsOf: digits.utf8)
            }
        }
    }
}

private struct JSONWriter {
    let indent: Int?
    let asciiOnly: Bool
    let sortKeys: Bool
    var bytes: [UInt8] = []

    init(indent: Int?, asciiOnly: Bool, sortKeys: Bool) {
        self.indent = indent
        self.asciiOnly = asciiOnly
        self.sortKeys = sortKeys
    }

    mutating func write(_ value: JSONValue, level: Int) {
        switch value {
        case .null: bytes.append(contentsOf: "null".utf8)
        case .bool(let value): bytes.append(contentsOf: (value ? "true" : "false").utf8)
        case .number(let text): bytes.append(contentsOf: text.utf8)
        case .string(let text): JSONValue.appendString(text, asciiOnly: asciiOnly, to: &bytes)
        case .array(let elements): writeArray(elements, level: level)
        case .object(let members): writeObject(members, level: level)
        }
    }

    private mutating func writeArray(_ elements: [JSONValue], level: Int) {
        bytes.append(UInt8(ascii: "["))
        for (index, element) in elements.enumerated() {
            if index > 0 { bytes.append(UInt8(ascii: ",")) }
            breakLine(level: level + 1)
            write(element, level: level + 1)
        }
        if !elements.isEmpty { breakLine(level: level) }
        bytes.append(UInt8(ascii: "]"))
    }

    private mutating func writeObject(_ members: [JSONMember], level: Int) {
        let sorted =
            sortKeys
            ? members.sorted { $0.key.utf8.lexicographicallyPrecedes($1.key.utf8) } : members
        bytes.append(UInt8(ascii: "{"))
        for (index, member) in sorted.enumerated() {
            if index > 0 { bytes.append(UInt8(ascii: ",")) }
            breakLine(level: level + 1)
            JSONValue.appendString(member.key, asciiOnly: asciiOnly, to: &bytes)
            bytes.append(UInt8(ascii: ":"))
            if indent != nil { bytes.append(UInt8(ascii: " ")) }
            write(member.value, level: level + 1)
        }
        if !members.isEmpty { breakLine(level: level) }
        bytes.append(UInt8(ascii: "}"))
    }

    private mutating func breakLine(level: Int) {
        guard let indent else { return }
        bytes.append(UInt8(ascii: "\n"))
        bytes.append(contentsOf: repeatElement(UInt8(ascii: " "), count: indent * level))
    }
}
