/// Where bytes go: a file, a pipe, an upload.
///
/// The engine writes a sink from start to end, each byte once, one call at a time, so that sinks which only take
/// bytes in order work as well as files do.
public protocol ByteSink: Sendable {
    /// A path or URL, for messages.
    var name: String { get }
    /// Writes all of `bytes` at `offset`, which is the number of bytes written before.
    func write(_ bytes: RawSpan, at offset: UInt64) throws(IOError)
    /// Brings what has been written to stable storage, as far as the sink has one.
    func synchronize() throws(IOError)
    /// Lets the system copy bytes of a file without showing them to this process.
    ///
    /// - Returns: the bytes that were copied; 0 where the sink cannot.
    func copy(_ range: Range<UInt64>, of file: InputFile, to offset: UInt64) throws(IOError) -> UInt64
}

extension ByteSink {
    /// Nothing is copied.
    public func copy(
        _ range: Range<UInt64>, of file: InputFile, to offset: UInt64
    ) throws(IOError) -> UInt64 { 0 }
}

/// A source that can say where its bytes stand in a file.
public protocol StoredSource: ByteSource {
    /// The file and the offset where the bytes of `range` stand together unchanged, or nil where they do not.
    func stored(_ range: Range<UInt64>) -> (file: InputFile, offset: UInt64)?
}

extension InputFile: StoredSource {
    /// The range itself.
    public func stored(_ range: Range<UInt64>) -> (file: InputFile, offset: UInt64)? {
        (self, range.lowerBound)
    }
}
