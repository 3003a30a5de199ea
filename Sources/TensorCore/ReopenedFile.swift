/// A regular file that is opened for each read, for sources of more files than a process may have open.
///
/// A read fails where the file is not the one that was there first.
public struct ReopenedFile: ByteSource {
    /// The path.
    public let name: String
    /// The size when it was first opened, in bytes.
    public let byteCount: UInt64
    private let identity: FileIdentity

    /// Opens the file once, to know its size.
    public init(path: String) throws(IOError) {
        let file = try InputFile(path: path)
        (name, byteCount, identity) = (path, file.byteCount, file.identity)
    }

    /// Opens the file, checks that it is the same, and fills the buffer.
    public func read(at offset: UInt64, into buffer: inout MutableRawSpan) throws(IOError) {
        let file = try InputFile(path: name)
        guard file.identity == identity else {
            throw IOError(.changedWhileReading, path: name, operation: "read")
        }
        try file.read(at: offset, into: &buffer)
    }

    /// That of a file that has to be opened first.
    public var readCost: Int { 32 << 10 }
}
