/// Changes to whole elements in place.
public enum ElementBits {
    /// Reverses the bytes of each element of `width` bytes.
    public static func reverseBytes(of buffer: inout MutableRawSpan, width: Int) {
        switch width {
        case 2: map(&buffer, UInt16.self, \.byteSwapped)
        case 4: map(&buffer, UInt32.self, \.byteSwapped)
        case 8: map(&buffer, UInt64.self, \.byteSwapped)
        default:
            for start in stride(from: 0, to: buffer.byteCount - width + 1, by: width) {
                for index in 0..<width / 2 {
                    let (low, high) = (start + index, start + width - 1 - index)
                    let (first, last) = (buffer.bytes[low], buffer.bytes[high])
                    buffer.storeBytes(of: last, toByteOffset: low, as: UInt8.self)
                    buffer.storeBytes(of: first, toByteOffset: high, as: UInt8.self)
                }
            }
        }
    }

    /// Flips the top bit of byte `byte` of every `step` bytes.
    public static func flipSigns(of buffer: inout MutableRawSpan, byte: Int, every step: Int) {
        for index in stride(from: byte, to: buffer.byteCount, by: step) {
            buffer.storeBytes(of: buffer.bytes[index] ^ 0x80, toByteOffset: index, as: UInt8.self)
        }
    }

    /// Elements whose first bytes stand together, then their second ones, and so on, as elements again; bytes after
    /// the last whole element stay where they are.
    public static func unshuffled(_ bytes: [UInt8], width: Int) -> [UInt8] {
        let count = bytes.count / width
        var result = bytes
        for part in 0..<width {
            for index in 0..<count { result[index * width + part] = bytes[part * count + index] }
        }
        return result
    }

    /// Fills `buffer` with a pattern that repeats, from byte `phase` of it.
    public static func fill(_ buffer: inout MutableRawSpan, with pattern: Span<UInt8>, phase: Int) {
        let total = buffer.byteCount
        var done = min(total, pattern.count)
        for index in 0..<done {
            let value = pattern[(phase + index) % pattern.count]
            buffer.storeBytes(of: value, toByteOffset: index, as: UInt8.self)
        }
        // Each round doubles what is there.
        while done < total {
            let count = min(done, total - done)
            unsafe buffer.withUnsafeMutableBytes { bytes in
                // Sound: both ranges lie within the buffer and do not overlap, as done + count <= total.
                let source = unsafe UnsafeRawBufferPointer(rebasing: bytes[..<count])
                unsafe UnsafeMutableRawBufferPointer(rebasing: bytes[done..<done + count])
                    .copyMemory(from: source)
            }
            done += count
        }
    }

    @inline(__always)
    private static func map<T: BitwiseCopyable>(
        _ buffer: inout MutableRawSpan, _: T.Type, _ body: (T) -> T
    ) {
        let size = MemoryLayout<T>.size
        for offset in stride(from: 0, to: buffer.byteCount / size * size, by: size) {
            // Bounds are checked by the span; any bits are a value.
            let value = unsafe buffer.bytes.unsafeLoadUnaligned(fromByteOffset: offset, as: T.self)
            buffer.storeBytes(of: body(value), toByteOffset: offset, as: T.self)
        }
    }
}
