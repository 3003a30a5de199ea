/// One step through a document.
public enum JSONToken: Sendable {
    /// `{`
    case beginObject
    /// `}`
    case endObject
    /// `[`
    case beginArray
    /// `]`
    case endArray
    /// The key of a member, with its colon; its value comes next.
    case key(JSONText)
    /// A string value.
    case string(JSONText)
    /// A number value.
    case number(JSONNumberText)
    /// `true` or `false`.
    case bool(Bool)
    /// `null`
    case null
    /// The end of a complete document.
    case end
}

/// Where the contents of a string stand in the document, without the quotes.
public struct JSONText: Sendable {
    /// The first byte after the opening quote.
    public let start: Int
    /// The closing quote.
    public let end: Int
    /// True where the contents hold escapes, so that the bytes are not the text itself.
    public let hasEscapes: Bool

    /// The string whose opening quote stands at `quote`, in a document that a tokenizer has accepted.
    ///
    /// Lets a caller keep the place of a string in four bytes. Gives an empty text where no string begins.
    public static func opened(at quote: Int, in bytes: RawSpan) -> JSONText {
        (try? bytes.string(openedAt: quote)) ?? JSONText(start: quote, end: quote, hasEscapes: false)
    }
}

/// Where a number stands in the document, and its value if it is a plain unsigned integer.
public struct JSONNumberText: Sendable {
    /// The first byte.
    public let start: Int
    /// The byte after the last.
    public let end: Int
    /// The value of a number without sign, fraction and exponent that fits 64 bits, else nil.
    public let unsigned: UInt64?
}
