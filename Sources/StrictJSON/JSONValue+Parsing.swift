extension JSONValue {
    /// Parses a whole document, which must be strict RFC 8259 JSON in UTF-8 without a byte order mark.
    ///
    /// Takes time and memory in proportion to the document, however its objects are shaped.
    ///
    /// - Parameter maximumDepth: the deepest nesting to accept, at most ``JSONTokenizer/depthLimit``.
    /// - Throws: where the document breaks the grammar, an object holds a key twice (compared as UTF-8 bytes
    ///   after escapes are replaced), or nesting is too deep.
    public init(parsing bytes: [UInt8], maximumDepth: Int = 128) throws(JSONError) {
        try self.init(parsing: RawSpan(_elements: bytes.span), maximumDepth: maximumDepth)
    }

    /// Parses a whole document; see ``init(parsing:maximumDepth:)-([UInt8],_)``.
    public init(parsing bytes: RawSpan, maximumDepth: Int = 128) throws(JSONError) {
        var tokens = try JSONTokenizer(validating: bytes, maximumDepth: maximumDepth)
        var open: [Container] = []
        while true {
            var finished: JSONValue
            switch try tokens.next() {
            case .beginObject:
                open.append(Container(isObject: true))
                continue
            case .beginArray:
                open.append(Container(isObject: false))
                continue
            case .key(let text):
                try open[open.count - 1].begin(text.string(in: bytes), at: text.start - 1)
                continue
            case .endObject, .endArray: finished = open.removeLast().value
            case .string(let text): finished = .string(text.string(in: bytes))
            case .number(let text):
                finished = .number(
                    JSONText(start: text.start, end: text.end, hasEscapes: false).string(in: bytes))
            case .bool(let value): finished = .bool(value)
            case .null, .end: finished = .null
            }
            if open.isEmpty {
                // One complete value; only the end may follow.
                _ = try tokens.next()
                self = finished
                return
            }
            open[open.count - 1].append(finished)
        }
    }
}

/// An array or object that is being read.
private struct Container {
    /// From so many members on, keys are looked up in a table.
    static let tableThreshold = 16

    let isObject: Bool
    var elements: [JSONValue] = []
    var members: [JSONMember] = []
    var keys: Set<ByteKey> = []
    var pendingKey = ""

    init(isObject: Bool) { self.isObject = isObject }

    var value: JSONValue { isObject ? .object(members) : .array(elements) }

    mutating func begin(_ key: String, at offset: Int) throws(JSONError) {
        guard isNew(key) else {
            throw JSONError(.duplicateKey, at: offset, "an object holds the key \(quoted(key)) twice")
        }
        pendingKey = key
    }

    mutating func append(_ value: JSONValue) {
        if isObject {
            members.append(JSONMember(key: pendingKey, value: value))
        } else {
            elements.append(value)
        }
    }

    private mutating func isNew(_ key: String) -> Bool {
        if members.count < Self.tableThreshold {
            return !members.contains { $0.key.utf8.elementsEqual(key.utf8) }
        }
        if keys.isEmpty {
            for member in members { keys.insert(ByteKey(text: member.key)) }
        }
        return keys.insert(ByteKey(text: key)).inserted
    }
}

/// A string that is equal to another only where the bytes are.
private struct ByteKey: Hashable {
    let text: String

    static func == (a: ByteKey, b: ByteKey) -> Bool {
        let (x, y) = (a.text.utf8.span, b.text.utf8.span)
        guard x.count == y.count else { return false }
        for index in x.indices where x[index] != y[index] { return false }
        return true
    }

    func hash(into hasher: inout Hasher) {
        let bytes = RawSpan(_elements: text.utf8.span)
        unsafe bytes.withUnsafeBytes { unsafe hasher.combine(bytes: $0) }
    }
}

/// The key as an ASCII JSON string, cut where it is long.
private func quoted(_ key: String) -> String {
    let cut = key.unicodeScalars.prefix(64)
    let text =
        String(String.UnicodeScalarView(cut)) + (cut.endIndex < key.unicodeScalars.endIndex ? "..." : "")
    return String(decoding: JSONValue.string(text).serialized(asciiOnly: true), as: UTF8.self)
}
