public import Checkpoints
public import TensorCore

/// Why an export did not happen.
///
/// Where it throws, the destination is as it was.
public enum ConversionError: Error, Sendable {
    /// The source is bad or cannot be read.
    case source(CheckpointError)
    /// Bytes could not be read or written.
    case io(IOError)
    /// The destination stands in the way: what is there, and what to do.
    case destination(String)
    /// The options contradict each other or the source.
    case options(String)
    /// The export stopped on the way; what it has written is kept.
    case stopped(IOError, kept: String, byteCount: UInt64)
}

extension ConversionError {
    /// The error for bytes that could not be read or written; those that contradict themselves are bad input.
    init(_ error: IOError) {
        self = error.code == .damaged ? .source(CheckpointError(error)) : .io(error)
    }
}

extension ConversionError: CustomStringConvertible {
    /// One line.
    public var description: String {
        switch self {
        case .source(let error): error.description
        case .io(let error): error.description
        case .destination(let text), .options(let text): text
        case .stopped(let error, let kept, let byteCount):
            "\(error.code == .cancelled ? "interrupted" : error.description); \(ByteSize.describe(byteCount)) of "
                + "the work are kept in \(escapedForDisplay(kept)): run the same command again to go on, or with "
                + "--no-resume to begin anew"
        }
    }
}

/// Runs `body` and wraps its failure.
func inputOutput<R>(_ body: () throws(IOError) -> R) throws(ConversionError) -> R {
    do { return try body() } catch { throw ConversionError(error) }
}
