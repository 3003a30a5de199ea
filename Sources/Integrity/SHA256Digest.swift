internal import TensorCore

/// A SHA-256 digest: 32 bytes.
public struct SHA256Digest: Sendable, Hashable {
    private let words: [4 of UInt64]

    /// The digest with these 32 bytes.
    init(bytes: [32 of UInt8]) {
        var words: [4 of UInt64] = .init(repeating: 0)
        for index in 0..<32 { words[index / 8] = words[index / 8] << 8 | UInt64(bytes[index]) }
        self.words = words
    }

    /// The digest with these eight words of state.
    init(state: [8 of UInt32]) {
        words = [
            UInt64(state[0]) << 32 | UInt64(state[1]), UInt64(state[2]) << 32 | UInt64(state[3]),
            UInt64(state[4]) << 32 | UInt64(state[5]), UInt64(state[6]) << 32 | UInt64(state[7]),
        ]
    }

    /// The digest written as 64 hexadecimal digits, or nil where `hex` is anything else.
    public init?(hex: String) {
        var words: [4 of UInt64] = .init(repeating: 0)
        var count = 0
        for byte in hex.utf8 {
            let digit: UInt8
            switch byte {
            case 0x30...0x39: digit = byte - 0x30
            case 0x61...0x66: digit = byte - 0x61 + 10
            case 0x41...0x46: digit = byte - 0x41 + 10
            default: return nil
            }
            guard count < 64 else { return nil }
            words[count / 16] = words[count / 16] << 4 | UInt64(digit)
            count += 1
        }
        guard count == 64 else { return nil }
        self.words = words
    }

    /// 64 lower-case hexadecimal digits.
    public var hex: String {
        let digits = Array("0123456789abcdef".utf8)
        var result: [UInt8] = []
        result.reserveCapacity(64)
        for index in 0..<64 {
            result.append(digits[Int(words[index / 16] >> UInt64(60 - index % 16 * 4) & 15)])
        }
        return String(decoding: result, as: UTF8.self)
    }

    /// The digest of `bytes`.
    public static func of(_ bytes: RawSpan) -> SHA256Digest {
        var hasher = SHA256Hasher()
        hasher.update(bytes)
        return hasher.finish()
    }

    /// Compares all 32 bytes.
    public static func == (a: Self, b: Self) -> Bool {
        a.words[0] == b.words[0] && a.words[1] == b.words[1] && a.words[2] == b.words[2]
            && a.words[3] == b.words[3]
    }

    /// Feeds the first eight bytes, which are as good as random.
    public func hash(into hasher: inout Hasher) { hasher.combine(words[0]) }
}

extension SHA256Digest: CustomStringConvertible {
    /// The hexadecimal form.
    public var description: String { hex }
}
