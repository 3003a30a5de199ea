internal import Synchronization
public import TensorCore

/// The bytes that a compressed range of another source holds, decompressed as far as they are asked for.
///
/// Reads that go forward take time for what they pass; one that goes back behind the last ``windowByteCount`` begins
/// again at the start. Memory is the window and the decompressor's own.
public final class DecompressedSource: ByteSource {
    /// What the bytes are, for messages.
    public let name: String
    /// The size that the stream is said to have; it must have exactly that.
    public let byteCount: UInt64
    private let source: any ByteSource
    private let range: Range<UInt64>
    private let compression: Compression
    private let crc32: UInt32?
    private let state: Mutex<DecompressionRun>

    /// What is kept of the bytes that were passed: pieces are asked for nearly in order, from several threads.
    static var windowByteCount: Int { 16 << 20 }

    /// Makes a source.
    ///
    /// - Parameters:
    ///   - name: what the bytes are, for messages.
    ///   - source: what holds the stream.
    ///   - range: where the stream stands in it, all of it.
    ///   - compression: how it is compressed.
    ///   - byteCount: the size of what it holds.
    ///   - crc32: the CRC-32 of what it holds, checked when the end is reached; nil where it is not known.
    public init(
        name: String, of source: any ByteSource, range: Range<UInt64>, compression: Compression,
        byteCount: UInt64, crc32: UInt32? = nil
    ) {
        self.name = name
        self.source = source
        self.range = range
        self.compression = compression
        self.byteCount = byteCount
        self.crc32 = crc32
        state = Mutex(DecompressionRun(source, range, compression, name: name))
    }

    /// A read that goes back may decompress everything again.
    public var readCost: Int { 1 << 20 }

    /// The bytes of a stream of unknown size, where it has at most `limit`; nil where it has more.
    public static func contents(
        of source: any ByteSource, range: Range<UInt64>, compression: Compression, limit: Int
    ) throws(IOError) -> [UInt8]? {
        let run = DecompressionRun(source, range, compression, name: source.name)
        var result: [UInt8] = []
        while result.count <= limit {
            let made = try run.advance()
            if made.isEmpty { return result }
            result += made
        }
        return nil
    }

    /// The size of what a stream holds, found by decompressing it; nil where it is more than `limit`.
    public static func size(
        of source: any ByteSource, range: Range<UInt64>, compression: Compression, limit: UInt64
    ) throws(IOError) -> UInt64? {
        let run = DecompressionRun(source, range, compression, name: source.name)
        while run.position <= limit {
            if try run.advance().isEmpty { return run.position }
        }
        return nil
    }

    /// Fills the buffer, decompressing what comes before it where that was not yet done.
    public func read(at offset: UInt64, into buffer: inout MutableRawSpan) throws(IOError) {
        let total = buffer.byteCount
        guard offset <= byteCount, UInt64(total) <= byteCount - offset else {
            throw IOError(.unexpectedEnd, path: name, operation: "read", offset: offset)
        }
        if total == 0 { return }
        let bytes = try state.withLock { (state) throws(IOError) in try self.bytes(offset, total, &state) }
        var position = 0
        for part in bytes {
            copyBytes(from: part.span.bytesView, at: 0, to: &buffer, at: position, count: part.count)
            position += part.count
        }
    }

    private func bytes(
        _ offset: UInt64, _ count: Int, _ state: inout DecompressionRun
    ) throws(IOError) -> [ArraySlice<UInt8>] {
        if offset < state.windowStart {
            state = DecompressionRun(source, range, compression, name: name)
        }
        var result: [ArraySlice<UInt8>] = []
        var position = offset
        let end = offset + UInt64(count)
        // What is kept, then what is new.
        var start = state.windowStart
        for chunk in state.window {
            let chunkEnd = start + UInt64(chunk.count)
            if position < end, position >= start, position < chunkEnd {
                let stop = min(end, chunkEnd)
                result.append(chunk[Int(position - start)..<Int(stop - start)])
                position = stop
            }
            start = chunkEnd
        }
        while position < end {
            let chunk = try state.advance()
            guard !chunk.isEmpty else {
                throw IOError(
                    .unexpectedEnd, path: name, operation: "decompress", offset: state.position,
                    detail: "the stream holds fewer bytes than it is said to")
            }
            try check(state)
            let chunkStart = state.position - UInt64(chunk.count)
            state.keep(chunk, limit: Self.windowByteCount)
            if state.position > position {
                let stop = min(end, state.position)
                result.append(chunk[Int(position - chunkStart)..<Int(stop - chunkStart)])
                position = stop
            }
        }
        return result
    }

    /// Refuses a stream that is longer than it is said to be, or ends with another checksum.
    private func check(_ state: DecompressionRun) throws(IOError) {
        let isWrong = state.position == byteCount && crc32 != nil && crc32 != state.crc32
        guard state.position > byteCount || isWrong else { return }
        throw IOError(
            .unexpectedEnd, path: name, operation: "decompress", offset: state.position,
            detail: isWrong
                ? "what it holds does not have the CRC-32 that is stated"
                : "the stream holds more bytes than it is said to")
    }
}
