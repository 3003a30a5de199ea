/// The characters of a name, as patterns see them: Unicode scalars, and each byte that is no UTF-8 as a number
/// above them.
///
/// Nothing is normalised, so two spellings of `é` are two names here too.
enum NameUnits {
    private static let byteBase: UInt32 = 0x11_0000

    /// The characters of a name's bytes.
    static func units(of bytes: [UInt8]) -> [UInt32] {
        if bytes.allSatisfy({ $0 < 0x80 }) { return bytes.map(UInt32.init) }
        var units: [UInt32] = []
        var rest = bytes[...]
        while let byte = rest.first {
            let length = byte < 0xC0 ? 1 : byte < 0xE0 ? 2 : byte < 0xF0 ? 3 : 4
            if let scalar = String(validating: rest.prefix(length), as: UTF8.self)?.unicodeScalars.first {
                units.append(scalar.value)
                rest = rest.dropFirst(length)
            } else {
                units.append(byteBase + UInt32(byte))
                rest = rest.dropFirst()
            }
        }
        return units
    }

    /// The characters of a text.
    static func units(of text: String) -> [UInt32] { text.unicodeScalars.map(\.value) }

    /// Appends the bytes of characters to `bytes`.
    static func append(_ units: some Sequence<UInt32>, to bytes: inout [UInt8]) {
        for unit in units {
            if let scalar = Unicode.Scalar(unit) {
                bytes.append(contentsOf: UTF8.encode(scalar) ?? .init())
            } else if unit >= byteBase {
                bytes.append(UInt8(truncatingIfNeeded: unit - byteBase))
            }
        }
    }
}

/// A set of characters.
struct UnitSet: Sendable, Equatable {
    private var ranges: [ClosedRange<UInt32>] = []
    private var isNegated = false
    /// The members below 128.
    private var ascii: (UInt64, UInt64) = (0, 0)

    /// Every character.
    static let any = UnitSet([]).negated

    init(_ ranges: [ClosedRange<UInt32>]) {
        for range in ranges { insert(range) }
    }

    init(_ unit: UInt32) { self.init([unit...unit]) }

    /// The character, where it is one.
    var onlyMember: UInt32? {
        guard !isNegated, ranges.count == 1, let range = ranges.first, range.count == 1 else { return nil }
        return range.lowerBound
    }

    /// All that is not in this set.
    var negated: UnitSet {
        var result = self
        result.isNegated.toggle()
        return result
    }

    /// The set with the other case of its ASCII letters too.
    var ignoringCase: UnitSet {
        var result = self
        for letter in UInt32(0x41)...0x5A {
            let (upper, lower) = (holds(letter), holds(letter + 32))
            if upper && !lower { result.insert(letter + 32...letter + 32) }
            if lower && !upper { result.insert(letter...letter) }
        }
        return result
    }

    mutating func insert(_ range: ClosedRange<UInt32>) {
        ranges.append(range)
        guard range.lowerBound < 128 else { return }
        for unit in range.lowerBound...min(range.upperBound, 127) {
            if unit < 64 { ascii.0 |= 1 << UInt64(unit) } else { ascii.1 |= 1 << UInt64(unit - 64) }
        }
    }

    /// Adds what is in another set; the complement of a negated one.
    mutating func insert(_ other: UnitSet) {
        guard other.isNegated else { return other.ranges.forEach { insert($0) } }
        var next: UInt32 = 0
        for range in other.ranges.sorted(by: { $0.lowerBound < $1.lowerBound }) {
            if range.lowerBound > next { insert(next...range.lowerBound - 1) }
            next = max(next, range.upperBound + 1)
        }
        insert(next...UInt32.max)
    }

    func contains(_ unit: UInt32) -> Bool { holds(unit) != isNegated }

    private func holds(_ unit: UInt32) -> Bool {
        if unit < 64 { return ascii.0 >> UInt64(unit) & 1 == 1 }
        if unit < 128 { return ascii.1 >> UInt64(unit - 64) & 1 == 1 }
        return ranges.contains { $0.contains(unit) }
    }

    static func == (a: UnitSet, b: UnitSet) -> Bool { a.ranges == b.ranges && a.isNegated == b.isNegated }
}
