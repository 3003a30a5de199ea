internal import CZlib
internal import TensorCore

/// CRC-32 as zip and gzip use it, by zlib.
public enum CRC32 {
    /// The checksum of `bytes` that follow bytes with the checksum `previous` (0 at the start).
    public static func update(_ previous: UInt32, with bytes: RawSpan) -> UInt32 {
        unsafe bytes.withUnsafeBytes { buffer in
            let start = unsafe buffer.bindMemory(to: UInt8.self).baseAddress
            return UInt32(truncatingIfNeeded: unsafe crc32_z(UInt(previous), start, buffer.count))
        }
    }
}
