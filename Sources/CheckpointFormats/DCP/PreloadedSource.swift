internal import TensorCore

/// A source of which some ranges were read before, so that headers cost one read and not ten.
struct PreloadedSource: ByteSource {
    private let source: any ByteSource
    private let ranges: [(start: UInt64, bytes: [UInt8])]

    /// The most bytes that are read at either end of an archive: enough for all the headers of one small pickle.
    private static let edge: UInt64 = 2048

    /// Reads both ends of a range, or all of it where that is no more.
    init(_ source: any ByteSource, edgesOf range: Range<UInt64>) throws(IOError) {
        self.source = source
        let count = range.upperBound - range.lowerBound
        if count <= 3 * Self.edge {
            ranges = [(range.lowerBound, try source.bytes(at: range.lowerBound, count: Int(count)))]
        } else {
            let tail = range.upperBound - Self.edge
            ranges = [
                (range.lowerBound, try source.bytes(at: range.lowerBound, count: Int(Self.edge))),
                (tail, try source.bytes(at: tail, count: Int(Self.edge))),
            ]
        }
    }

    var name: String { source.name }
    var byteCount: UInt64 { source.byteCount }

    func read(at offset: UInt64, into buffer: inout MutableRawSpan) throws(IOError) {
        let count = UInt64(buffer.byteCount)
        for (start, bytes) in ranges where offset >= start && offset - start <= UInt64(bytes.count) {
            let first = Int(offset - start)
            guard count <= UInt64(bytes.count - first) else { continue }
            return copyBytes(
                from: bytes.span.bytesView, at: first, to: &buffer, at: 0, count: buffer.byteCount)
        }
        try source.read(at: offset, into: &buffer)
    }
}
