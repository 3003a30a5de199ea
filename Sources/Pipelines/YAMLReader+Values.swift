/// Values on a line or in brackets.
extension YAMLReader {
    /// Whether the line holds a key here: plain text or text in quotes, then `:` and a blank.
    func isKey() throws(PipelineError) -> Bool {
        var reader = self
        switch next {
        case UInt8(ascii: "'"), UInt8(ascii: "\""): _ = try reader.quoted()
        case UInt8(ascii: "["), UInt8(ascii: "{"), UInt8(ascii: "#"): return false
        default: reader.skipPlain(inFlow: false)
        }
        reader.skipSpaces()
        return reader.next == UInt8(ascii: ":") && reader.isBreak(1)
    }

    /// Reads a key and its colon.
    mutating func keyText(inFlow: Bool = false) throws(PipelineError) -> String {
        let node = try value(inFlow: inFlow, depth: 0)
        guard case .scalar(let key, let isPlain) = node.value else {
            throw error("a key is text", at: node.place)
        }
        skipSpaces()
        // JSON needs no blank after the colon of a key in quotes.
        guard next == UInt8(ascii: ":"), isBreak(1) || (inFlow && !isPlain) else {
            throw error("a colon and a blank follow a key")
        }
        position += 1
        return key
    }

    /// Reads text or brackets.
    mutating func value(inFlow: Bool, depth: Int) throws(PipelineError) -> YAMLNode {
        let start = place
        switch next {
        case UInt8(ascii: "["): return try flow(depth: depth, isMapping: false)
        case UInt8(ascii: "{"): return try flow(depth: depth, isMapping: true)
        case UInt8(ascii: "'"), UInt8(ascii: "\""):
            return YAMLNode(value: .scalar(try quoted(), isPlain: false), place: start)
        default:
            try refuseMarks()
            let first = position
            skipPlain(inFlow: inFlow)
            var text = bytes[first..<position]
            while text.last == 0x20 || text.last == 0x09 { text.removeLast() }
            if inFlow, text.last == UInt8(ascii: "$"), next == UInt8(ascii: "{") {
                throw error("a variable within brackets takes quotes, as in \"${…}\"", at: start)
            }
            guard !text.isEmpty else { throw error("a value is missing", at: start) }
            return YAMLNode(
                value: .scalar(String(decoding: text, as: UTF8.self), isPlain: true), place: start)
        }
    }

    /// Passes plain text: up to a comment, the end of the line, a colon before a blank, in brackets also `,[]{}`.
    mutating func skipPlain(inFlow: Bool) {
        let first = position
        while let byte = next, byte != 0x0A, byte != 0x0D {
            if byte == UInt8(ascii: ":"), isBreak(1) { return }
            if byte == UInt8(ascii: "#"), position > first, [0x20, 0x09].contains(bytes[position - 1]) {
                return
            }
            if inFlow, [UInt8(ascii: ","), 0x5B, 0x5D, 0x7B, 0x7D].contains(byte) { return }
            if inFlow, byte == UInt8(ascii: ":"), position + 1 < bytes.count,
                [UInt8(ascii: ","), 0x5B, 0x5D, 0x7B, 0x7D].contains(bytes[position + 1])
            {
                return
            }
            position += 1
        }
    }

    /// Plain text cannot begin with a character that means something else in YAML.
    private func refuseMarks() throws(PipelineError) {
        let what: String
        switch next {
        case UInt8(ascii: "*"): what = "an alias"
        case UInt8(ascii: "&"): what = "an anchor"
        case UInt8(ascii: "!"): what = "a tag"
        case UInt8(ascii: "|"), UInt8(ascii: ">"): what = "text over several lines"
        case UInt8(ascii: "%"): what = "a directive"
        case UInt8(ascii: "@"), UInt8(ascii: "`"): what = "reserved"
        case UInt8(ascii: "?") where isBreak(1): what = "a key of several lines"
        case UInt8(ascii: "-") where isBreak(1): what = "a list item"
        case UInt8(ascii: ","), UInt8(ascii: "]"), UInt8(ascii: "}"): what = "a bracket or comma"
        case UInt8(ascii: "#"): what = "a comment"
        default: return
        }
        let mark = next.map { String(Unicode.Scalar($0)) } ?? ""
        throw error(
            "text that begins with \(mark) takes quotes, as in '\(mark)…': without them it would be \(what)")
    }

    /// Skips blanks, line ends and comments between brackets.
    private mutating func skipInFlow() throws(PipelineError) {
        while true {
            skipSpaces()
            guard next == 0x0A || next == 0x0D || next == UInt8(ascii: "#") else { return }
            try finishLine()
            skipSpaces()
        }
    }

    private mutating func flow(depth: Int, isMapping: Bool) throws(PipelineError) -> YAMLNode {
        let start = place
        guard depth < 32 else { throw error("too many levels") }
        position += 1
        let closing: UInt8 = isMapping ? 0x7D : 0x5D
        var items: [YAMLNode] = []
        var entries: [YAMLNode.Entry] = []
        try skipInFlow()
        while next != closing {
            guard !isAtEnd else { throw error("this bracket is never closed", at: start) }
            if isMapping {
                let place = place
                let key = try keyText(inFlow: true)
                guard !entries.contains(where: { $0.key.utf8.elementsEqual(key.utf8) }) else {
                    throw error("the key \(key) stands twice", at: place)
                }
                try skipInFlow()
                let isEmpty = next == closing || next == UInt8(ascii: ",")
                let value =
                    isEmpty
                    ? YAMLNode(value: .empty, place: self.place) : try value(inFlow: true, depth: depth + 1)
                entries.append(.init(key: key, place: place, value: value))
            } else {
                items.append(try value(inFlow: true, depth: depth + 1))
            }
            try skipInFlow()
            guard next != closing else { break }
            guard next == UInt8(ascii: ",") else {
                throw isAtEnd
                    ? error("this bracket is never closed", at: start)
                    : error("a comma or a closing bracket is missing here")
            }
            position += 1
            try skipInFlow()
        }
        position += 1
        return YAMLNode(value: isMapping ? .mapping(entries) : .sequence(items), place: start)
    }

    /// Reads text in quotes.
    mutating func quoted() throws(PipelineError) -> String {
        let start = place
        guard let quote = next else { return "" }
        position += 1
        var text: [UInt8] = []
        while let byte = next, byte != 0x0A {
            position += 1
            if byte == quote {
                if quote == UInt8(ascii: "'"), next == quote {
                    position += 1
                    text.append(quote)
                    continue
                }
                return String(decoding: text, as: UTF8.self)
            }
            if byte == UInt8(ascii: "\\"), quote == UInt8(ascii: "\"") {
                text.append(contentsOf: try escape())
            } else {
                text.append(byte)
            }
        }
        throw error("these quotes are not closed on their line", at: start)
    }

    /// Reads what follows a backslash in double quotes.
    private mutating func escape() throws(PipelineError) -> [UInt8] {
        let plain: [UInt8: UInt8] = [
            UInt8(ascii: "n"): 0x0A, UInt8(ascii: "t"): 0x09, UInt8(ascii: "r"): 0x0D, UInt8(ascii: "0"): 0,
            UInt8(ascii: "e"): 0x1B, UInt8(ascii: "\""): 0x22, UInt8(ascii: "\\"): 0x5C,
            UInt8(ascii: "/"): 0x2F,
            UInt8(ascii: " "): 0x20,
        ]
        let start = place
        guard let byte = next else { return [] }
        position += 1
        if let plain = plain[byte] { return [plain] }
        let digits = [UInt8(ascii: "x"): 2, UInt8(ascii: "u"): 4, UInt8(ascii: "U"): 8][byte]
        guard let digits, position + digits <= bytes.count,
            let number = UInt32(
                String(decoding: bytes[position..<position + digits], as: UTF8.self), radix: 16),
            let scalar = Unicode.Scalar(number)
        else {
            throw error("YAML has no such escape; in single quotes a backslash is a backslash", at: start)
        }
        position += digits
        return Array(String(scalar).utf8)
    }
}
