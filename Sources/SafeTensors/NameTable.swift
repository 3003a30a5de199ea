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

    /// Makes a table for `count` strings.
    init(count: Int) {
        var size = 4
        while size * 2 < count * 3 { size *= 2 }
        slots = Array(repeating: 0, count: size)
        mask = size - 1
        seed = .random(in: .min ... .max)
        multiplier = .random(in: .min ... .max) | 1
    }

    /// Enters string number `index` of those that open at `quotes`, and returns the number of the equal one
    /// that stood in its place before, or nil.
    mutating func enter(_ index: Int, of quotes: [UInt32], in bytes: RawSpan) -> Int? {
        let text = JSONText.opened(at: Int(quotes[index]), in: bytes)
        if text.hasEscapes {
            let decoded = text.utf8(in: bytes)
            return enter(index, RawSpan(_elements: decoded.span), of: quotes, in: bytes)
        }
        return enter(index, bytes.extracting(text.start..<text.end), of: quotes, in: bytes)
    }

    private mutating func enter(
        _ index: Int, _ contents: RawSpan, of quotes: [UInt32], in bytes: RawSpan
    ) -> Int? {
        let hash = hash(contents)
        let slot = slot(of: contents, hash: hash, of: quotes, in: bytes)
        let previous = Int(slots[slot] & 0xFF_FFFF) - 1
        slots[slot] = tag(hash) | UInt32(truncatingIfNeeded: index + 1)
        return previous < 0 ? nil : previous
    }

    /// The number of the string with these contents, or nil.
    func index(of contents: RawSpan, among quotes: [UInt32], in bytes: RawSpan) -> Int? {
        let slot = slot(of: contents, hash: hash(contents), of: quotes, in: bytes)
        let found = Int(slots[slot] & 0xFF_FFFF) - 1
        return found < 0 ? nil : found
    }

    /// The slot of the string with these contents, or the empty slot where it belongs.
    private func slot(of contents: RawSpan, hash: UInt64, of quotes: [UInt32], in bytes: RawSpan) -> Int {
        let tag = tag(hash)
        var slot = Int(truncatingIfNeeded: hash) & mask
        while slots[slot] != 0 {
            if slots[slot] & 0xFF00_0000 == tag {
                let quote = quotes[Int(slots[slot] & 0xFF_FFFF) - 1]
                let text = JSONText.opened(at: Int(quote), in: bytes)
                if text.equals(contents, in: bytes) { return slot }
            }
            slot = (slot + 1) & mask
        }
        return slot
    }

    private func tag(_ hash: UInt64) -> UInt32 { UInt32(truncatingIfNeeded: hash >> 40) & 0xFF00_0000 }

    /// A keyed hash: each word is folded in by a full-width multiplication.
    private func hash(_ contents: RawSpan) -> UInt64 {
        var state = seed ^ UInt64(contents.byteCount)
        var position = 0
        while position + 8 <= contents.byteCount {
            fold(&state, contents.load(littleEndian: UInt64.self, at: position))
            position += 8
        }
        var rest: UInt64 = 0
        while position < contents.byteCount {
            rest = rest << 8 | UInt64(contents[position])
            position += 1
        }
        fold(&state, rest)
        fold(&state, seed)
        return state
    }

    @inline(__always)
    private func fold(_ state: inout UInt64, _ word: UInt64) {
        let product = (state ^ word).multipliedFullWidth(by: multiplier)
        state = product.high ^ product.low &+ word
    }
}
