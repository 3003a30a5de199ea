internal import Checkpoints
internal import TensorCore

/// Reads a GGUF header from its start to its end through a window, so that it never stands in memory as a whole.
struct GGUFCursor {
    private let source: any ByteSource
    private let file: String
    /// The bytes that were read last, and how many of them are used up.
    private var window: [UInt8] = []
    private var used = 0
    /// The byte of the file after the window.
    private var next: UInt64 = 0
    /// The bytes that a header may still take.
    private let end: UInt64

    private static let windowByteCount = 1 << 20

    init(_ source: any ByteSource, file: String) {
        self.source = source
        self.file = file
        end = min(source.byteCount, UInt64(GGUFHeader.byteCountLimit))
    }

    /// The byte of the file that comes next.
    var position: UInt64 { next - UInt64(window.count - used) }

    /// Makes sure that the window holds the next `count` bytes.
    private mutating func need(_ count: Int) throws(CheckpointError) {
        if window.count - used >= count { return }
        guard UInt64(count) <= end - position else { throw isTooShort(for: UInt64(count)) }
        window.removeFirst(used)
        used = 0
        let size = Int(min(end - next, UInt64(max(count - window.count, Self.windowByteCount))))
        do { window += try source.bytes(at: next, count: size) } catch { throw CheckpointError(error) }
        next += UInt64(size)
    }

    private func isTooShort(for count: UInt64) -> CheckpointError {
        if end < source.byteCount {
            return CheckpointError(
                .malformed, "gguf-header-too-large",
                "the header has more than \(GGUFHeader.byteCountLimit) bytes", file: file, offset: position)
        }
        return CheckpointError(
            .malformed, "truncated",
            "the header needs \(count) bytes here, and the file ends after \(source.byteCount - position)",
            file: file, offset: position)
    }

    mutating func integer<T: FixedWidthInteger & BitwiseCopyable>(
        _ type: T.Type
    ) throws(CheckpointError) -> T {
        let width = MemoryLayout<T>.size
        try need(width)
        defer { used += width }
        return window.span.bytesView.load(littleEndian: T.self, at: used)
    }

    /// A count of things that take at least `least` bytes each, so that no more is allocated than the file has.
    mutating func count(of what: String, least: Int) throws(CheckpointError) -> Int {
        let at = position
        let value = try integer(UInt64.self)
        guard value <= (end - position) / UInt64(least) else {
            let error = isTooShort(for: value)
            throw CheckpointError(
                .malformed, error.code, "there are to be \(value) \(what): \(error.message)", file: file,
                offset: at)
        }
        return Int(value)
    }

    /// The next bytes.
    mutating func bytes(_ count: Int) throws(CheckpointError) -> [UInt8] {
        try need(count)
        defer { used += count }
        return Array(window[used..<used + count])
    }

    /// A string: its length, then its bytes.
    mutating func string() throws(CheckpointError) -> [UInt8] {
        try bytes(count(of: "bytes of a string", least: 1))
    }

    /// An array of strings.
    mutating func strings(_ count: Int) throws(CheckpointError) -> GGUFStrings {
        var result = GGUFStrings()
        for _ in 0..<count {
            let length = try self.count(of: "bytes of a string", least: 1)
            try need(length)
            result.append(window.span.extracting(used..<used + length))
            used += length
        }
        return result
    }
}
