/// A range of another source as a source of its own.
public struct SourceRange: ByteSource {
    /// What the bytes are, for messages.
    public let name: String
    /// The size, in bytes.
    public let byteCount: UInt64
    private let source: any ByteSource
    private let start: UInt64

    /// Makes a source of a range, which must lie within `source`.
    public init(name: String, of source: any ByteSource, range: Range<UInt64>) {
        self.name = name
        self.source = source
        start = range.lowerBound
        byteCount = range.upperBound - range.lowerBound
    }

    /// That of the source.
    public var readCost: Int { source.readCost }

    /// Fills the buffer with bytes of the range.
    public func read(at offset: UInt64, into buffer: inout MutableRawSpan) throws(IOError) {
        guard offset <= byteCount, UInt64(buffer.byteCount) <= byteCount - offset else {
            throw IOError(.unexpectedEnd, path: name, operation: "read", offset: offset)
        }
        try source.read(at: start + offset, into: &buffer)
    }
}
