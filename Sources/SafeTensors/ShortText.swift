internal import StrictJSON
internal import TensorCore

/// A text of at most 16 bytes in a form that compares in one step: for field names and dtypes.
struct ShortText: Equatable {
    private var low: UInt64 = 0
    private var high: UInt64 = 0
    private var count: UInt8 = 0

    /// The text, or nil where it is longer than 16 bytes.
    init?(_ text: String) {
        self.init(bytes: RawSpan(_elements: Array(text.utf8).span), start: 0, end: text.utf8.count)
    }

    /// The contents of a string of a header, or nil where they are longer than 16 bytes.
    ///
    /// - Parameter scratch: memory for replacing escapes.
    init?(_ text: JSONText, in bytes: RawSpan, _ scratch: inout [UInt8]) {
        if text.hasEscapes {
            scratch.removeAll(keepingCapacity: true)
            text.append(to: &scratch, from: bytes)
            self.init(bytes: RawSpan(_elements: scratch.span), start: 0, end: scratch.count)
        } else {
            self.init(bytes: bytes, start: text.start, end: text.end)
        }
    }

    private init?(bytes: RawSpan, start: Int, end: Int) {
        guard end - start <= 16 else { return nil }
        count = UInt8(end - start)
        low = Self.word(bytes, start, end)
        if end - start > 8 { high = Self.word(bytes, start + 8, end) }
    }

    /// The first eight bytes from `start`, those from `end` on as zeros.
    @inline(__always)
    private static func word(_ bytes: RawSpan, _ start: Int, _ end: Int) -> UInt64 {
        guard start + 8 > bytes.byteCount else {
            let word = bytes.load(littleEndian: UInt64.self, at: start)
            let excess = start + 8 - end
            return excess <= 0 ? word : (word << UInt64(excess * 8)) >> UInt64(excess * 8)
        }
        var word: UInt64 = 0
        for position in start..<end { word |= UInt64(bytes[position]) << UInt64((position - start) * 8) }
        return word
    }
}

/// The dtypes by their spelling.
enum DTypeSpelling {
    private static let spellings = DType.allCases.map { ShortText($0.name) }

    /// The dtype that a header's string spells, or nil.
    static func dtype(_ text: JSONText, in bytes: RawSpan) -> DType? {
        var scratch: [UInt8] = []
        guard let short = ShortText(text, in: bytes, &scratch),
            let index = spellings.firstIndex(of: short)
        else { return nil }
        return DType.allCases[index]
    }
}
