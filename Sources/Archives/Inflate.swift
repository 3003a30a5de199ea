internal import CZlib
internal import TensorCore

/// Raw deflate streams, expanded into buffers whose size is known beforehand.
enum Inflate {
    /// Why a stream was not accepted.
    enum Failure: Error { case corrupt, tooShort, tooLong, trailingBytes }

    /// Expands `compressed`, which must hold one stream and nothing else, to exactly `byteCount` bytes.
    static func expand(_ compressed: [UInt8], to byteCount: Int) throws(Failure) -> [UInt8] {
        // One byte more than declared, so that a stream that goes on is noticed.
        var output = [UInt8](repeating: 0, count: byteCount + 1)
        var stream = unsafe z_stream()
        let status = unsafe inflateInit2_(
            &stream, -MAX_WBITS, ZLIB_VERSION, CInt(MemoryLayout<z_stream>.size))
        guard status == Z_OK else { throw .corrupt }
        defer { unsafe inflateEnd(&stream) }
        // Sound: zlib reads and writes within the counts it is given, and both arrays outlive the call.
        let code = unsafe compressed.withUnsafeBufferPointer { input in
            unsafe output.withUnsafeMutableBufferPointer { target in
                unsafe stream.next_in = UnsafeMutablePointer(mutating: input.baseAddress)
                unsafe stream.avail_in = uInt(input.count)
                unsafe stream.next_out = target.baseAddress
                unsafe stream.avail_out = uInt(target.count)
                return unsafe inflate(&stream, Z_FINISH)
            }
        }
        let written = unsafe output.count - Int(stream.avail_out)
        guard written <= byteCount else { throw .tooLong }
        guard code == Z_STREAM_END else { throw .corrupt }
        guard written == byteCount else { throw .tooShort }
        guard unsafe stream.avail_in == 0 else { throw .trailingBytes }
        output.removeLast()
        return output
    }
}
