internal import TensorCore

extension TensorView {
    /// The elements as `Float`, row-major, two for each of C64; see `ElementCodec` for what is rounded.
    public func floats() -> [Float] { values(bytes, info.dtype) { ElementCodec.decode($0, $1, into: &$2) } }

    /// The elements as `Double`, row-major, two for each of C64; see `ElementCodec` for what is rounded.
    public func doubles() -> [Double] { values(bytes, info.dtype) { ElementCodec.decode($0, $1, into: &$2) } }
}

extension SafeTensorsReader {
    /// The elements of a tensor as `Float`, row-major, two for each of C64; see `ElementCodec` for what is rounded.
    ///
    /// - Parameter tensor: a tensor of this file's header.
    /// - Throws: ``SafeTensorsError/Code/io``.
    public func floats(of tensor: TensorInfo) throws(SafeTensorsError) -> [Float] {
        let bytes = try bytes(of: tensor)
        return values(bytes.span.bytesView, tensor.dtype) { ElementCodec.decode($0, $1, into: &$2) }
    }

    /// The elements of a tensor as `Double`, row-major, two for each of C64; see `ElementCodec` for what is
    /// rounded.
    ///
    /// - Parameter tensor: a tensor of this file's header.
    /// - Throws: ``SafeTensorsError/Code/io``.
    public func doubles(of tensor: TensorInfo) throws(SafeTensorsError) -> [Double] {
        let bytes = try bytes(of: tensor)
        return values(bytes.span.bytesView, tensor.dtype) { ElementCodec.decode($0, $1, into: &$2) }
    }
}

private func values<T: BinaryFloatingPoint & BitwiseCopyable>(
    _ bytes: RawSpan, _ dtype: DType, _ decode: (RawSpan, DType, inout MutableSpan<T>) -> Void
) -> [T] {
    var result = [T](repeating: 0, count: ElementCodec.valueCount(dtype, byteCount: bytes.byteCount) ?? 0)
    var span = result.mutableSpan
    decode(bytes, dtype, &span)
    return result
}
