/// Small changes to a document that leave every other byte of it as it was.
public enum JSONEdit {
    /// Replaces string values of members with one of `keys`, at any depth.
    ///
    /// - Parameters:
    ///   - document: a strict JSON document.
    ///   - keys: the keys, compared as UTF-8 bytes.
    ///   - replacement: called with each such string; returns the new text, or nil to leave it.
    /// - Returns: the document and how many values were replaced.
    /// - Throws: where the document is not strict JSON. Keys that occur twice are all replaced.
    public static func replacingStringValues(
        in document: [UInt8], keys: Set<String>, using replacement: (String) -> String?
    ) throws(JSONError) -> (bytes: [UInt8], count: Int) {
        let keys = keys.map { Array($0.utf8) }
        let bytes = RawSpan(_elements: document.span)
        var tokens = try JSONTokenizer(validating: bytes)
        var result: [UInt8] = []
        var copied = 0
        var count = 0
        var follows = false
        while true {
            switch try tokens.next() {
            case .end: return (result + document[copied...], count)
            case .key(let text): follows = keys.contains { text.equals($0, in: bytes) }
            case .string(let text) where follows:
                follows = false
                guard let new = replacement(text.string(in: bytes)) else { continue }
                result += document[copied..<text.start - 1]
                JSONValue.appendString(new, to: &result)
                copied = text.end + 1
                count += 1
            default: follows = false
            }
        }
    }
}
