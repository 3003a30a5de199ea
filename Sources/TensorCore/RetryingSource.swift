internal import Glibc

/// Something that delivers ranges of bytes and may deliver fewer than asked for, or fail for a while: an object
/// store, a server.
public protocol RangeReader: Sendable {
    /// A URL, for messages.
    var name: String { get }
    /// The size, in bytes.
    var byteCount: UInt64 { get }
    /// Fills the start of `buffer` with bytes from `offset` and returns how many; at least one.
    ///
    /// - Throws: ``IOError/Code/transient`` where trying again may help.
    func readSome(at offset: UInt64, into buffer: inout MutableRawSpan) throws(IOError) -> Int
}

/// A ``ByteSource`` over a ``RangeReader``: goes on after short reads and tries again after transient failures.
public struct RetryingSource: ByteSource {
    private let reader: any RangeReader
    /// How often one read is tried again without a byte in between.
    public var retryLimit: Int
    /// The pause before the first new try, in milliseconds; doubled for each one that follows.
    public var firstPause: UInt32

    /// Makes a source.
    public init(_ reader: any RangeReader, retryLimit: Int = 5, firstPause: UInt32 = 100) {
        self.reader = reader
        self.retryLimit = retryLimit
        self.firstPause = firstPause
    }

    /// The reader's.
    public var name: String { reader.name }
    /// The reader's.
    public var byteCount: UInt64 { reader.byteCount }

    /// Fills the buffer in as many reads as it takes.
    public func read(at offset: UInt64, into buffer: inout MutableRawSpan) throws(IOError) {
        guard offset <= byteCount, UInt64(buffer.byteCount) <= byteCount - offset else {
            throw IOError(.unexpectedEnd, path: name, operation: "read", offset: offset)
        }
        var done = 0
        var failures = 0
        while done < buffer.byteCount {
            var rest = buffer._mutatingExtracting(done..<buffer.byteCount)
            do throws(IOError) {
                let count = try reader.readSome(at: offset + UInt64(done), into: &rest)
                guard count > 0, count <= rest.byteCount else {
                    throw IOError(
                        .unexpectedEnd, path: name, operation: "read", offset: offset + UInt64(done))
                }
                done += count
                failures = 0
            } catch {
                failures += 1
                guard error.code == .transient, failures <= retryLimit else { throw error }
                usleep(min(firstPause << UInt32(min(failures - 1, 10)), 10_000) * 1000)
            }
        }
    }
}
