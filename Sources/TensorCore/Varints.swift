/// Numbers in groups of seven bits, the lowest first.
public enum Varints {
    /// Decodes numbers and writes the low bytes of each.
    ///
    /// Traps where the output has no room.
    ///
    /// - Parameters:
    ///   - source: the numbers; it may hold more than are wanted.
    ///   - width: the bytes to write of each, at most 8.
    ///   - skipped: how many to leave out first.
    ///   - count: how many to write.
    ///   - destination: where they go.
    ///   - offset: the first byte of it that is written.
    /// - Returns: false where a number is longer than 64 bits or there are not enough.
    public static func decode(
        _ source: RawSpan, width: Int, skipping skipped: Int, count: Int,
        into destination: inout MutableRawSpan, at offset: Int
    ) -> Bool {
        var position = 0
        for index in 0..<skipped + count {
            var value: UInt64 = 0
            var shift: UInt64 = 0
            while true {
                guard position < source.byteCount, shift < 70 else { return false }
                let byte = source[position]
                position += 1
                value |= shift < 64 ? UInt64(byte & 0x7F) << shift : 0
                shift += 7
                if byte < 0x80 { break }
            }
            if index < skipped { continue }
            let start = offset + (index - skipped) * width
            for part in 0..<width {
                destination.storeBytes(
                    of: UInt8(truncatingIfNeeded: value >> UInt64(8 * part)), toByteOffset: start + part,
                    as: UInt8.self)
            }
        }
        return true
    }
}
