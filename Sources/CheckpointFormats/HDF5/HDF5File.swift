internal import Checkpoints
internal import TensorCore

/// A file of HDF5, or a range of one that is one, read structure by structure.
final class HDF5File {
    let source: any ByteSource
    /// What the file is called in messages.
    let name: String
    /// The part of an archive that it is, for messages.
    let member: String?
    /// Where it begins and ends in the source.
    let range: Range<UInt64>
    /// The address of the header of its first group.
    private(set) var root: UInt64 = 0
    private var structures = 0
    private var byteCount = 0
    private var chunkCount: UInt64 = 0

    static let magic: [UInt8] = [0x89, 0x48, 0x44, 0x46, 0x0D, 0x0A, 0x1A, 0x0A]
    /// An address that leads nowhere.
    static let nowhere = UInt64.max

    /// Structures and bytes of such, over the whole file.
    private static let structureLimit = 2_000_000
    private static let byteLimit = 128 << 20
    /// Chunks of all datasets, also those that were never written.
    private static let chunkLimit: UInt64 = 1 << 18

    init(
        _ source: any ByteSource, range: Range<UInt64>, name: String, member: String? = nil
    ) throws(CheckpointError) {
        self.source = source
        self.range = range
        self.name = name
        self.member = member
        var start = try cursor(at: 0, count: Int(min(96, range.upperBound - range.lowerBound)))
        guard try start.take(8).elementsEqual(Self.magic) else {
            throw error(.malformed, "not-hdf5", "it does not begin as an HDF5 file does", at: 0)
        }
        let version = try start.u8()
        guard version <= 3 else {
            throw error(.unsupported, "hdf5-version", "its superblock has version \(version)", at: 8)
        }
        if version < 2 { try start.skip(4) }
        let sizes = (try start.u8(), try start.u8())
        guard sizes == (8, 8) else {
            throw error(
                .unsupported, "hdf5-sizes", "its addresses have \(sizes.0) bytes, and 8 are read", at: 9)
        }
        switch version {
        case 0: try start.skip(9)
        case 1: try start.skip(13)
        default: try start.skip(1)
        }
        guard try start.u64() == 0 else {
            throw error(.unsupported, "hdf5-base", "its addresses do not count from its beginning", at: 8)
        }
        try start.skip(8)
        let end = try start.u64()
        guard end <= range.upperBound - range.lowerBound else {
            throw error(.malformed, "truncated", "it ends before byte \(end), as it says it does", at: 8)
        }
        if version < 2 { try start.skip(16) }
        root = try start.u64()
    }

    /// The bytes at an address, to read a structure from.
    func cursor(at address: UInt64, count: Int) throws(CheckpointError) -> HDF5Cursor {
        structures += 1
        byteCount += count
        guard structures <= Self.structureLimit, byteCount <= Self.byteLimit else {
            throw error(.malformed, "hdf5-limit", "its structures are larger than any model's", at: address)
        }
        let size = range.upperBound - range.lowerBound
        guard address <= size, UInt64(count) <= size - address else {
            throw error(.malformed, "truncated", "a structure lies outside the file", at: address)
        }
        do {
            let bytes = try source.bytes(at: range.lowerBound + address, count: count)
            return HDF5Cursor(bytes: bytes, file: self, address: address)
        } catch {
            throw CheckpointError(error)
        }
    }

    /// Notes that a dataset has so many chunks.
    func countChunks(_ count: UInt64, at address: UInt64) throws(CheckpointError) {
        guard count <= Self.chunkLimit - chunkCount else {
            throw error(
                .unsupported, "hdf5-layout", "it has more than \(Self.chunkLimit) chunks", at: address)
        }
        chunkCount += count
    }

    /// The bytes of the source that hold `count` bytes from an address.
    func extent(at address: UInt64, count: UInt64) throws(CheckpointError) -> Extent {
        let size = range.upperBound - range.lowerBound
        guard address <= size, count <= size - address else {
            throw error(.malformed, "truncated", "the data of a dataset lies outside the file", at: address)
        }
        return Extent(source: source, offset: range.lowerBound + address, byteCount: count)
    }

    func error(
        _ class: CheckpointError.Class, _ code: String, _ message: String, at address: UInt64
    ) -> CheckpointError {
        CheckpointError(`class`, code, message, file: name, member: member, offset: address)
    }
}

/// Reads numbers one after another from the bytes of a structure.
struct HDF5Cursor {
    let bytes: [UInt8]
    let file: HDF5File
    /// Where the bytes begin in the file.
    let address: UInt64
    private(set) var position = 0

    init(bytes: [UInt8], file: HDF5File, address: UInt64) {
        self.bytes = bytes
        self.file = file
        self.address = address
    }

    var remaining: Int { bytes.count - position }

    mutating func take(_ count: Int) throws(CheckpointError) -> ArraySlice<UInt8> {
        guard count >= 0, count <= remaining else { throw broken("a structure breaks off") }
        defer { position += count }
        return bytes[position..<position + count]
    }

    mutating func skip(_ count: Int) throws(CheckpointError) { _ = try take(count) }

    /// A number of so many bytes, at most 8.
    mutating func number(_ count: Int) throws(CheckpointError) -> UInt64 {
        try take(count).reversed().reduce(0) { $0 << 8 | UInt64($1) }
    }

    mutating func u8() throws(CheckpointError) -> Int { Int(try number(1)) }
    mutating func u16() throws(CheckpointError) -> Int { Int(try number(2)) }
    mutating func u32() throws(CheckpointError) -> Int { Int(try number(4)) }
    mutating func u64() throws(CheckpointError) -> UInt64 { try number(8) }

    /// Takes the four letters that a structure begins with.
    mutating func signature(_ letters: String) throws(CheckpointError) {
        guard try take(4).elementsEqual(letters.utf8) else {
            throw broken("no \(letters) stands where one should")
        }
    }

    /// A text that ends with a zero byte, and what fills it to a multiple of `padding`.
    mutating func text(paddedTo padding: Int) throws(CheckpointError) -> [UInt8] {
        guard let end = bytes[position...].firstIndex(of: 0) else { throw broken("a name has no end") }
        let count = end + 1 - position
        return Array(try take((count + padding - 1) / padding * padding).prefix(count - 1))
    }

    /// The rest as a structure of its own.
    mutating func rest(_ count: Int) throws(CheckpointError) -> HDF5Cursor {
        let start = address + UInt64(position)
        return HDF5Cursor(bytes: Array(try take(count)), file: file, address: start)
    }

    func broken(_ message: String) -> CheckpointError {
        file.error(.malformed, "hdf5", message, at: address + UInt64(position))
    }
}
