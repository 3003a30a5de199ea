internal import StrictJSON

/// The entries of a header's `__metadata__` in the order of the header, decoded when asked for.
///
/// Costs nothing beside the header, however many entries there are.
public struct SafeTensorsMetadata: RandomAccessCollection, Sendable {
    private let json: [UInt8]
    /// Where the keys begin in the header: the bytes of their quotes.
    private let keys: [UInt32]

    init(json: [UInt8], keys: [UInt32]) {
        self.json = json
        self.keys = keys
    }

    /// The first position.
    public var startIndex: Int { 0 }

    /// The number of entries.
    public var endIndex: Int { keys.count }

    /// The entry at a position.
    public subscript(position: Int) -> (key: String, value: String) {
        let bytes = RawSpan(_elements: json.span)
        let key = JSONText.opened(at: Int(keys[position]), in: bytes)
        var at = key.end + 1
        while at < bytes.byteCount, bytes[at] != UInt8(ascii: "\"") { at += 1 }
        return (key.string(in: bytes), JSONText.opened(at: at, in: bytes).string(in: bytes))
    }
}
