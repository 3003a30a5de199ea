internal import StrictJSON
internal import TensorCore

/// Reads entries in the spelling that writers use, several times faster than token by token.
///
/// `"name":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}` with the fields in any order, at most one space
/// after a colon or comma, and nothing to warn of. Anything else is left to the tokenizer from the entry's
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
        let start = position
        if let entry = entry(isFirst: isFirst) { return entry }
        position = start
        return nil
    }
}

// MARK: - Grammar

extension PlainEntryReader {
    @inline(__always)
    private mutating func entry(isFirst: Bool) -> Entry? {
        if !isFirst { guard skip(UInt8(ascii: ",")) else { return nil } }
        let name = position
        guard skipName(), skip(UInt8(ascii: ":")) else { return nil }
        var entry = Entry(name: name, dtype: .u8, shape: 0, elementCount: 1, begin: 0, end: 0)
        if skip(UInt8(ascii: "{")) { return fields(of: &entry) ? entry : nil }
        let array = position
        guard allowsArrays, skip(UInt8(ascii: "[")), dtype(of: &entry), skip(UInt8(ascii: ",")),
            shape(of: &entry), skip(UInt8(ascii: ",")), offsets(of: &entry), skipLast(UInt8(ascii: "]"))
        else { return nil }
        entry.array = array
        return entry
    }

    /// The three fields in any order and the closing brace.
    @inline(__always)
    private mutating func fields(of entry: inout Entry) -> Bool {
        var seen: UInt8 = 0
        while true {
            guard let word = word(at: position) else { return false }
            let field: UInt8
            switch word {
            case Self.dtypeKey:
                advance(8)
                field = 1
                guard dtype(of: &entry) else { return false }
            case Self.shapeKey:
                advance(8)
                field = 2
                guard shape(of: &entry) else { return false }
            case Self.offsetsKeyStart:
                guard let rest = self.word(at: position + 7), rest == Self.offsetsKeyEnd else { return false }
                advance(15)
                field = 4
                guard offsets(of: &entry) else { return false }
            default: return false
            }
            guard seen & field == 0 else { return false }
            seen |= field
            if seen == 7 { return skipLast(UInt8(ascii: "}")) }
            guard skip(UInt8(ascii: ",")) else { return false }
        }
    }

    @inline(__always)
    private mutating func dtype(of entry: inout Entry) -> Bool {
        guard byte(position) == UInt8(ascii: "\""), let word = word(at: position + 1) else { return false }
        let quotes = Self.marks(word, UInt8(ascii: "\""))
        guard quotes != 0 else { return longDType(of: &entry) }
        // The quote and what precedes it: no two dtypes have the same.
        let spelling = word & (quotes ^ (quotes &- 1))
        if spelling != dtypeWord {
            let text = JSONText.opened(at: position, in: bytes)
            guard !text.hasEscapes, let dtype = DTypeSpelling.dtype(text, in: bytes) else { return false }
            dtypeWord = spelling
            lastDType = dtype
        }
        entry.dtype = lastDType
        position += 2 + quotes.trailingZeroBitCount / 8
        return true
    }

    private mutating func longDType(of entry: inout Entry) -> Bool {
        let text = JSONText.opened(at: position, in: bytes)
        guard let dtype = DTypeSpelling.dtype(text, in: bytes) else { return false }
        entry.dtype = dtype
        position = text.end + 1
        return true
    }

    @inline(__always)
    private mutating func shape(of entry: inout Entry) -> Bool {
        guard byte(position) == UInt8(ascii: "[") else { return false }
        entry.shape = position
        position += 1
        if skipLast(UInt8(ascii: "]")) { return true }
        while true {
            guard let dimension = digit() ?? number() else { return false }
            if let count = entry.elementCount {
                let (product, overflow) = count.multipliedReportingOverflow(by: dimension)
                entry.elementCount = overflow ? nil : product
            }
            if skipLast(UInt8(ascii: "]")) { return true }
            guard skip(UInt8(ascii: ",")) else { return false }
        }
    }

    @inline(__always)
    private mutating func offsets(of entry: inout Entry) -> Bool {
        guard skipLast(UInt8(ascii: "[")), let begin = number(), skip(UInt8(ascii: ",")), let end = number(),
            skipLast(UInt8(ascii: "]"))
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
    /// `"dtype":`
    private static let dtypeKey: UInt64 = 0x3A22_6570_7974_6422
    /// `"shape":`
    private static let shapeKey: UInt64 = 0x3A22_6570_6168_7322
    /// `"data_of`
    private static let offsetsKeyStart: UInt64 = 0x666F_5F61_7461_6422
    /// `ffsets":`
    private static let offsetsKeyEnd: UInt64 = 0x3A22_7374_6573_6666
    /// `__metada`
    private static let metadataStart: UInt64 = 0x6164_6174_656D_5F5F

    /// The top bit of each byte of `word` that is `byte`, exact up to the lowest one.
    @inline(__always)
    private static func marks(_ word: UInt64, _ byte: UInt8) -> UInt64 {
        let flipped = word ^ (ones &* UInt64(byte))
        return (flipped &- ones) & ~flipped & highs
    }

    @inline(__always)
    private func word(at offset: Int) -> UInt64? {
        guard offset + 8 <= bytes.byteCount else { return nil }
        return bytes.load(littleEndian: UInt64.self, at: offset)
    }

    /// The byte at `offset`, or zero past the end.
    @inline(__always)
    private func byte(_ offset: Int) -> UInt8 { offset < bytes.byteCount ? bytes[offset] : 0 }

    /// Passes over `count` bytes and one space.
    @inline(__always)
    private mutating func advance(_ count: Int) {
        position += count
        if byte(position) == 0x20 { position += 1 }
    }

    /// Passes over `expected` and one space, if it stands here.
    @inline(__always)
    private mutating func skip(_ expected: UInt8) -> Bool {
        guard byte(position) == expected else { return false }
        advance(1)
        return true
    }

    /// Passes over `expected`, if it stands here.
    @inline(__always)
    private mutating func skipLast(_ expected: UInt8) -> Bool {
        guard byte(position) == expected else { return false }
        position += 1
        return true
    }

    /// Passes over a name with its quotes, unless it holds escapes or control characters, is empty or may be
    /// `__metadata__`.
    @inline(__always)
    private mutating func skipName() -> Bool {
        let start = position + 1
        guard byte(position) == UInt8(ascii: "\""), let first = word(at: start), first != Self.metadataStart
        else { return false }
        var word = first
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
                position = end + 1
                return true
            }
            end += 8
            guard let next = self.word(at: end) else { return false }
            word = next
        }
    }

    /// Reads a number of one digit: a branch that is foreseen in a long shape of small dimensions.
    @inline(__always)
    private mutating func digit() -> UInt64? {
        let value = byte(position) &- UInt8(ascii: "0")
        guard value < 10, byte(position + 1) == UInt8(ascii: ",") || byte(position + 1) == UInt8(ascii: "]")
        else { return nil }
        position += 1
        return UInt64(value)
    }

    /// Reads an unsigned integer of at most 16 digits without needless zeros.
    @inline(__always)
    private mutating func number() -> UInt64? {
        guard let word = word(at: position) else { return nil }
        let digits = word ^ (Self.ones &* 0x30)
        let others = (digits | (digits &+ Self.ones &* 0x76)) & Self.highs
        let count = others.trailingZeroBitCount / 8
        guard count > 0, count == 1 || digits & 0xFF != 0 else { return nil }
        if count == 8 { return longNumber(Self.value(digits)) }
        position += count
        return Self.value(digits << UInt64(64 - 8 * count))
    }

    /// A number of which the first eight digits were read.
    @inline(__always)
    private mutating func longNumber(_ high: UInt64) -> UInt64? {
        guard let word = word(at: position + 8) else { return nil }
        let digits = word ^ (Self.ones &* 0x30)
        let others = (digits | (digits &+ Self.ones &* 0x76)) & Self.highs
        let count = others.trailingZeroBitCount / 8
        guard count < 8 else { return nil }
        position += 8 + count
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
