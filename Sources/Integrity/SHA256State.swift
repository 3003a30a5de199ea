internal import TensorCore

/// A SHA-256 on its way: what has been added so far, small enough to be kept in a journal.
public struct SHA256State: Sendable {
    var words: [8 of UInt32] = [
        0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab,
        0x5be0_cd19,
    ]
    /// The start of a block that is not whole yet.
    var pending: [64 of UInt8] = .init(repeating: 0)
    var pendingCount = 0
    /// The bytes that have been added.
    public internal(set) var byteCount: UInt64 = 0

    /// The state before the first byte.
    public init() {}

    /// Keeps bytes of a block for later; the block must have room for them.
    mutating func keep(_ bytes: RawSpan) {
        for index in 0..<bytes.byteCount { pending[pendingCount + index] = bytes[index] }
        pendingCount += bytes.byteCount
    }
}

/// As text: the number of bytes, a colon, the words and the pending bytes in hexadecimal digits.
extension SHA256State {
    /// The state as text.
    public var text: String {
        var digits: [UInt8] = []
        func add(_ byte: UInt8) {
            for nibble in [byte >> 4, byte & 15] {
                digits.append(nibble < 10 ? 0x30 + nibble : 0x57 + nibble)
            }
        }
        for index in 0..<8 {
            for shift in [24, 16, 8, 0] as [UInt32] { add(UInt8(truncatingIfNeeded: words[index] >> shift)) }
        }
        for index in 0..<pendingCount { add(pending[index]) }
        return "\(byteCount):" + String(decoding: digits, as: UTF8.self)
    }

    /// Reads what ``text`` gives, or nil where it is anything else.
    public init?(text: String) {
        let parts = text.utf8.split(separator: 0x3A, maxSplits: 1, omittingEmptySubsequences: false)
        guard parts.count == 2, let count = UInt64(String(parts[0]) ?? ""),
            "\(count)".utf8.elementsEqual(parts[0]),
            parts[1].count == 64 + 2 * Int(count % 64)
        else { return nil }
        var bytes: [UInt8] = []
        for (index, digit) in parts[1].enumerated() {
            let value: UInt8
            switch digit {
            case 0x30...0x39: value = digit - 0x30
            case 0x61...0x66: value = digit - 0x57
            default: return nil
            }
            if index % 2 == 0 { bytes.append(value << 4) } else { bytes[index / 2] |= value }
        }
        self.init()
        byteCount = count
        for index in 0..<8 {
            words[index] = bytes[4 * index..<4 * index + 4].reduce(0) { $0 << 8 | UInt32($1) }
        }
        keep(bytes.span.bytesView.extracting(32..<bytes.count))
    }
}
