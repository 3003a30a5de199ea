internal import Checkpoints
internal import TensorCore

/// A `TensorProto` as it stands in a file: its numbers only by their place.
struct ONNXTensor {
    /// The fields of numbers, which stand in place of raw bytes.
    enum Field: Int {
        case float = 4
        case int32 = 5
        case int64 = 7
        case double = 10
        case uint64 = 11
    }

    /// What `external_data` says.
    struct External {
        var location: [UInt8]?
        var offset: UInt64 = 0
        var byteCount: UInt64?
        var hasChecksum = false
    }

    /// Where the message begins.
    let offset: UInt64
    private(set) var name: [UInt8] = []
    private(set) var shape: [UInt64] = []
    private(set) var type: UInt64 = 0
    private(set) var raw: Range<UInt64>?
    private(set) var packed: (field: Field, range: Range<UInt64>)?
    /// Numbers that stand alone, as their bits.
    private(set) var loose: (field: Field, values: [UInt64])?
    private(set) var external = External()
    private(set) var isExternal = false
    private(set) var isSegment = false

    private static let rankLimit = 256
    private static let looseLimit = 1 << 20

    /// Reads a message.
    init(_ message: ProtobufMessage) throws(CheckpointError) {
        var message = message
        offset = message.range.lowerBound
        while let field = try message.next() { try take(field, of: message) }
        guard (raw == nil ? 0 : 1) + (packed == nil ? 0 : 1) + (loose == nil ? 0 : 1) <= 1 else {
            throw message.file.error(
                "ambiguous-data", "a tensor has its numbers in several fields", at: offset)
        }
    }

    private mutating func take(_ field: ProtobufField, of message: ProtobufMessage) throws(CheckpointError) {
        switch field.number {
        case 1: try takeDimensions(field, of: message)
        case 2: type = try message.number(field)
        case 3: isSegment = true
        case 8: name = try message.rawText(field)
        case 9:
            guard let range = field.bytes else { throw message.wrongType(field) }
            guard raw == nil else {
                throw message.file.error("ambiguous-data", "a tensor has raw_data twice", at: field.offset)
            }
            raw = range
        case 13: try takeExternal(try message.message(field))
        case 14: isExternal = try message.number(field) == 1
        default:
            if let kind = Field(rawValue: field.number) { try takeNumbers(field, kind, of: message) }
        }
    }

    private mutating func takeDimensions(
        _ field: ProtobufField, of message: ProtobufMessage
    ) throws(CheckpointError) {
        var found: [UInt64] = []
        if let value = field.varint {
            found = [value]
        } else {
            var packed = try message.message(field)
            while !packed.isAtEnd, found.count <= Self.rankLimit { found.append(try packed.varint()) }
        }
        shape += found
        guard shape.count <= Self.rankLimit, found.allSatisfy({ $0 <= UInt64(Int64.max) }) else {
            throw message.file.error(
                "bad-shape", "a tensor has more than \(Self.rankLimit) dimensions or a negative one",
                at: field.offset)
        }
    }

    private mutating func takeNumbers(
        _ field: ProtobufField, _ kind: Field, of message: ProtobufMessage
    ) throws(CheckpointError) {
        let value: UInt64
        switch field.value {
        case .bytes(let range):
            if range.isEmpty { return }
            guard packed == nil else {
                throw CheckpointError(
                    .unsupported, "split-field", "the numbers of a tensor stand in several pieces",
                    file: message.file.name, offset: field.offset)
            }
            packed = (kind, range)
            return
        case .varint(let number) where kind != .float && kind != .double: value = number
        case .fixed32(let bits) where kind == .float: value = UInt64(bits)
        case .fixed64(let bits) where kind == .double: value = bits
        default: throw message.wrongType(field)
        }
        var values = loose?.values ?? []
        loose = nil
        guard values.count < Self.looseLimit else {
            throw CheckpointError(
                .unsupported, "unpacked-numbers",
                "a tensor has more than \(Self.looseLimit) numbers in fields of their own",
                file: message.file.name, offset: field.offset)
        }
        values.append(value)
        loose = (kind, values)
    }

    private mutating func takeExternal(_ message: ProtobufMessage) throws(CheckpointError) {
        var message = message
        var (key, value): ([UInt8], [UInt8]) = ([], [])
        while let field = try message.next() {
            if field.number == 1 { key = try message.rawText(field) }
            if field.number == 2 { value = try message.rawText(field) }
        }
        func number() throws(CheckpointError) -> UInt64 {
            guard let number = UInt64(String(decoding: value, as: UTF8.self)) else {
                throw message.file.error(
                    "external-data",
                    "an external tensor has the \(escapedForDisplay(String(decoding: key, as: UTF8.self))) "
                        + "'\(escapedForDisplay(String(decoding: value.prefix(40), as: UTF8.self)))'",
                    at: message.range.lowerBound)
            }
            return number
        }
        switch String(decoding: key, as: UTF8.self) {
        case "location": external.location = value
        case "offset": external.offset = try number()
        case "length": external.byteCount = try number()
        case "checksum": external.hasChecksum = true
        default: break
        }
    }
}
