/// A value in a YAML document, with its place.
public struct YAMLNode: Sendable {
    /// What it is.
    public let value: Value
    /// Where it begins.
    public let place: TextPlace

    /// A kind of value.
    public enum Value: Sendable {
        /// Nothing, as after a key that nothing follows.
        case empty
        /// Text; plain where it stands without quotes.
        case scalar(String, isPlain: Bool)
        /// Values in order.
        case sequence([YAMLNode])
        /// Keys with values, in order, no key twice.
        case mapping([Entry])
    }

    /// A key with its value.
    public struct Entry: Sendable {
        /// The key.
        public let key: String
        /// Where the key begins.
        public let place: TextPlace
        /// The value.
        public let value: YAMLNode
    }
}

/// A place in a text, both numbers counted from 1.
public struct TextPlace: Sendable, Hashable {
    /// The line.
    public let line: Int
    /// The character in the line.
    public let column: Int
}

/// Why a pipeline cannot be used, and where.
public struct PipelineError: Error, Sendable, CustomStringConvertible {
    /// The place.
    public let place: TextPlace
    /// One sentence without a full stop: what is wrong and, where it helps, what to do.
    public let message: String

    /// Makes an error.
    public init(_ message: String, at place: TextPlace) {
        self.message = message
        self.place = place
    }

    /// One line, without the file's name.
    public var description: String { "line \(place.line), column \(place.column): \(message)" }
}
