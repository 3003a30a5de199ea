internal import StrictJSON
internal import TensorCore

/// Reads entries in the spelling that writers use, several times faster than token by token.
///
/// `"name":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}` with the fields in any order, at most one space
/// after a colon or comma. Anything else is left to the tokenizer from the entry's
/// first byte on, so that this reader never has to say what is wrong.
struct PlainEntryReader: ~Escapable {
    /// An entry that was read.
    struct Entry {
        /// The opening quote of the name.
        var name: Int
        var dtype: DType
        /// The opening bracket of the shape.
        var shape: Int
        /// The number of elements, nil where it overflows.
        var elementCount: UInt64?
        var begin: UInt64
        var end: UInt64
        /// True where the name is empty or holds escapes or control characters.
        var hasOddName = false
        /// The opening bracket of the entry, where it is an array and not an object.
        var array: Int?
    }

    let bytes: RawSpan
    /// True where an entry may be spelt `["F32",[2,3],[0,24]]`.
    let allowsArrays: Bool
    /// The byte that is read next.
    var position = 0
    /// The dtype that was read last with its spelling: entries mostly repeat it.
    private var dtypeWord: UInt64 = 0
    private var lastDType = DType.u8
    private var scratch: [UInt8] = []

    @_lifetime(copy bytes)
    init(_ bytes: RawSpan, allowsArrays: Bool) {
        self.bytes = bytes
        self.allowsArrays = allowsArrays
    }

    /// Reads the entry at `position`, where a comma stands unless it is the first.
    ///
    /// Returns nil, and stays where it is, where the entry is not plain.
    @inline(__always)
    mutating func next(isFirst: Bool) -> Entry? {
        // A local position stays in a register.
        var at = position
        guard let entry = entry(isFirst: isFirst, &at) else { return nil }
        position = at
        return entry
    }
}

// MARK: - Grammar

extension PlainEntryReader {
    @inline(__always)
    private mutating func entry(isFirst: Bool, _ at: inout Int) -> Entry? {
        if !isFirst { guard skip(UInt8(ascii: ","), &at) else { return nil } }
        var entry = Entry(name: at, dtype: .u8, shape: 0, elementCount: 1, begin: 0, end: 0)
        if !skipName(&at) {
            guard skipOddName(&at) else { return nil }
            entry.hasOddName = true
        }
        guard skip(UInt8(ascii: ":"), &at) else { return nil }
        if skip(UInt8(ascii: "{"), &at) { return fields(of: &entry, &at) ? entry : nil }
        let array = at
        guard allowsArrays, skip(UInt8(ascii: "["), &at), dtype(of: &entry, &at),
            skip(UInt8(ascii: ","), &at),
            shape(of: &entry, &at), skip(UInt8(ascii: ","), &at), offsets(of: &entry, &at),
            skipLast(UInt8(ascii: "]"), &at)
        else { return nil }
        entry.array = array
        return entry
    }

    /// The three fields in any order and the closing brace.
    @inline(__always)
    private mutating func fields(of entry: inout Entry, _ at: inout Int) -> Bool {
        var seen: UInt8 = 0
        while true {
            let field: UInt8
            switch word(at: at) {
            case Self.dtypeKey:
                advance(8, &at)
                field = 1
                guard dtype(of: &entry, &at) else { return false }
            case Self.shapeKey:
                advance(8, &at)
                field = 2
                guard shape(of: &entry, &at) else { return false }
            case Self.offsetsKeyStart:
                guard word(at: at + 7) == Self.offsetsKeyEnd else { return false }
                advance(15, &at)
                field = 4
                guard offsets(of: &entry, &at) else { return false }
            default: return false
            }
            guard seen & field == 0 else { return false }
            seen |= field
            if seen == 7 { return skipLast(UInt8(ascii: "}"), &at) }
            guard skip(UInt8(ascii: ","), &at) else { return false }
        }
    }

    @inline(__always)
    private mutating func dtype(of entry: inout Entry, _ at: inout Int) -> Bool {
        guard byte(at) == UInt8(ascii: "\"") else { return false }
        let word = word(at: at + 1)
        let quotes = Self.marks(word, UInt8(ascii: "\""))
        guard quotes != 0 else { return longDType(of: &entry, &at) }
        // The quote and what precedes it: no two dtypes have the same.
        let spelling = word & (quotes ^ (quotes &- 1))
        if spelling != dtypeWord {
            let text = JSONText.opened(at: at, in: bytes)
            guard !text.hasEscapes, let dtype = DTypeSpelling.dtype(text, in: bytes) else { return false }
            dtypeWord = spelling
            lastDType = dtype
        }
        entry.dtype = lastDType
        at += 2 + quotes.trailingZeroBitCount / 8
        return true
    }

    private func longDType(of entry: inout Entry, _ at: inout Int) -> Bool {
        let text = JSONText.opened(at: at, in: bytes)
        guard let dtype = DTypeSpelling.dtype(text, in: bytes) else { return false }
        entry.dtype = dtype
        at = text.end + 1
        return true
    }

    @inline(__always)
    private func shape(of entry: inout Entry, _ at: inout Int) -> Bool {
        guard byte(at) == UInt8(ascii: "[") else { return false }
        entry.shape = at
        at += 1
        if skipLast(UInt8(ascii: "]"), &at) { return true }
        var count: UInt64 = 1
        var overflows = false
        repeat {
            guard let dimension = digit(&at) ?? number(&at) else { return false }
            let (product, overflow) = count.multipliedReportingOverflow(by: dimension)
            count = product
            overflows = overflows || overflow
        } while skip(UInt8(ascii: ","), &at)
        entry.elementCount = overflows ? nil : count
        return skipLast(UInt8(ascii: "]"), &at)
    }

    @inline(__always)
    private func offsets(of entry: inout Entry, _ at: inout Int) -> Bool {
        guard skipLast(UInt8(ascii: "["), &at), let begin = number(&at), skip(UInt8(ascii: ","), &at),
            let end = number(&at),
            skipLast(UInt8(ascii: "]"), &at)
        else { return false }
        entry.begin = begin
        entry.end = end
        return true
    }
}

// MARK: - Lexemes

extension PlainEntryReader {
    private static let ones: UInt64 = 0x0101_0101_0101_0101
    private static let highs: UInt64 = 0x8080_8080_8080_8080
    // `"dtype":`
    private static let dtypeKey: UInt64 = 0x3A22_6570_7974_6422
    // `"shape":`
    private static let shapeKey: UInt64 = 0x3A22_6570_6168_7322
    // `"data_of`
    private static let offsetsKeyStart: UInt64 = 0x666F_5F61_7461_6422
    // `ffsets":`
    private static let offsetsKeyEnd: UInt64 = 0x3A22_7374_6573_6666
    private static let metadataKey = ShortText(HeaderParser.metadataKey)
    // `__metada`
    private static let metadataStart: UInt64 = 0x6164_6174_656D_5F5F

    /// The top bit of each byte of `word` that is `byte`, exact up to the lowest one.
    @inline(__always)
    private static func marks(_ word: UInt64, _ byte: UInt8) -> UInt64 {
        let flipped = word ^ (ones &* UInt64(byte))
        return (flipped &- ones) & ~flipped & highs
    }

    /// The eight bytes from `offset`, those past the end as zeros.
    @inline(__always)
    private func word(at offset: Int) -> UInt64 {
        offset + 8 <= bytes.byteCount
            ? bytes.load(littleEndian: UInt64.self, at: offset) : lastWord(at: offset)
    }

    private func lastWord(at offset: Int) -> UInt64 {
        var word: UInt64 = 0
        for index in 0..<8 { word |= UInt64(byte(offset + index)) << UInt64(8 * index) }
        return word
    }

    /// The byte at `offset`, or zero past the end.
    @inline(__always)
    private func byte(_ offset: Int) -> UInt8 { offset < bytes.byteCount ? bytes[offset] : 0 }

    /// Passes over `count` bytes and one space.
    @inline(__always)
    private func advance(_ count: Int, _ at: inout Int) {
        at += count
        if byte(at) == 0x20 { at += 1 }
    }

    /// Passes over `expected` and one space, if it stands here.
    @inline(__always)
    private func skip(_ expected: UInt8, _ at: inout Int) -> Bool {
        guard byte(at) == expected else { return false }
        advance(1, &at)
        return true
    }

    /// Passes over `expected`, if it stands here.
    @inline(__always)
    private func skipLast(_ expected: UInt8, _ at: inout Int) -> Bool {
        guard byte(at) == expected else { return false }
        at += 1
        return true
    }

    /// Passes over a name with its quotes, unless it holds escapes or control characters, is empty or may be
    /// `__metadata__`.
    @inline(__always)
    private func skipName(_ at: inout Int) -> Bool {
        let start = at + 1
        guard byte(at) == UInt8(ascii: "\"") else { return false }
        var word = word(at: start)
        guard word != Self.metadataStart else { return false }
        var end = start
        while true {
            let quotes = Self.marks(word, UInt8(ascii: "\""))
            let controls = (word &- Self.ones &* 0x20) & ~word & Self.highs
            let others = Self.marks(word, UInt8(ascii: "\\")) | Self.marks(word, 0x7F) | controls
            if quotes | others != 0 {
                // The lowest mark is exact; those above it may be false.
                guard quotes != 0, others & ((quotes & (0 &- quotes)) &- 1) == 0 else { return false }
                end += quotes.trailingZeroBitCount / 8
                guard end > start else { return false }
                at = end + 1
                return true
            }
            end += 8
            word = self.word(at: end)
        }
    }

    /// Passes over any other name than `__metadata__`, however it is spelt.
    private mutating func skipOddName(_ at: inout Int) -> Bool {
        guard byte(at) == UInt8(ascii: "\"") else { return false }
        let text = JSONText.opened(at: at, in: bytes)
        // An empty text at the quote itself stands for a string that is not well formed.
        guard text.start > at, ShortText(text, in: bytes, &scratch) != Self.metadataKey else { return false }
        at = text.end + 1
        return true
    }

    /// Reads a number of one digit: a branch that is foreseen in a long shape of small dimensions.
    @inline(__always)
    private func digit(_ at: inout Int) -> UInt64? {
        let value = byte(at) &- UInt8(ascii: "0")
        guard value < 10, byte(at + 1) == UInt8(ascii: ",") || byte(at + 1) == UInt8(ascii: "]")
        else { return nil }
        at += 1
        return UInt64(value)
    }

    /// Reads an unsigned integer of at most 16 digits without needless zeros.
    @inline(__always)
    private func number(_ at: inout Int) -> UInt64? {
        let word = word(at: at)
        let digits = word ^ (Self.ones &* 0x30)
        let others = (digits | (digits &+ Self.ones &* 0x76)) & Self.highs
        let count = others.trailingZeroBitCount / 8
        guard count > 0, count == 1 || digits & 0xFF != 0 else { return nil }
        if count == 8 { return longNumber(Self.value(digits), &at) }
        at += count
        return Self.value(digits << UInt64(64 - 8 * count))
    }

    /// A number of which the first eight digits were read.
    @inline(__always)
    private func longNumber(_ high: UInt64, _ at: inout Int) -> UInt64? {
        let word = word(at: at + 8)
        let digits = word ^ (Self.ones &* 0x30)
        let others = (digits | (digits &+ Self.ones &* 0x76)) & Self.highs
        let count = others.trailingZeroBitCount / 8
        guard count < 8 else { return nil }
        at += 8 + count
        let low = count == 0 ? 0 : Self.value(digits << UInt64(64 - 8 * count))
        return high &* Self.powers[count] &+ low
    }

    private static let powers: [8 of UInt64] = [1, 10, 100, 1000, 10_000, 100_000, 1_000_000, 10_000_000]

    /// The value of eight digits, the first in the lowest byte.
    @inline(__always)
    private static func value(_ digits: UInt64) -> UInt64 {
        let pairs = (digits &* 10 &+ digits >> 8) & 0x00FF_00FF_00FF_00FF
        let fours = (pairs &* 100 &+ pairs >> 16) & 0x0000_FFFF_0000_FFFF
        return (fours &* 10_000 &+ fours >> 32) & 0xFFFF_FFFF
    }
}
