public import TensorCore

/// Why a checkpoint cannot be read: what is wrong, where, and what to do.
public struct CheckpointError: Error, Sendable {
    /// How a refusal is to be taken.
    public enum Class: String, Sendable {
        /// The input would run code or is built to deceive.
        case unsafe
        /// The input is damaged or breaks the rules of its format.
        case malformed
        /// The input may be fine, but this version cannot read it.
        case unsupported
        /// The bytes could not be read, so nothing is known about the input.
        case io
    }

    /// How the refusal is to be taken.
    public var `class`: Class
    /// A stable identifier, such as `storage-missing`.
    public var code: String
    /// One sentence without a full stop: what is wrong and, where it helps, what to do.
    public var message: String
    /// The file.
    public var file: String
    /// The archive member, where the file is an archive.
    public var member: String?
    /// The tensor.
    public var tensor: TensorName?
    /// The Python global that was refused, as `module.name`.
    public var global: String?
    /// The name that the format's reference implementation has for the same fault.
    public var reference: String?
    /// The byte offset, in the member where there is one, else in the file.
    public var offset: UInt64?

    /// Makes an error.
    public init(
        _ class: Class, _ code: String, _ message: String, file: String, member: String? = nil,
        tensor: TensorName? = nil, global: String? = nil, offset: UInt64? = nil
    ) {
        self.class = `class`
        self.code = code
        self.message = message
        self.file = file
        self.member = member
        self.tensor = tensor
        self.global = global
        self.offset = offset
    }

    /// The error for bytes that could not be read.
    public init(_ error: IOError) {
        switch error.code {
        case .unexpectedEnd:
            self.init(.malformed, "truncated", error.description, file: error.path, offset: error.offset)
        case .damaged:
            let message = error.detail.isEmpty ? "its bytes are damaged" : error.detail
            self.init(.malformed, "damaged-stream", message, file: error.path, offset: error.offset)
        default:
            self.init(.io, error.code.rawValue, error.description, file: error.path, offset: error.offset)
        }
    }
}

extension CheckpointError: CustomStringConvertible {
    /// One line: file, member, offset and tensor where known, then the message and the code.
    public var description: String {
        var place = escapedForDisplay(file)
        if let member { place += ": " + escapedForDisplay(member) }
        if let offset { place += ": byte \(offset)" }
        if let tensor { place += ": tensor \(tensor)" }
        return self.class == .io ? message : "\(place): \(message) [\(code)]"
    }
}

/// An oddity that does not keep a checkpoint from being read.
public struct CheckpointWarning: Sendable {
    /// A stable identifier, such as `crc-absent`.
    public var code: String
    /// One sentence without a full stop.
    public var message: String
    /// The file.
    public var file: String
    /// The tensor.
    public var tensor: TensorName?
    /// The byte offset in the file.
    public var offset: UInt64?

    /// Makes a warning.
    public init(
        _ code: String, _ message: String, file: String, tensor: TensorName? = nil, offset: UInt64? = nil
    ) {
        self.code = code
        self.message = message
        self.file = file
        self.tensor = tensor
        self.offset = offset
    }
}
