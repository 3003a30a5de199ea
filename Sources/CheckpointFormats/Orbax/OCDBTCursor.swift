internal import Archives
internal import Checkpoints
internal import TensorCore

/// Reads the fields of a manifest or a node, all lengths checked against what is left.
struct OCDBTCursor {
    let bytes: [UInt8]
    private(set) var position = 0
    /// What is being read, for messages.
    let place: Place

    /// Where a block of the database stands.
    struct Place {
        var file: String
        var offset: UInt64

        func error(_ code: String, _ message: String) -> CheckpointError {
            CheckpointError(.malformed, code, message, file: file, offset: offset)
        }
    }

    init(_ bytes: [UInt8], at place: Place) {
        self.bytes = bytes
        self.place = place
    }

    /// The bytes that are left.
    var remaining: Int { bytes.count - position }

    private var short: CheckpointError { place.error("ocdbt-short", "a field reaches beyond the end") }

    mutating func byte() throws(CheckpointError) -> UInt8 {
        guard remaining > 0 else { throw short }
        defer { position += 1 }
        return bytes[position]
    }

    /// The next bytes, by their range.
    mutating func take(_ count: UInt64) throws(CheckpointError) -> Range<Int> {
        guard count <= UInt64(remaining) else { throw short }
        defer { position += Int(count) }
        return position..<position + Int(count)
    }

    mutating func varint() throws(CheckpointError) -> UInt64 {
        var value: UInt64 = 0
        for shift in stride(from: 0, to: 64, by: 7) {
            let byte = try byte()
            guard shift < 63 || byte <= 1 else { break }
            value |= UInt64(byte & 0x7F) << UInt64(shift)
            if byte & 0x80 == 0 { return value }
        }
        throw place.error("ocdbt-varint", "a number is beyond 64 bits")
    }

    /// A column of numbers.
    mutating func varints(_ count: Int) throws(CheckpointError) -> [UInt64] {
        guard count <= remaining else { throw short }
        var values: [UInt64] = []
        values.reserveCapacity(count)
        for _ in 0..<count { values.append(try varint()) }
        return values
    }

    func checkEnd() throws(CheckpointError) {
        guard remaining == 0 else {
            throw place.error("ocdbt-trailing", "\(remaining) bytes follow the last field")
        }
    }
}

/// The frame around a manifest or a node: a magic number, its length, how it is compressed, and a checksum.
enum OCDBTEnvelope {
    static let manifest: UInt32 = 0x0CDB_3A2A
    static let node: UInt32 = 0x0CDB_20DE

    /// The body of a block.
    ///
    /// - Parameters:
    ///   - range: the whole block.
    ///   - limit: the most bytes that the body may have.
    static func body(
        of source: any ByteSource, range: Range<UInt64>, magic: UInt32, limit: Int,
        at place: OCDBTCursor.Place
    ) throws(CheckpointError) -> [UInt8] {
        let size = range.upperBound - range.lowerBound
        guard range.upperBound <= source.byteCount else {
            throw place.error("truncated", "a block of \(size) bytes reaches beyond the end of the file")
        }
        guard size >= 18 else { throw place.error("ocdbt-short", "a block has only \(size) bytes") }
        do {
            let head = try source.bytes(at: range.lowerBound, count: Int(min(32, size)))
            let view = head.span.bytesView
            guard view.load(littleEndian: UInt32.self, at: 0).byteSwapped == magic else {
                throw place.error("ocdbt-magic", "no block of the right kind begins here")
            }
            guard view.load(littleEndian: UInt64.self, at: 4) == size else {
                throw place.error("ocdbt-length", "a block does not have the length that it states")
            }
            var cursor = OCDBTCursor(head, at: place)
            _ = try cursor.take(12)
            let version = try cursor.varint()
            let compression = try cursor.varint()
            guard version == 0, compression <= 1 else {
                throw CheckpointError(
                    .unsupported, "ocdbt-version",
                    "a block is of version \(version) and compression \(compression); only version 0, plain or "
                        + "zstd, is known", file: place.file, offset: place.offset)
            }
            let end = range.upperBound - 4
            let start = range.lowerBound + UInt64(cursor.position)
            guard start <= end else { throw place.error("ocdbt-short", "a block has no body") }
            let footer = try source.bytes(at: end, count: 4)
            let stated = footer.span.bytesView.load(littleEndian: UInt32.self, at: 0)
            guard try CRC32C.value(of: range.lowerBound..<end, in: source) == stated else {
                throw place.error("crc-mismatch", "the CRC-32C of a block is not the one that it ends with")
            }
            let body: [UInt8]?
            if compression == 1 {
                body = try DecompressedSource.contents(
                    of: source, range: start..<end, compression: .zstd, limit: limit)
            } else {
                body =
                    end - start <= UInt64(limit) ? try source.bytes(at: start, count: Int(end - start)) : nil
            }
            guard let body else {
                throw place.error("ocdbt-size", "the blocks of the database hold more than can be read")
            }
            return body
        } catch let error as CheckpointError {
            throw error
        } catch let error as IOError {
            throw error.operation == "decompress"
                ? place.error("ocdbt-zstd", "a block is not what zstd made: \(error.detail)")
                : CheckpointError(error)
        } catch {
            throw place.error("ocdbt-short", "a block cannot be read")
        }
    }
}
