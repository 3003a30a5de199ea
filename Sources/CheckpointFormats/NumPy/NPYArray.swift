internal import Checkpoints
internal import TensorCore

/// An array in NumPy's format: the tensor that it holds, and the bytes after it.
struct NPYArray {
    let tensor: TensorExpression
    /// The bytes of the range that are left over.
    let trailingByteCount: UInt64

    /// Reads the header of the array that a range of a source is.
    init(
        reading source: any ByteSource, range: Range<UInt64>, options: ReadOptions, file: String,
        member: String? = nil
    ) throws(CheckpointError) {
        let header = try NPYHeader(reading: source, range: range, file: file, member: member)
        let element: NPYElement
        do throws(NPYElement.Refusal) {
            element = try NPYElement(header.descr, voidDType: options.voidDType)
        } catch let refusal {
            throw CheckpointError(
                refusal.class, refusal.code, refusal.message, file: file, member: member)
        }
        let start = range.lowerBound + header.byteCount
        let present = range.upperBound - start
        let count = try Self.byteCount(element.dtype, header.shape, file: file, member: member)
        guard count <= present else {
            throw CheckpointError(
                .malformed, "truncated",
                "its shape needs \(count) bytes, and \(present) follow the header", file: file,
                member: member,
                offset: header.byteCount)
        }
        trailingByteCount = present - count
        var values = TensorSource.extent(Extent(source: source, offset: start, byteCount: count))
        if element.isBigEndian { values = .byteSwapped(values, width: element.swapWidth) }
        do throws(ExpressionError) {
            if header.isFortranOrder {
                tensor = try TensorExpression(
                    dtype: element.dtype, shape: header.shape.reversed(), source: values
                ).permuted(Array(header.shape.indices.reversed()))
            } else {
                tensor = try TensorExpression(dtype: element.dtype, shape: header.shape, source: values)
            }
        } catch {
            throw CheckpointError(.malformed, "npy-header", "\(error)", file: file, member: member)
        }
    }

    private static func byteCount(
        _ dtype: DType, _ shape: [UInt64], file: String, member: String?
    ) throws(CheckpointError) -> UInt64 {
        if shape.contains(0) { return 0 }
        guard shape.count <= 64 else {
            throw CheckpointError(
                .malformed, "npy-header", "it has \(shape.count) dimensions; NumPy has at most 64",
                file: file,
                member: member)
        }
        guard let count = dtype.byteCount(of: shape) else {
            throw CheckpointError(
                .malformed, "size-overflow", "the size of its shape is beyond 64 bits", file: file,
                member: member)
        }
        return count
    }
}
