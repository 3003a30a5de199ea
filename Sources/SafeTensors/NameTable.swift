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
    private let seed: UInt64
    private let multiplier: UInt64

    /// Makes a table with room for `count` strings.
    init(count: Int) {
        slots = Array(zeros: max(4, count + count / 2))
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

        fileprivate mutating func note(_ index: Int, superseding previous: Int, among total: Int) {
            if count == 0 { isSuperseded = Array(repeating: false, count: total) }
            if count < SafeTensorsWarnings.limit { first.append(index) }
            count += 1
            if previous < total { isSuperseded[previous] = true }
        }
    }

    /// Memory for two strings whose escapes are replaced.
    private struct Scratch {
        private var first: [UInt8] = []
        private var second: [UInt8] = []

        /// The contents of `text`, until the next call.
        @_lifetime(&self)
        mutating func contents(of text: JSONText, in bytes: RawSpan) -> RawSpan {
            first.removeAll(keepingCapacity: true)
            text.append(to: &first, from: bytes)
            return RawSpan(_elements: first.span)
        }

        /// True where the strings that open at `a` and `b` are equal.
        mutating func areEqual(_ a: UInt32, _ b: UInt32, in bytes: RawSpan) -> Bool {
            let text = JSONText.opened(at: Int(a), in: bytes)
            let other = JSONText.opened(at: Int(b), in: bytes)
            let spelling = bytes.extracting(text.start..<text.end)
            if !text.hasEscapes { return other.equals(spelling, in: bytes) }
            first.removeAll(keepingCapacity: true)
            text.append(to: &first, from: bytes)
            second.removeAll(keepingCapacity: true)
            other.append(to: &second, from: bytes)
            return first == second
        }
    }

    /// Enters all strings of `bytes` that open at `quotes`; of equal ones the last stays.
    ///
    /// - Parameter onlyFirst: whether to stop at the first string that equals an earlier one.
    mutating func enterAll(_ quotes: [UInt32], in bytes: RawSpan, onlyFirst: Bool) -> Duplicates {
        var duplicates = Duplicates()
        // Blocks, so that the cache misses of a large table overlap.
        var hashes = [32 of UInt64](repeating: 0)
        var scratch = Scratch()
        for start in stride(from: 0, to: quotes.count, by: hashes.count) {
            let count = min(hashes.count, quotes.count - start)
            for offset in 0..<count {
                hashes[offset] = hash(openedAt: Int(quotes[start + offset]), in: bytes, &scratch)
            }
            prefetch(hashes)
            for offset in 0..<count {
                let index = start + offset
                guard
                    let previous = enter(index, hash: hashes[offset], of: quotes, in: bytes, &scratch)
                else { continue }
                duplicates.note(index, superseding: previous, among: onlyFirst ? 0 : quotes.count)
                if onlyFirst { return duplicates }
            }
        }
        return duplicates
    }

    /// Enters one string and returns the index of the equal one that it replaces, or nil.
    private mutating func enter(
        _ index: Int, hash: UInt64, of quotes: [UInt32], in bytes: RawSpan, _ scratch: inout Scratch
    ) -> Int? {
        let slot = slot(hash: hash) { scratch.areEqual(quotes[index], quotes[$0], in: bytes) }
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
        var slot = firstSlot(hash)
        while slots[slot] != 0 {
            if slots[slot] & 0xFF00_0000 == tag, isSame(Int(slots[slot] & 0xFF_FFFF) - 1) { break }
            slot = slot + 1 == slots.count ? 0 : slot + 1
        }
        return slot
    }

    /// The slot where a string with this hash belongs: the upper half of the hash scaled to the table.
    @inline(__always)
    private func firstSlot(_ hash: UInt64) -> Int { Int(((hash >> 32) &* UInt64(slots.count)) >> 32) }

    /// Touches the slots where strings with these hashes belong.
    private func prefetch(_ hashes: [32 of UInt64]) {
        var indices: UInt32 = 0
        for index in hashes.indices {
            indices |= slots[firstSlot(hashes[index])] & 0xFF_FFFF
        }
        // Always true, which the compiler does not know: it must do the loads.
        precondition(indices <= 0xFF_FFFF)
    }

    private func tag(_ hash: UInt64) -> UInt32 { UInt32(truncatingIfNeeded: hash) & 0xFF00_0000 }

    /// The hash of the string that opens at `quote`, found while looking for its end.
    ///
    /// - Parameter scratch: memory for strings whose escapes must be replaced.
    private func hash(openedAt quote: Int, in bytes: RawSpan, _ scratch: inout Scratch) -> UInt64 {
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
        return hash(scratch.contents(of: text, in: bytes))
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
