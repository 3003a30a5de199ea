internal import CZlib
internal import CZstd
internal import TensorCore

/// How a stream is compressed.
public enum Compression: String, Sendable {
    /// Deflate without a frame, as in zip.
    case deflate
    /// gzip, several members one after the other included.
    case gzip
    /// zlib, as zarr and HDF5 use it.
    case zlib
    /// zstd, several frames one after the other included.
    case zstd
}

/// A decompressor that is fed and drained piece by piece.
///
/// Memory is that of the library's window: 32 KiB for deflate, at most 128 MiB for zstd.
@safe final class Decompressor {
    private let compression: Compression
    // Sound: both are made here, used by one thread at a time and freed at the end; zlib's state points back to the
    // stream, which must therefore not move.
    private var zlib: UnsafeMutablePointer<z_stream>?
    private var zstd: OpaquePointer?
    /// Whether the stream ended where it may end.
    private(set) var isAtEnd = false

    /// Why a stream was not accepted.
    enum Failure: Error { case corrupt, noMemory }

    init(_ compression: Compression) throws(Failure) {
        self.compression = compression
        if compression == .zstd {
            unsafe zstd = ZSTD_createDStream()
            guard unsafe zstd != nil else { throw .noMemory }
            return
        }
        let stream = UnsafeMutablePointer<z_stream>.allocate(capacity: 1)
        unsafe stream.initialize(to: z_stream())
        unsafe zlib = stream
        let bits: CInt =
            switch compression {
            case .deflate: -MAX_WBITS
            case .gzip: MAX_WBITS + 16
            default: MAX_WBITS
            }
        guard unsafe inflateInit2_(stream, bits, ZLIB_VERSION, CInt(MemoryLayout<z_stream>.size)) == Z_OK
        else { throw .noMemory }
    }

    deinit {
        if let zlib = unsafe zlib {
            unsafe inflateEnd(zlib)
            unsafe zlib.deallocate()
        }
        if let zstd = unsafe zstd { unsafe ZSTD_freeDStream(zstd) }
    }

    /// Decompresses as much of `input` as fits into `output`.
    ///
    /// - Returns: how many bytes were taken and made. Nothing of either means that more input is needed, or that
    ///   the stream has ended.
    func step(_ input: RawSpan, into output: inout MutableRawSpan) throws(Failure) -> (taken: Int, made: Int)
    {
        let result = unsafe input.withUnsafeBytes { input in
            unsafe output.withUnsafeMutableBytes { output in
                unsafe zstd == nil ? stepZlib(input, output) : stepZstd(input, output)
            }
        }
        guard let result else { throw .corrupt }
        return result
    }

    private func stepZlib(
        _ input: UnsafeRawBufferPointer, _ output: UnsafeMutableRawBufferPointer
    ) -> (taken: Int, made: Int)? {
        guard let zlib = unsafe zlib else { return nil }
        if isAtEnd {
            // What follows a member of gzip is another one; elsewhere it is not the stream's.
            guard compression == .gzip, unsafe !input.isEmpty else { return (0, 0) }
            guard unsafe inflateReset(zlib) == Z_OK else { return nil }
            isAtEnd = false
        }
        let most = Int(CInt.max)
        let (given, room) = (min(input.count, most), min(output.count, most))
        unsafe zlib.pointee.next_in = unsafe UnsafeMutablePointer(
            mutating: input.baseAddress?.assumingMemoryBound(to: UInt8.self))
        unsafe zlib.pointee.avail_in = uInt(given)
        unsafe zlib.pointee.next_out = unsafe output.baseAddress?.assumingMemoryBound(to: UInt8.self)
        unsafe zlib.pointee.avail_out = uInt(room)
        let code = unsafe inflate(zlib, Z_NO_FLUSH)
        guard code == Z_OK || code == Z_STREAM_END || code == Z_BUF_ERROR else { return nil }
        isAtEnd = code == Z_STREAM_END
        return unsafe (given - Int(zlib.pointee.avail_in), room - Int(zlib.pointee.avail_out))
    }

    private func stepZstd(
        _ input: UnsafeRawBufferPointer, _ output: UnsafeMutableRawBufferPointer
    ) -> (taken: Int, made: Int)? {
        // Without input it would begin to wait for another frame.
        if isAtEnd, unsafe input.isEmpty { return (0, 0) }
        var source = unsafe ZSTD_inBuffer(src: input.baseAddress, size: input.count, pos: 0)
        var target = unsafe ZSTD_outBuffer(dst: output.baseAddress, size: output.count, pos: 0)
        let code = unsafe ZSTD_decompressStream(zstd, &target, &source)
        guard ZSTD_isError(code) == 0 else { return nil }
        // Asked again at the end of a frame, it waits for the next one, which need not come.
        if unsafe source.pos > 0 || target.pos > 0 { isAtEnd = code == 0 }
        return unsafe (source.pos, target.pos)
    }
}
