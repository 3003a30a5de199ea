internal import Glibc

/// A failure to read or write bytes: what was tried, where, and why it failed.
public struct IOError: Error, Sendable, Equatable {
    /// What kind of failure it is.
    public enum Code: String, Sendable {
        /// A system call failed; `errno` says how.
        case system
        /// The path is not a regular file (a directory, FIFO, socket or device).
        case notRegularFile
        /// The source ended before the bytes that were asked for.
        case unexpectedEnd
        /// The bytes are there but are not what they should be: a compressed stream that breaks off, a wrong checksum.
        case damaged
        /// The source was changed while it was being read.
        case changedWhileReading
        /// The bytes that a transform needs cannot be produced.
        case unreadable
        /// A remote source failed in a way that may pass.
        case transient
        /// The work was called off, by a signal or by the caller.
        case cancelled
    }

    /// What kind of failure it is.
    public var code: Code
    /// The file or URL.
    public var path: String
    /// What was tried, as a verb phrase such as "open" or "write".
    public var operation: String
    /// The byte offset in the file, where there is one.
    public var offset: UInt64?
    /// The system's error number, 0 where no system call failed.
    public var errno: Int32
    /// More words, for failures that are not the system's.
    public var detail: String

    /// Makes an error.
    public init(
        _ code: Code, path: String, operation: String, offset: UInt64? = nil, errno: Int32 = 0,
        detail: String = ""
    ) {
        self.code = code
        self.path = path
        self.operation = operation
        self.offset = offset
        self.errno = errno
        self.detail = detail
    }

    /// The error of the system call that just failed.
    static func system(_ operation: String, _ path: String, offset: UInt64? = nil) -> IOError {
        IOError(.system, path: path, operation: operation, offset: offset, errno: Glibc.errno)
    }
}

extension IOError: CustomStringConvertible {
    /// One sentence that names the file and the offset and, for common causes, says what to do.
    public var description: String {
        let place = escapedForDisplay(path) + (offset.map { " at byte \($0)" } ?? "")
        switch code {
        case .system:
            let advice =
                switch errno {
                case ENOSPC, EDQUOT: ": free space or choose another destination"
                case EACCES, EPERM, EROFS: ": check the permissions"
                case EMFILE, ENFILE: ": raise the limit of open files (ulimit -n)"
                default: ""
                }
            let more = detail.isEmpty ? "" : " (\(detail))"
            return "cannot \(operation) \(place): \(unsafe String(cString: strerror(errno)))\(more)\(advice)"
        case .notRegularFile: return "\(place) is not a regular file"
        case .unexpectedEnd:
            return "\(place) ended early: \(detail.isEmpty ? "it was truncated" : detail)"
        case .changedWhileReading:
            return "\(place) was changed while it was being read: run again when nothing writes to it"
        case .damaged: return "\(place) is damaged: \(detail)"
        case .unreadable, .transient: return "cannot \(operation) \(place): \(detail)"
        case .cancelled: return "cancelled"
        }
    }
}
