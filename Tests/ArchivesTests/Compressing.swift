import Archives
import CZlib
import CZstd
import TensorCore

/// Streams for tests, made by the libraries themselves.
enum Compressing {
    /// A stream of one member or frame.
    static func stream(_ bytes: [UInt8], _ compression: Compression) -> [UInt8] {
        compression == .zstd ? zstd(bytes) : zlib(bytes, compression)
    }

    private static func zlib(_ bytes: [UInt8], _ compression: Compression) -> [UInt8] {
        var stream = unsafe z_stream()
        let bits: CInt =
            switch compression {
            case .deflate: -MAX_WBITS
            case .gzip: MAX_WBITS + 16
            default: MAX_WBITS
            }
        precondition(
            unsafe deflateInit2_(
                &stream, 6, Z_DEFLATED, bits, 8, Z_DEFAULT_STRATEGY, ZLIB_VERSION,
                CInt(MemoryLayout<z_stream>.size)) == Z_OK)
        defer { unsafe deflateEnd(&stream) }
        var output = [UInt8](repeating: 0, count: bytes.count + bytes.count / 100 + 100)
        var input = bytes
        let count = unsafe input.withUnsafeMutableBufferPointer { source in
            unsafe output.withUnsafeMutableBufferPointer { target in
                unsafe stream.next_in = source.baseAddress
                unsafe stream.avail_in = uInt(source.count)
                unsafe stream.next_out = target.baseAddress
                unsafe stream.avail_out = uInt(target.count)
                precondition(unsafe deflate(&stream, Z_FINISH) == Z_STREAM_END)
                return unsafe target.count - Int(stream.avail_out)
            }
        }
        return Array(output[..<count])
    }

    private static func zstd(_ bytes: [UInt8]) -> [UInt8] {
        var output = [UInt8](repeating: 0, count: ZSTD_compressBound(bytes.count))
        let count = unsafe bytes.withUnsafeBytes { source in
            unsafe output.withUnsafeMutableBytes { target in
                unsafe ZSTD_compress(target.baseAddress, target.count, source.baseAddress, source.count, 3)
            }
        }
        return Array(output[..<count])
    }

    /// Bytes that shrink somewhat and never repeat in the same way.
    static func sample(_ count: Int) -> [UInt8] {
        var state: UInt64 = 1
        return (0..<count).map { _ in
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return UInt8(truncatingIfNeeded: state >> 59)
        }
    }
}
