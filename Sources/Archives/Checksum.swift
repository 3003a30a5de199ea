internal import CZlib
internal import TensorCore

/// The CRC-32 of zip and gzip over `bytes`, continuing from `seed`, the CRC-32 of what came before.
public func crc32(_ bytes: RawSpan, seed: UInt32 = 0) -> UInt32 {
    // zlib takes a null pointer, which an empty span may have, as a request for the initial value.
    if bytes.byteCount == 0 { return seed }
    return unsafe bytes.withUnsafeBytes { buffer in
        // Sound: zlib reads exactly `count` bytes from the start of the span and keeps nothing.
        UInt32(
            truncatingIfNeeded: unsafe crc32_z(
                uLong(seed), buffer.baseAddress?.assumingMemoryBound(to: UInt8.self), buffer.count))
    }
}
