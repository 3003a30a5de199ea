public import TensorCore

/// Why an archive cannot be read: what is wrong, and where.
public struct ArchiveError: Error, Sendable {
    /// How a refusal is to be taken.
    public enum Class: String, Sendable {
        /// The archive says different things to different readers.
        case unsafe
        /// The archive is damaged or breaks the rules of its format.
        case malformed
        /// The archive may be fine, but this version cannot read it.
        case unsupported
        /// The bytes could not be read.
        case io
    }

    /// How the refusal is to be taken.
    public var `class`: Class
    /// A stable identifier, such as `duplicate-entry`.
    public var code: String
    /// One sentence without a full stop.
    public var message: String
    /// The name of the member.
    public var member: String?
    /// The byte offset in the source.
    public var offset: UInt64?
    /// The failure to read, where the class is ``Class/io``.
    public var cause: IOError?

    /// Makes an error.
    public init(
        _ class: Class, _ code: String, _ message: String, member: String? = nil, offset: UInt64? = nil
    ) {
        self.class = `class`
        self.code = code
        self.message = message
        self.member = member
        self.offset = offset
    }

    /// The error for bytes that could not be read; a source that ended early counts as malformed.
    public init(_ error: IOError, member: String? = nil) {
        let (kind, code): (Class, String) =
            switch error.code {
            case .unexpectedEnd: (.malformed, "truncated")
            case .damaged: (.malformed, "damaged-stream")
            default: (.io, error.code.rawValue)
            }
        self.init(kind, code, error.description, member: member, offset: error.offset)
        cause = error
    }
}

extension ArchiveError: CustomStringConvertible {
    /// One line: member and offset where known, then the message and the code.
    public var description: String {
        var place = ""
        if let member { place += escapedForDisplay(member) + ": " }
        if let offset { place += "byte \(offset): " }
        return "\(place)\(message) [\(code)]"
    }
}
