/// Why a document is not strict JSON, and where.
public struct JSONError: Error, Sendable, Equatable {
    /// What kind of fault it is.
    public enum Code: String, Sendable {
        /// The document stops in the middle of a value.
        case unexpectedEnd
        /// A byte stands where JSON allows none such, a comma too many or a literal misspelt.
        case unexpectedByte
        /// A number breaks the grammar, such as `01` or `1.`.
        case badNumber
        /// A string holds a raw control character.
        case controlCharacter
        /// A string holds an unknown escape or half a surrogate pair.
        case badEscape
        /// The document is not UTF-8.
        case notUTF8
        /// Something follows the document.
        case trailingBytes
        /// Arrays and objects nest deeper than the limit.
        case nestingTooDeep
        /// An object holds a key twice.
        case duplicateKey
    }

    /// What kind of fault it is.
    public var code: Code
    /// The byte where it was noticed, counted from the start of the document.
    public var offset: Int
    /// What is wrong, as a phrase without a full stop.
    public var message: String

    /// Makes an error.
    public init(_ code: Code, at offset: Int, _ message: String) {
        self.code = code
        self.offset = offset
        self.message = message
    }
}

extension JSONError: CustomStringConvertible {
    /// The message with the byte offset.
    public var description: String { "\(message) at byte \(offset)" }
}
