internal import StrictJSON
internal import TensorCore

/// The text of a header, in which the metadata is changed and every other byte stays.
struct HeaderText {
    /// An entry of the metadata: its key, and where the whole of it stands in the text.
    private struct Item {
        let key: [UInt8]
        let range: Range<Int>
    }

    private let bytes: [UInt8]
    /// The byte after the bracket that opens the header.
    private var start = 0
    /// The byte after the bracket that closes it.
    private var end = 0
    /// The `__metadata__` with its value, where there is one.
    private var member: Range<Int>?
    /// The value.
    private var value: Range<Int>?
    private var items: [Item] = []
    /// Where the value of the member before `__metadata__` ends, and where the member after it begins.
    private var previousEnd: Int?
    private var nextStart: Int?
    private var isEmpty = true

    /// Finds the metadata in a header that was accepted before.
    init(_ json: [UInt8]) throws(SafeTensorsError) {
        bytes = json
        do {
            try scan(RawSpan(_elements: json.span))
        } catch {
            throw SafeTensorsError(.headerNotJSON, at: UInt64(error.offset) + 8, error.message)
        }
    }

    private mutating func scan(_ span: RawSpan) throws(JSONError) {
        var tokens = try JSONTokenizer(validating: span)
        _ = try tokens.next()
        start = tokens.position
        while case .key(let key) = try tokens.next() {
            isEmpty = false
            let quote = key.start - 1
            if member != nil, nextStart == nil { nextStart = quote }
            let isMetadata = key.equals(Array(HeaderParser.metadataKey.utf8), in: span)
            try scanValue(&tokens, isMetadata: isMetadata, span)
            if isMetadata {
                member = quote..<tokens.position
            } else if member == nil {
                previousEnd = tokens.position
            }
        }
        end = tokens.position
    }

    private mutating func scanValue(
        _ tokens: inout JSONTokenizer, isMetadata: Bool, _ span: RawSpan
    ) throws(JSONError) {
        let token = try tokens.next()
        let valueStart = tokens.tokenStart
        if case .beginObject = token {
            guard isMetadata else { return try tokens.skipContainer() }
            while case .key(let key) = try tokens.next() {
                _ = try tokens.next()
                items.append(Item(key: key.utf8(in: span), range: key.start - 1..<tokens.position))
            }
        } else if case .beginArray = token {
            try tokens.skipContainer()
        }
        if isMetadata { value = valueStart..<tokens.position }
    }

    /// The text with an edit made: no padding follows it.
    ///
    /// Values are replaced where they stand; new keys come before the first greater one, which keeps a sorted
    /// header sorted; a `__metadata__` that becomes empty goes.
    ///
    /// - Returns: nil where the edit changes nothing.
    /// - Throws: ``SafeTensorsError/Code/unknownKey`` where a key to remove is not there.
    func applying(
        _ edit: MetadataEdit, to metadata: [(key: String, value: String)]
    ) throws(SafeTensorsError) -> [UInt8]? {
        var entries = zip(items, metadata).map {
            (key: $0.key, text: Array(bytes[$0.range]), value: $1.value)
        }
        var isChanged = false
        for key in edit.unset {
            guard let place = entries.firstIndex(where: { $0.key == Array(key.utf8) }) else {
                throw SafeTensorsError(
                    .unknownKey, "the metadata has no key \(quotedForDisplay(key)), so nothing was changed")
            }
            entries.remove(at: place)
            isChanged = true
        }
        for (key, value) in edit.set {
            let new = (key: Array(key.utf8), text: Self.text(key, value), value: value)
            if let place = entries.firstIndex(where: { $0.key == new.key }) {
                guard !entries[place].value.utf8.elementsEqual(value.utf8) else { continue }
                entries[place] = new
            } else {
                let place = entries.firstIndex { new.key.lexicographicallyPrecedes($0.key) }
                entries.insert(new, at: place ?? entries.count)
            }
            isChanged = true
        }
        return isChanged ? text(with: entries.map(\.text)) : nil
    }

    private func text(with entries: [[UInt8]]) -> [UInt8] {
        let object = Array("{".utf8) + entries.joined(separator: [UInt8(ascii: ",")]) + Array("}".utf8)
        guard let member, let value else {
            if entries.isEmpty { return Array(bytes[..<end]) }
            let key = Array("\"\(HeaderParser.metadataKey)\":".utf8)
            return bytes[..<start] + key + object + (isEmpty ? [] : [UInt8(ascii: ",")]) + bytes[start..<end]
        }
        guard entries.isEmpty else {
            return bytes[..<value.lowerBound] + object + bytes[value.upperBound..<end]
        }
        // With the comma that parts it from its neighbour.
        let rest =
            if let nextStart {
                bytes[..<member.lowerBound] + bytes[nextStart..<end]
            } else {
                bytes[..<(previousEnd ?? member.lowerBound)] + bytes[member.upperBound..<end]
            }
        return Array(rest)
    }

    private static func text(_ key: String, _ value: String) -> [UInt8] {
        var text: [UInt8] = []
        JSONValue.appendString(key, to: &text)
        text.append(UInt8(ascii: ":"))
        JSONValue.appendString(value, to: &text)
        return text
    }
}

/// A key in quotes for a message, cut where it is long.
func quotedForDisplay(_ text: String) -> String {
    let cut = text.unicodeScalars.prefix(64)
    let dots = cut.endIndex < text.unicodeScalars.endIndex ? "..." : ""
    return "\"\(escapedForDisplay(String(String.UnicodeScalarView(cut))))\(dots)\""
}
