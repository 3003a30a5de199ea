/// A small generator whose sequence depends on its seed only (SplitMix64).
public struct SeededRandom: RandomNumberGenerator, Sendable {
    private var state: UInt64

    /// Starts the sequence of a seed.
    public init(seed: UInt64) { state = seed }

    /// The next number.
    public mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }

    /// True once in `count` times.
    public mutating func oneIn(_ count: UInt64) -> Bool { next() % count == 0 }

    /// A number below `count`, which is not 0.
    public mutating func below(_ count: Int) -> Int { Int(next() % UInt64(count)) }

    /// One of some values.
    public mutating func pick<T>(_ values: [T]) -> T { values[below(values.count)] }
}

/// Changes files a little.
public enum Mutator {
    private static let tokens: [[UInt8]] =
        [
            "{", "}", "[", "]", ",", ":", "\"", "\\", "0", "1", "9", "-", ".", "e9", "null", " ", "\n",
            "\u{0}",
            "\"a\":", "\"dtype\":\"F32\"", ",\"x\":1", "[1]", "\\u0041", "\u{2028}", "\u{FEFF}", "\u{E9}",
            "__metadata__", "\\ud800", "18446744073709551616", "1e309", "\"F4\"", "[0,0]",
        ].map { Array($0.utf8) } + [
            [0xFF], [0xC3], [0xED, 0xA0, 0x80], [0xF4, 0x90, 0x80, 0x80], [0xC0, 0x80],
        ]

    /// Changes one to five places of a file, most of them after the first `fixed` bytes.
    public static func mutate(_ bytes: inout [UInt8], fixed: Int = 0, _ random: inout SeededRandom) {
        for _ in 0..<random.pick([1, 1, 1, 2, 3, 5]) {
            let low = random.oneIn(10) ? 0 : fixed
            guard bytes.count > low else {
                bytes += random.pick(tokens)
                continue
            }
            let position = low + random.below(bytes.count - low)
            change(&bytes, at: position, low: low, &random)
        }
    }

    private static func change(
        _ bytes: inout [UInt8], at position: Int, low: Int, _ random: inout SeededRandom
    ) {
        let end = min(bytes.count, position + random.pick([1, 1, 2, 5, 20]))
        switch random.below(20) {
        case 0..<5: bytes[position] = UInt8(truncatingIfNeeded: random.next())
        case 5..<8: bytes[position] ^= 1 << UInt8(random.below(8))
        case 8..<12: bytes.insert(contentsOf: random.pick(tokens), at: position)
        case 12..<15: bytes.removeSubrange(position..<end)
        case 15..<17:
            let start = low + random.below(bytes.count - low)
            let copy = Array(bytes[start..<min(bytes.count, start + 1 + random.below(20))])
            bytes.insert(contentsOf: copy, at: position)
        default: bytes.replaceSubrange(position..<position + 1, with: random.pick(tokens))
        }
    }

    /// Makes the header length fit a header that ends at the last brace.
    public static func mendHeaderLength(_ bytes: inout [UInt8]) {
        guard let brace = bytes.lastIndex(of: UInt8(ascii: "}")), brace >= 8 else { return }
        let count = UInt64(brace - 7)
        for index in 0..<8 { bytes[index] = UInt8(truncatingIfNeeded: count >> (8 * UInt64(index))) }
    }
}

extension Mutator {
    /// Puts another number, often an odd one, in place of one in a text.
    public static func replaceNumber(_ bytes: inout [UInt8], _ random: inout SeededRandom) {
        let starts = bytes.indices.filter { place in
            0x30...0x39 ~= bytes[place] && (place == 0 || !(0x30...0x39 ~= bytes[place - 1]))
        }
        guard !starts.isEmpty else { return }
        let start = random.pick(starts)
        let end = bytes[start...].firstIndex { !(0x30...0x39 ~= $0) } ?? bytes.endIndex
        let number = random.pick([
            "0", "1", "2", "3", "4", "5", "6", "7", "8", "12", "16", "24", "48", "100", "65535", "65536",
            "65537",
            "4294967295", "1099511627776", "9223372036854775807", "18446744073709551615", "1e400",
        ])
        bytes.replaceSubrange(start..<end, with: Array(number.utf8))
    }
}
