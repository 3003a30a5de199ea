internal import Checkpoints
internal import TensorCore

/// A file in the encoding of Protocol Buffers, read a window at a time.
///
/// What is not asked for is skipped by its length, so that a file of any size takes the time of its small parts.
final class ProtobufFile {
    let source: any ByteSource
    /// What the file is called in messages.
    let name: String
    private var window: [UInt8] = []
    private var windowStart: UInt64 = 0
    private var fieldCount = 0

    private static let windowByteCount: UInt64 = 32 << 10
    /// Fields over all messages, so that a file of nothing but fields ends soon.
    private static let fieldLimit = 8_000_000

    init(_ source: any ByteSource, name: String) {
        self.source = source
        self.name = name
    }

    /// The message that the whole file is.
    var message: ProtobufMessage { ProtobufMessage(file: self, range: 0..<source.byteCount) }

    /// Notes that a field was read.
    func countField(at offset: UInt64) throws(CheckpointError) {
        fieldCount += 1
        guard fieldCount <= Self.fieldLimit else {
            throw error("protobuf-limit", "it has more than \(Self.fieldLimit) fields", at: offset)
        }
    }

    /// The byte at an offset below the end of the file.
    func byte(at offset: UInt64) throws(CheckpointError) -> UInt8 {
        if offset < windowStart || offset - windowStart >= UInt64(window.count) {
            let count = Int(min(Self.windowByteCount, source.byteCount - offset))
            do { window = try source.bytes(at: offset, count: count) } catch { throw CheckpointError(error) }
            windowStart = offset
        }
        return window[Int(offset - windowStart)]
    }

    /// The bytes of a short field.
    func bytes(_ range: Range<UInt64>, limit: Int) throws(CheckpointError) -> [UInt8] {
        guard range.upperBound - range.lowerBound <= UInt64(limit) else {
            throw error(
                "protobuf-limit",
                "a text of \(range.upperBound - range.lowerBound) bytes, where \(limit) are more than enough",
                at: range.lowerBound)
        }
        var result: [UInt8] = []
        for offset in range { result.append(try byte(at: offset)) }
        return result
    }

    func error(_ code: String, _ message: String, at offset: UInt64) -> CheckpointError {
        CheckpointError(.malformed, code, message, file: name, offset: offset)
    }
}

/// A message in a file: its fields one after another.
struct ProtobufMessage {
    let file: ProtobufFile
    /// Where the message stands.
    let range: Range<UInt64>
    private var position: UInt64

    init(file: ProtobufFile, range: Range<UInt64>) {
        self.file = file
        self.range = range
        position = range.lowerBound
    }

    /// The next field, or nil at the end of the message.
    mutating func next() throws(CheckpointError) -> ProtobufField? {
        if position == range.upperBound { return nil }
        let start = position
        try file.countField(at: start)
        let tag = try varint()
        guard tag >> 3 > 0, tag >> 3 < 1 << 29 else {
            throw file.error("protobuf", "no field has the number \(tag >> 3)", at: start)
        }
        let value: ProtobufField.Value
        switch tag & 7 {
        case 0: value = .varint(try varint())
        case 1: value = .fixed64(try fixed(8))
        case 2:
            let count = try varint()
            guard count <= range.upperBound - position else {
                throw file.error(
                    "truncated", "a field of \(count) bytes does not fit into its message", at: start)
            }
            value = .bytes(position..<position + count)
            position += count
        case 5: value = .fixed32(UInt32(truncatingIfNeeded: try fixed(4)))
        default: throw file.error("protobuf", "no field has the wire type \(tag & 7)", at: start)
        }
        return ProtobufField(number: Int(tag >> 3), value: value, offset: start)
    }

    private mutating func byte() throws(CheckpointError) -> UInt8 {
        guard position < range.upperBound else {
            throw file.error("truncated", "a message ends within a field", at: position)
        }
        defer { position += 1 }
        return try file.byte(at: position)
    }

    private mutating func fixed(_ count: Int) throws(CheckpointError) -> UInt64 {
        var value: UInt64 = 0
        for index in 0..<count { value |= UInt64(try byte()) << UInt64(8 * index) }
        return value
    }

    /// A number in groups of seven bits, the lowest first.
    mutating func varint() throws(CheckpointError) -> UInt64 {
        let start = position
        var value: UInt64 = 0
        for shift in stride(from: UInt64(0), to: 70, by: 7) {
            let byte = try byte()
            guard shift < 63 || byte <= 1 else { break }
            value |= UInt64(byte & 0x7F) << shift
            if byte < 0x80 { return value }
        }
        throw file.error("protobuf", "a number beyond 64 bits", at: start)
    }

    /// Whether all of the message was read.
    var isAtEnd: Bool { position == range.upperBound }
}

/// A field of a message.
struct ProtobufField {
    enum Value {
        case varint(UInt64)
        case fixed64(UInt64)
        case fixed32(UInt32)
        /// A text, a message or packed numbers, by their place in the file.
        case bytes(Range<UInt64>)
    }

    let number: Int
    let value: Value
    /// Where the field begins.
    let offset: UInt64

    /// The place of a text or message; nil where the field is none.
    var bytes: Range<UInt64>? {
        if case .bytes(let range) = value { range } else { nil }
    }

    /// The number; nil where the field is none of this encoding.
    var varint: UInt64? {
        if case .varint(let value) = value { value } else { nil }
    }
}

extension ProtobufMessage {
    /// The message that a field of this one is.
    func message(_ field: ProtobufField) throws(CheckpointError) -> ProtobufMessage {
        guard let range = field.bytes else { throw wrongType(field) }
        return ProtobufMessage(file: file, range: range)
    }

    /// The text that a field is; what is not UTF-8 is repaired.
    func text(_ field: ProtobufField, limit: Int = 64 << 10) throws(CheckpointError) -> String {
        String(decoding: try rawText(field, limit: limit), as: UTF8.self)
    }

    /// The bytes of the text that a field is.
    func rawText(_ field: ProtobufField, limit: Int = 64 << 10) throws(CheckpointError) -> [UInt8] {
        guard let range = field.bytes else { throw wrongType(field) }
        return try file.bytes(range, limit: limit)
    }

    /// The number that a field is.
    func number(_ field: ProtobufField) throws(CheckpointError) -> UInt64 {
        guard let value = field.varint else { throw wrongType(field) }
        return value
    }

    func wrongType(_ field: ProtobufField) -> CheckpointError {
        file.error("protobuf", "field \(field.number) has another wire type than it should", at: field.offset)
    }
}
