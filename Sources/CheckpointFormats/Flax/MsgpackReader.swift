internal import Checkpoints
internal import TensorCore

/// The head of a msgpack item.
enum MsgpackToken: Equatable {
    case null
    case bool(Bool)
    case integer(Int64)
    /// An integer beyond those of `Int64`.
    case large(UInt64)
    case float(Double)
    /// Text of so many bytes, which follow.
    case text(UInt64)
    /// Bytes, which follow.
    case bytes(UInt64)
    /// So many items follow.
    case array(UInt64)
    /// So many pairs of items follow.
    case map(UInt64)
    /// An extension of a type, with so many bytes, which follow.
    case ext(Int8, UInt64)
}

/// Reads msgpack heads one after the other, and passes over what they announce without reading it.
struct MsgpackReader {
    private let source: any ByteSource
    private let file: String
    private var window: [UInt8] = []
    private var windowStart: UInt64 = 0
    /// The next byte.
    private(set) var position: UInt64 = 0

    private static let windowByteCount: UInt64 = 4096

    init(_ source: any ByteSource, file: String) {
        self.source = source
        self.file = file
    }

    /// The bytes that are left.
    var remaining: UInt64 { source.byteCount - position }

    /// The next item's head; what it announces fits into the rest of the file.
    mutating func next() throws(CheckpointError) -> MsgpackToken {
        let start = position
        let token = try head()
        let fits =
            switch token {
            case .text(let count), .bytes(let count), .ext(_, let count), .array(let count):
                count <= remaining
            case .map(let count): count <= remaining / 2
            default: true
            }
        guard fits else {
            throw error("truncated", "an item here claims more than the rest of the file holds", at: start)
        }
        return token
    }

    /// The next bytes, which have been announced.
    mutating func take(_ count: UInt64) throws(CheckpointError) -> [UInt8] {
        guard count <= remaining else {
            throw error("truncated", "the file ends within an item", at: position)
        }
        do {
            if count > Self.windowByteCount {
                let bytes = try source.bytes(at: position, count: Int(count))
                position += count
                return bytes
            }
            if position < windowStart || position + count > windowStart + UInt64(window.count) {
                window = try source.bytes(
                    at: position, count: Int(min(Self.windowByteCount, remaining)))
                windowStart = position
            }
        } catch {
            throw CheckpointError(error)
        }
        let first = Int(position - windowStart)
        position += count
        return Array(window[first..<first + Int(count)])
    }

    /// Passes over bytes that have been announced.
    mutating func skip(_ count: UInt64) { position += count }

    /// An error about the byte at `offset`.
    func error(_ code: String, _ message: String, at offset: UInt64) -> CheckpointError {
        CheckpointError(.malformed, code, message, file: file, offset: offset)
    }

    private mutating func number(_ count: UInt64) throws(CheckpointError) -> UInt64 {
        try take(count).reduce(0) { $0 << 8 | UInt64($1) }
    }

    private mutating func head() throws(CheckpointError) -> MsgpackToken {
        let start = position
        let byte = try take(1)[0]
        switch byte {
        case 0x00...0x7F: return .integer(Int64(byte))
        case 0x80...0x8F: return .map(UInt64(byte & 15))
        case 0x90...0x9F: return .array(UInt64(byte & 15))
        case 0xA0...0xBF: return .text(UInt64(byte & 31))
        case 0xC0: return .null
        case 0xC2, 0xC3: return .bool(byte == 0xC3)
        case 0xC4...0xC6: return .bytes(try number(1 << UInt64(byte - 0xC4)))
        case 0xC7...0xC9:
            let count = try number(1 << UInt64(byte - 0xC7))
            return .ext(Int8(bitPattern: try take(1)[0]), count)
        case 0xCA: return .float(Double(Float(bitPattern: UInt32(try number(4)))))
        case 0xCB: return .float(Double(bitPattern: try number(8)))
        case 0xCC...0xCF:
            let value = try number(1 << UInt64(byte - 0xCC))
            return Int64(exactly: value).map(MsgpackToken.integer) ?? .large(value)
        case 0xD0: return .integer(Int64(Int8(truncatingIfNeeded: try number(1))))
        case 0xD1: return .integer(Int64(Int16(truncatingIfNeeded: try number(2))))
        case 0xD2: return .integer(Int64(Int32(truncatingIfNeeded: try number(4))))
        case 0xD3: return .integer(Int64(bitPattern: try number(8)))
        case 0xD4...0xD8: return .ext(Int8(bitPattern: try take(1)[0]), 1 << UInt64(byte - 0xD4))
        case 0xD9...0xDB: return .text(try number(1 << UInt64(byte - 0xD9)))
        case 0xDC, 0xDD: return .array(try number(byte == 0xDC ? 2 : 4))
        case 0xDE, 0xDF: return .map(try number(byte == 0xDE ? 2 : 4))
        case 0xE0...0xFF: return .integer(Int64(Int8(bitPattern: byte)))
        default: throw error("msgpack-syntax", "no msgpack item begins with the byte \(byte)", at: start)
        }
    }
}
