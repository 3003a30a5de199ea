/// Random access to bytes: a file, a remote object, or a stream that is computed when asked for.
///
/// A source may be read from several threads at once, has a fixed size, and returns the same bytes each time.
public protocol ByteSource: Sendable {
    /// A path or URL, for messages.
    var name: String { get }
    /// The size, in bytes.
    var byteCount: UInt64 { get }
    /// Fills the whole of `buffer` with the bytes that start at `offset`.
    ///
    /// - Throws: ``IOError/Code/unexpectedEnd`` where the source has fewer bytes.
    func read(at offset: UInt64, into buffer: inout MutableRawSpan) throws(IOError)
    /// The bytes that could be read in the time that one more read takes, to choose between reading a gap and
    /// reading twice: 8 KiB for files, far more where each read is a request.
    var readCost: Int { get }
}

extension ByteSource {
    /// That of a file in the page cache.
    public var readCost: Int { 8192 }

    /// The `count` bytes from `offset` as an array, for headers and other small parts.
    public func bytes(at offset: UInt64, count: Int) throws(IOError) -> [UInt8] {
        try [UInt8](count: count) { (buffer) throws(IOError) in try read(at: offset, into: &buffer) }
    }
}

/// Bytes held in memory.
public struct MemorySource: ByteSource {
    /// What the bytes are, for messages.
    public let name: String
    /// The bytes.
    public let contents: [UInt8]

    /// Makes a source of `contents`.
    public init(name: String, contents: [UInt8]) {
        self.name = name
        self.contents = contents
    }

    /// The size, in bytes.
    public var byteCount: UInt64 { UInt64(contents.count) }

    /// Fills the buffer from memory.
    public func read(at offset: UInt64, into buffer: inout MutableRawSpan) throws(IOError) {
        guard offset <= byteCount, UInt64(buffer.byteCount) <= byteCount - offset else {
            throw IOError(.unexpectedEnd, path: name, operation: "read", offset: offset)
        }
        let start = Int(offset)
        copyBytes(from: contents.span.bytesView.extracting(start..<start + buffer.byteCount), to: &buffer)
    }
}
