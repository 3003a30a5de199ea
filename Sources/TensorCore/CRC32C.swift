/// The CRC-32 with Castagnoli's polynomial that OCDBT nodes and zarr shards end with.
///
/// Byte by byte through a table: for indexes, not for tensors.
public struct CRC32C: Sendable {
    private static let table: [UInt32] = (0..<256).map { byte in
        (0..<8).reduce(UInt32(byte)) { crc, _ in crc & 1 == 1 ? crc >> 1 ^ 0x82F6_3B78 : crc >> 1 }
    }

    private var state: UInt32 = .max

    /// Makes the checksum of nothing.
    public init() {}

    /// Adds the bytes that come next.
    public mutating func update(_ bytes: RawSpan) {
        let table = Self.table
        let entries = table.span
        var crc = state
        for offset in 0..<bytes.byteCount {
            crc = crc >> 8 ^ entries[Int(UInt8(truncatingIfNeeded: crc) ^ bytes[offset])]
        }
        state = crc
    }

    /// The checksum of all bytes so far.
    public var value: UInt32 { ~state }

    /// The checksum of a range of a source, read a little at a time.
    public static func value(of range: Range<UInt64>, in source: any ByteSource) throws(IOError) -> UInt32 {
        var crc = CRC32C()
        let scratch = PageBuffer(capacity: Int(min(1 << 20, range.upperBound - range.lowerBound)))
        var position = range.lowerBound
        while position < range.upperBound {
            let count = Int(min(UInt64(scratch.capacity), range.upperBound - position))
            try scratch.withMutableBytes(count: count) { (bytes) throws(IOError) in
                try source.read(at: position, into: &bytes)
            }
            scratch.withBytes(count: count) { crc.update($0) }
            position += UInt64(count)
        }
        return crc.value
    }
}
