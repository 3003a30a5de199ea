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
    init?(_ text: JSONText, in bytes: RawSpan) {
        if text.hasEscapes {
            let decoded = text.utf8(in: bytes)
            self.init(bytes: RawSpan(_elements: decoded.span), start: 0, end: decoded.count)
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
        guard let short = ShortText(text, in: bytes),
            let index = spellings.firstIndex(of: short)
        else { return nil }
        return DType.allCases[index]
    }
}
