internal import StrictJSON
internal import TensorCore

/// Finds the strings of a header by their contents, compared as bytes after escapes are replaced.
///
/// An open-addressing table of four bytes a slot. The hash has a random key, so that nobody can choose names
/// that collide.
struct NameTable: Sendable {
    /// An index plus one in the low 24 bits, which hold more strings than a header of the largest size can,
    /// and eight bits of the hash above; 0 is an empty slot.
    private var slots: [UInt32]
    private let mask: Int
    private let seed: UInt64
    private let multiplier: UInt64

    /// Makes a table with room for `count` strings.
    init(count: Int) {
        var size = 4
        while size * 2 < count * 3 { size *= 2 }
        slots = Array(zeros: size)
        mask = size - 1
        seed = .random(in: .min ... .max)
        multiplier = .random(in: .min ... .max) | 1
    }

    /// Strings that equal earlier ones.
    struct Duplicates {
        /// The indices of the first ones, at most as many as warnings are kept.
        var first: [Int] = []
        var count = 0
        /// For each string whether a later one equals it; empty where none does.
        var isSuperseded: [Bool] = []
    }

    /// Enters all strings of `bytes` that open at `quotes`; of equal ones the last stays.
    mutating func enterAll(_ quotes: [UInt32], in bytes: RawSpan) -> Duplicates {
        var duplicates = Duplicates()
        // Blocks, so that the cache misses of a large table overlap.
        var hashes = [32 of UInt64](repeating: 0)
        var scratch: [UInt8] = []
        for start in stride(from: 0, to: quotes.count, by: hashes.count) {
            let count = min(hashes.count, quotes.count - start)
            for offset in 0..<count {
                hashes[offset] = hash(openedAt: Int(quotes[start + offset]), in: bytes, &scratch)
            }
            prefetch(hashes)
            for offset in 0..<count {
                let index = start + offset
                guard let previous = enter(index, hash: hashes[offset], of: quotes, in: bytes) else {
                    continue
                }
                if duplicates.count == 0 {
                    duplicates.isSuperseded = Array(repeating: false, count: quotes.count)
                }
                if duplicates.count < SafeTensorsWarnings.limit { duplicates.first.append(index) }
                duplicates.count += 1
                duplicates.isSuperseded[previous] = true
            }
        }
        return duplicates
    }

    /// Enters one string and returns the index of the equal one that it replaces, or nil.
    private mutating func enter(_ index: Int, hash: UInt64, of quotes: [UInt32], in bytes: RawSpan) -> Int? {
        let slot = slot(hash: hash) { Self.areEqual(quotes[index], quotes[$0], in: bytes) }
        let previous = Int(slots[slot] & 0xFF_FFFF) - 1
        slots[slot] = tag(hash) | UInt32(truncatingIfNeeded: index + 1)
        return previous < 0 ? nil : previous
    }

    /// The index of the string with these contents, or nil.
    func index(of contents: RawSpan, among quotes: [UInt32], in bytes: RawSpan) -> Int? {
        let slot = slot(hash: hash(contents)) { other in
            JSONText.opened(at: Int(quotes[other]), in: bytes).equals(contents, in: bytes)
        }
        let found = Int(slots[slot] & 0xFF_FFFF) - 1
        return found < 0 ? nil : found
    }

    /// The slot of the string with this hash for which `isSame` holds, or the empty slot where it belongs.
    @inline(__always)
    private func slot(hash: UInt64, isSame: (Int) -> Bool) -> Int {
        let tag = tag(hash)
        var slot = Int(truncatingIfNeeded: hash) & mask
        while slots[slot] != 0 {
            if slots[slot] & 0xFF00_0000 == tag, isSame(Int(slots[slot] & 0xFF_FFFF) - 1) { break }
            slot = (slot + 1) & mask
        }
        return slot
    }

    /// Touches the slots where strings with these hashes belong.
    private func prefetch(_ hashes: [32 of UInt64]) {
        var indices: UInt32 = 0
        for index in hashes.indices {
            indices |= slots[Int(truncatingIfNeeded: hashes[index]) & mask] & 0xFF_FFFF
        }
        // Always true, which the compiler does not know: it must do the loads.
        precondition(indices <= 0xFF_FFFF)
    }

    private static func areEqual(_ a: UInt32, _ b: UInt32, in bytes: RawSpan) -> Bool {
        let other = JSONText.opened(at: Int(b), in: bytes)
        let text = JSONText.opened(at: Int(a), in: bytes)
        if text.hasEscapes { return other.equals(text.utf8(in: bytes), in: bytes) }
        return other.equals(bytes.extracting(text.start..<text.end), in: bytes)
    }

    private func tag(_ hash: UInt64) -> UInt32 { UInt32(truncatingIfNeeded: hash >> 32) & 0xFF00_0000 }

    /// The hash of the string that opens at `quote`, found while looking for its end.
    ///
    /// - Parameter scratch: memory for strings whose escapes must be replaced.
    private func hash(openedAt quote: Int, in bytes: RawSpan, _ scratch: inout [UInt8]) -> UInt64 {
        var state = seed
        let start = quote + 1
        var position = start
        while position + 8 <= bytes.byteCount {
            let word = bytes.load(littleEndian: UInt64.self, at: position)
            let quotes = Self.marks(word, UInt8(ascii: "\""))
            let escapes = Self.marks(word, UInt8(ascii: "\\"))
            guard quotes | escapes != 0 else {
                fold(&state, word)
                position += 8
                continue
            }
            // The lowest mark is exact; those above it may be false.
            let lowest = quotes & (0 &- quotes)
            guard quotes != 0, escapes & (lowest &- 1) == 0 else { break }
            let count = position - start + quotes.trailingZeroBitCount / 8
            return finish(&state, word & ((lowest >> 7) &- 1), count: count)
        }
        let text = JSONText.opened(at: quote, in: bytes)
        guard text.hasEscapes else { return hash(bytes.extracting(text.start..<text.end)) }
        scratch.removeAll(keepingCapacity: true)
        text.append(to: &scratch, from: bytes)
        return hash(RawSpan(_elements: scratch.span))
    }

    /// A keyed hash: each word is folded in by a full-width multiplication.
    private func hash(_ contents: RawSpan) -> UInt64 {
        var state = seed
        var position = 0
        while position + 8 <= contents.byteCount {
            fold(&state, contents.load(littleEndian: UInt64.self, at: position))
            position += 8
        }
        var rest: UInt64 = 0
        for offset in position..<contents.byteCount {
            rest |= UInt64(contents[offset]) << UInt64(8 * (offset - position))
        }
        return finish(&state, rest, count: contents.byteCount)
    }

    @inline(__always)
    private func finish(_ state: inout UInt64, _ rest: UInt64, count: Int) -> UInt64 {
        fold(&state, rest)
        fold(&state, UInt64(count))
        return state
    }

    @inline(__always)
    private func fold(_ state: inout UInt64, _ word: UInt64) {
        let product = (state ^ word).multipliedFullWidth(by: multiplier)
        state = product.high ^ product.low &+ word
    }

    /// The top bit of each byte of `word` that is `byte`, exact up to the lowest one.
    @inline(__always)
    private static func marks(_ word: UInt64, _ byte: UInt8) -> UInt64 {
        let ones: UInt64 = 0x0101_0101_0101_0101
        let flipped = word ^ (ones &* UInt64(byte))
        return (flipped &- ones) & ~flipped & (ones &* 0x80)
    }
}
