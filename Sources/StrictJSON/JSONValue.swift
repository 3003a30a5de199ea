/// A JSON value that keeps what it was read from: members in order, numbers as they were spelt.
public enum JSONValue: Sendable {
    /// `null`
    case null
    /// `true` or `false`
    case bool(Bool)
    /// A number, as its text.
    case number(String)
    /// A string.
    case string(String)
    /// An array.
    case array([JSONValue])
    /// An object: its members in order. Documents that were parsed hold each key once.
    case object([JSONMember])
}

/// A member of an object.
public struct JSONMember: Sendable {
    /// The key.
    ///
    /// Its UTF-8 bytes are those of the document; compare those, since `String` equality takes different
    /// spellings of one character for the same.
    public var key: String
    /// The value.
    public var value: JSONValue

    /// Makes a member.
    public init(key: String, value: JSONValue) {
        self.key = key
        self.value = value
    }
}

extension JSONValue {
    /// An integer.
    public static func integer(_ value: some FixedWidthInteger) -> JSONValue { .number(String(value)) }

    /// The value of the member with this key, compared as UTF-8 bytes, or nil.
    ///
    /// Linear in the members.
    public subscript(key: String) -> JSONValue? {
        members?.first { $0.key.utf8.elementsEqual(key.utf8) }?.value
    }

    /// The members of an object, else nil.
    public var members: [JSONMember]? {
        if case .object(let members) = self { members } else { nil }
    }

    /// The elements of an array, else nil.
    public var elements: [JSONValue]? {
        if case .array(let elements) = self { elements } else { nil }
    }

    /// The text of a string, else nil.
    public var string: String? {
        if case .string(let text) = self { text } else { nil }
    }

    /// The truth value of a `true` or `false`, else nil.
    public var bool: Bool? {
        if case .bool(let value) = self { value } else { nil }
    }

    /// True for `null`.
    public var isNull: Bool {
        if case .null = self { true } else { false }
    }

    /// The value of an integer without fraction and exponent that fits, else nil.
    public var int64: Int64? {
        if case .number(let text) = self { Int64(text) } else { nil }
    }

    /// The value of an integer without fraction and exponent that is not negative and fits, else nil.
    public var uint64: UInt64? {
        if case .number(let text) = self, text.utf8.first != UInt8(ascii: "-") { UInt64(text) } else { nil }
    }

    /// The nearest `Double` of any number (infinite where it is too large), else nil.
    public var double: Double? {
        if case .number(let text) = self { Double(text) } else { nil }
    }
}

extension JSONMember {
    /// Makes a member.
    public init(_ key: String, _ value: JSONValue) { self.init(key: key, value: value) }
}
