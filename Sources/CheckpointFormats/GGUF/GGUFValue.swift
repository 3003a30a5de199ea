internal import TensorCore

/// A value of a key in a GGUF header.
public enum GGUFValue: Sendable, Equatable {
    case uint8(UInt8)
    case int8(Int8)
    case uint16(UInt16)
    case int16(Int16)
    case uint32(UInt32)
    case int32(Int32)
    case float32(Float)
    case bool(Bool)
    /// Text; what is no UTF-8 in a file is repaired.
    case string(String)
    case uint64(UInt64)
    case int64(Int64)
    case float64(Double)
    /// An array of strings, as bytes.
    case strings(GGUFStrings)
    /// An array of anything else.
    case numbers(GGUFNumbers)

    /// What a value is, by the number that stands for it in files.
    public enum Kind: UInt32, Sendable {
        case uint8, int8, uint16, int16, uint32, int32, float32, bool, string, array, uint64, int64, float64

        /// The bytes of a value; nil for strings and arrays.
        public var byteCount: Int? {
            switch self {
            case .uint8, .int8, .bool: 1
            case .uint16, .int16: 2
            case .uint32, .int32, .float32: 4
            case .uint64, .int64, .float64: 8
            case .string, .array: nil
            }
        }
    }

    /// What the value is.
    public var kind: Kind {
        switch self {
        case .uint8: .uint8
        case .int8: .int8
        case .uint16: .uint16
        case .int16: .int16
        case .uint32: .uint32
        case .int32: .int32
        case .float32: .float32
        case .bool: .bool
        case .string: .string
        case .uint64: .uint64
        case .int64: .int64
        case .float64: .float64
        case .strings, .numbers: .array
        }
    }
}

extension GGUFValue {
    /// The text of a string, else nil.
    public var string: String? {
        if case .string(let text) = self { text } else { nil }
    }

    /// The truth value of a bool, else nil.
    public var bool: Bool? {
        if case .bool(let value) = self { value } else { nil }
    }

    /// The value of an integer of any width that fits, else nil.
    public var int: Int? {
        switch self {
        case .uint8(let value): Int(value)
        case .int8(let value): Int(value)
        case .uint16(let value): Int(value)
        case .int16(let value): Int(value)
        case .uint32(let value): Int(value)
        case .int32(let value): Int(value)
        case .uint64(let value): Int(exactly: value)
        case .int64(let value): Int(value)
        default: nil
        }
    }

    /// The value of any number, the nearest where it is a large integer, else nil.
    public var double: Double? {
        switch self {
        case .float32(let value): Double(value)
        case .float64(let value): value
        default: int.map { Double($0) }
        }
    }

    /// The strings of an array of strings, else nil.
    public var strings: GGUFStrings? {
        if case .strings(let values) = self { values } else { nil }
    }

    /// The numbers of an array of numbers or bools, else nil.
    public var numbers: GGUFNumbers? {
        if case .numbers(let values) = self { values } else { nil }
    }
}

/// An array of strings in a GGUF header, as bytes in one piece.
public struct GGUFStrings: Sendable, Equatable, RandomAccessCollection {
    /// All strings, one after another.
    private(set) var bytes: [UInt8] = []
    /// Where each string ends.
    private(set) var ends: [UInt32] = []

    /// Makes an empty array.
    public init() {}

    /// Makes an array of texts.
    public init(_ texts: some Sequence<String>) {
        for text in texts { append(Array(text.utf8).span) }
    }

    /// Appends a string.
    ///
    /// - Precondition: all strings together have less than 4 GiB.
    public mutating func append(_ string: Span<UInt8>) {
        let start = bytes.count
        bytes.append(addingCapacity: string.count, string)
        precondition(start + string.count <= UInt32.max)
        ends.append(UInt32(bytes.count))
    }

    /// The first position.
    public var startIndex: Int { 0 }
    /// The number of strings.
    public var endIndex: Int { ends.count }
    /// The bytes of a string.
    public subscript(position: Int) -> ArraySlice<UInt8> {
        bytes[(position == 0 ? 0 : Int(ends[position - 1]))..<Int(ends[position])]
    }

    /// A string as text; what is no UTF-8 is repaired.
    public func text(at position: Int) -> String { String(decoding: self[position], as: UTF8.self) }

    /// The bytes of all strings together.
    var byteCount: Int { bytes.count }
}

extension [UInt8] {
    /// Appends all of a span at once.
    fileprivate mutating func append(addingCapacity count: Int, _ span: Span<UInt8>) {
        unsafe span.withUnsafeBufferPointer { unsafe append(contentsOf: $0) }
    }
}

/// An array of numbers or bools in a GGUF header, as their little-endian bytes.
public struct GGUFNumbers: Sendable, Equatable {
    /// What the elements are; neither strings nor arrays.
    public let kind: GGUFValue.Kind
    /// The elements.
    public let bytes: [UInt8]

    /// Makes an array of bytes that are whole elements.
    ///
    /// - Precondition: they are.
    public init(kind: GGUFValue.Kind, bytes: [UInt8]) {
        guard let width = kind.byteCount, bytes.count % width == 0 else {
            preconditionFailure("no whole elements")
        }
        (self.kind, self.bytes) = (kind, bytes)
    }

    /// An array of I32.
    public init(_ values: some Sequence<Int32>) {
        var bytes: [UInt8] = []
        for value in values { bytes.append(littleEndian: value) }
        self.init(kind: .int32, bytes: bytes)
    }

    /// An array of F32.
    public init(_ values: some Sequence<Float>) {
        var bytes: [UInt8] = []
        for value in values { bytes.append(littleEndian: value.bitPattern) }
        self.init(kind: .float32, bytes: bytes)
    }

    /// The number of elements.
    public var count: Int { bytes.count / (kind.byteCount ?? 1) }

    /// The elements as integers; nil where they are floats.
    ///
    /// What is beyond an `Int` is the largest.
    public var integers: [Int]? {
        switch kind {
        case .uint8, .bool: values(UInt8.self) { Int($0) }
        case .int8: values(Int8.self) { Int($0) }
        case .uint16: values(UInt16.self) { Int($0) }
        case .int16: values(Int16.self) { Int($0) }
        case .uint32: values(UInt32.self) { Int($0) }
        case .int32: values(Int32.self) { Int($0) }
        case .uint64: values(UInt64.self) { Int(clamping: $0) }
        case .int64: values(Int64.self) { Int($0) }
        case .float32, .float64, .string, .array: nil
        }
    }

    /// The elements as F32, where they are.
    public var floats: [Float]? {
        kind == .float32 ? values(UInt32.self) { Float(bitPattern: $0) } : nil
    }

    private func values<T: FixedWidthInteger & BitwiseCopyable, R>(_: T.Type, _ make: (T) -> R) -> [R] {
        let span = bytes.span.bytesView
        return stride(from: 0, to: bytes.count, by: MemoryLayout<T>.size).map {
            make(span.load(littleEndian: T.self, at: $0))
        }
    }
}

extension [UInt8] {
    /// Appends an integer in little-endian order.
    mutating func append(littleEndian value: some FixedWidthInteger) {
        var value = value.littleEndian
        unsafe Swift.withUnsafeBytes(of: &value) { unsafe append(contentsOf: $0) }
    }
}
