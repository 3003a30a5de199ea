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
    private let mayEndEarly: Bool
    private let state: Mutex<DecompressionRun>

    /// What is kept of the bytes that were passed: pieces are asked for nearly in order, from several threads.
    public static var windowByteCount: Int { 16 << 20 }
    private let windowByteCount: Int

    /// Makes a source.
    ///
    /// - Parameters:
    ///   - name: what the bytes are, for messages.
    ///   - source: what holds the stream.
    ///   - range: where the stream stands in it, all of it.
    ///   - compression: how it is compressed.
    ///   - byteCount: the size of what it holds.
    ///   - crc32: the CRC-32 of what it holds, where that is known: the read that reaches the end fails where it
    ///     is another.
    ///   - mayEndEarly: whether the stream need not be finished; what it holds must tell where it ends.
    ///   - window: how many bytes are kept of those that were passed.
    public init(
        name: String, of source: any ByteSource, range: Range<UInt64>, compression: Compression,
        byteCount: UInt64, crc32: UInt32? = nil, mayEndEarly: Bool = false,
        window: Int = windowByteCount
    ) {
        self.name = name
        self.source = source
        self.range = range
        self.compression = compression
        self.byteCount = byteCount
        self.crc32 = crc32
        self.mayEndEarly = mayEndEarly
        windowByteCount = window
        state = Mutex(
            DecompressionRun(
                source, range, compression, name: name, takesChecksum: crc32 != nil, mayEndEarly: mayEndEarly)
        )
    }

    /// The sources that were read last and keep something for the next read.
    private static let opened = Mutex(OpenedStreams())

    /// Lets go of what is kept; the next read begins at the start of the stream.
    private func forget() { state.withLock { $0 = newRun() } }

    private func newRun() -> DecompressionRun {
        DecompressionRun(
            source, range, compression, name: name, takesChecksum: crc32 != nil, mayEndEarly: mayEndEarly)
    }

    /// A read that goes back may decompress everything again.
    public var readCost: Int { 1 << 20 }

    /// The bytes of a stream of unknown size, where it has at most `limit`; nil where it has more.
    public static func contents(
        of source: any ByteSource, range: Range<UInt64>, compression: Compression, limit: Int,
        mayEndEarly: Bool = false
    ) throws(IOError) -> [UInt8]? {
        let run = DecompressionRun(
            source, range, compression, name: source.name, mayEndEarly: mayEndEarly)
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
        of source: any ByteSource, range: Range<UInt64>, compression: Compression, limit: UInt64,
        mayEndEarly: Bool = false
    ) throws(IOError) -> UInt64? {
        let run = DecompressionRun(
            source, range, compression, name: source.name, mayEndEarly: mayEndEarly)
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
        // Outside of the lock, as the other one may be reading.
        Self.opened.withLock { $0.use(self) }?.forget()
        let bytes = try state.withLock { (state) throws(IOError) in
            do throws(IOError) {
                return try self.bytes(offset, total, &state)
            } catch {
                // What was kept must not be taken for good by the next read.
                state = newRun()
                throw error
            }
        }
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
            state = newRun()
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
                throw damage(
                    "the stream holds \(state.position) bytes and not \(byteCount)", at: state.position)
            }
            let chunkStart = state.position - UInt64(chunk.count)
            state.keep(chunk, limit: windowByteCount)
            if state.position >= byteCount { try checkEnd(of: state) }
            if state.position > position {
                let stop = min(end, state.position)
                result.append(chunk[Int(position - chunkStart)..<Int(stop - chunkStart)])
                position = stop
            }
        }
        return result
    }

    /// Checks that a run that made all bytes made no more, and the right ones.
    private func checkEnd(of run: DecompressionRun) throws(IOError) {
        let made = run.position
        let rest = made == byteCount ? try run.advance() : []
        guard made == byteCount, rest.isEmpty else {
            throw damage("the stream holds more than its \(byteCount) bytes", at: byteCount)
        }
        guard crc32 == nil || run.checksum == crc32 else {
            throw damage("its bytes do not have the CRC-32 that the archive states", at: 0)
        }
    }

    private func damage(_ detail: String, at offset: UInt64) -> IOError {
        IOError(.damaged, path: name, operation: "decompress", offset: offset, detail: detail)
    }
}

/// The streams that may keep what they have decompressed: a file of many members may not keep that of each.
private struct OpenedStreams {
    private struct Reference {
        weak var source: DecompressedSource?
    }

    private var recent: [Reference] = []

    /// How many may.
    private static let limit = 8

    /// Notes that a source is read, and returns the one that has to let go for it.
    mutating func use(_ source: DecompressedSource) -> DecompressedSource? {
        if recent.last?.source === source { return nil }
        recent.removeAll { $0.source === source || $0.source == nil }
        recent.append(Reference(source: source))
        return recent.count > Self.limit ? recent.removeFirst().source : nil
    }
}
