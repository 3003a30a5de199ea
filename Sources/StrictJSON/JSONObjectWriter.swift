/// Writes a large object piece by piece, so that it never stands in memory as a whole.
///
/// Members stand on lines of their own, indented by two; the elements of a long list are a line each.
public struct JSONObjectWriter: ~Copyable {
    private var buffer: [UInt8] = []
    private let sink: ([UInt8]) -> Void
    private var isFirst = true

    private static let pieceByteCount = 64 << 10

    /// Starts an object.
    ///
    /// - Parameter sink: takes the bytes as they come, in pieces of about 64 KiB.
    public init(sink: @escaping ([UInt8]) -> Void) {
        self.sink = sink
        buffer.append(UInt8(ascii: "{"))
    }

    /// Writes a member.
    ///
    /// - Parameters:
    ///   - key: the key, which must not have been written yet.
    ///   - value: the value.
    public mutating func member(_ key: String, _ value: JSONValue) {
        begin(key)
        append(value.serialized(indent: 2))
        flush(atLeast: Self.pieceByteCount)
    }

    /// Writes a member that is a list, an element at a time.
    ///
    /// - Parameters:
    ///   - key: the key, which must not have been written yet.
    ///   - elements: the elements, made when they are written.
    public mutating func member(_ key: String, elements: some Sequence<JSONValue>) {
        begin(key)
        list(elements, open: "[", close: "]") { $1 += $0.serialized() }
    }

    /// Writes a member that is a list of many elements, each by a function that appends its text.
    ///
    /// - Parameters:
    ///   - key: the key, which must not have been written yet.
    ///   - items: what the elements are made from.
    ///   - element: appends the JSON of an item, without newlines.
    public mutating func member<S: Sequence>(
        _ key: String, of items: S, element: (S.Element, inout [UInt8]) -> Void
    ) {
        begin(key)
        list(items, open: "[", close: "]", element)
    }

    /// Writes a member that is an object, a member at a time.
    ///
    /// - Parameters:
    ///   - key: the key, which must not have been written yet.
    ///   - members: the members, made when they are written.
    public mutating func member(_ key: String, members: some Sequence<JSONMember>) {
        begin(key)
        list(members, open: "{", close: "}") { member, bytes in
            JSONValue.appendString(member.key, to: &bytes)
            bytes += Array(": ".utf8)
            bytes += member.value.serialized()
        }
    }

    /// Ends the object with a newline and gives out what is left.
    public consuming func finish() {
        buffer += Array((isFirst ? "}\n" : "\n}\n").utf8)
        sink(buffer)
    }

    private mutating func list<S: Sequence>(
        _ items: S, open: String, close: String,
        _ append: (S.Element, inout [UInt8]) -> Void
    ) {
        buffer += Array(open.utf8)
        var isFirstItem = true
        for item in items {
            if !isFirstItem { buffer.append(UInt8(ascii: ",")) }
            isFirstItem = false
            buffer += [0x0A, 0x20, 0x20, 0x20, 0x20]
            append(item, &buffer)
            flush(atLeast: Self.pieceByteCount)
        }
        if !isFirstItem { buffer += [0x0A, 0x20, 0x20] }
        buffer += Array(close.utf8)
    }

    private mutating func begin(_ key: String) {
        buffer += Array((isFirst ? "\n  " : ",\n  ").utf8)
        isFirst = false
        JSONValue.appendString(key, to: &buffer)
        buffer += Array(": ".utf8)
    }

    /// Appends lines, each but the first moved to the right.
    ///
    /// Strings hold no raw newline.
    private mutating func append(_ lines: [UInt8]) {
        for byte in lines {
            buffer.append(byte)
            if byte == 0x0A { buffer += [0x20, 0x20] }
        }
    }

    private mutating func flush(atLeast count: Int) {
        guard buffer.count >= count else { return }
        sink(buffer)
        buffer.removeAll(keepingCapacity: true)
    }
}
