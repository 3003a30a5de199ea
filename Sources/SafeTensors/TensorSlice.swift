internal import TensorCore

/// Part of a tensor of a mapped file.
///
/// Keeps the mapping alive; the spans that it gives cannot outlive it.
public struct TensorSlice: Sendable {
    /// The whole tensor.
    public let tensor: TensorView
    /// What was taken of it.
    public let selection: TensorSelection

    /// The dimensions, outermost first; empty for a single element.
    public var shape: [UInt64] { selection.shape }

    /// The elements' bytes without a copy, or nil where they do not follow each other in the tensor or do not
    /// fill whole bytes; ``copiedBytes()`` gives those.
    public var bytes: RawSpan? {
        @_lifetime(borrow self)
        get {
            guard let range = selection.contiguousBytes else { return nil }
            return tensor.bytes.extracting(range)
        }
    }

    /// A copy of the elements' bytes, row-major and little-endian; time in proportion to its size.
    public func copiedBytes() -> [UInt8] {
        [UInt8](count: selection.byteCount) { selection.copy(from: tensor.bytes, into: &$0) }
    }
}

extension TensorView {
    /// Part of the tensor, with NumPy's rules; reads nothing.
    ///
    /// ```swift
    /// let head = try weight.slice(.range(to: 8), .all, .index(-1))
    /// ```
    ///
    /// - Parameter selections: one for each axis from the outermost on; the axes without one are taken whole.
    /// - Throws: ``SafeTensorsError/Code/outOfRange``, ``SafeTensorsError/Code/tooManyIndices`` or
    ///   ``SafeTensorsError/Code/badSelection``.
    public func slice(_ selections: AxisSelection...) throws(SafeTensorsError) -> TensorSlice {
        TensorSlice(
            tensor: self, selection: try TensorSelection(selections, of: info.dtype, shape: info.shape))
    }

    /// The element at a position in row-major order, at any alignment, or nil where there is none or `T` does not
    /// fit the dtype.
    ///
    /// - Parameters:
    ///   - position: counts elements from the start of the tensor.
    ///   - type: the type of the value.
    public func element<T: TensorElement>(at position: Int, as type: T.Type) -> T? {
        guard T.canView(info.dtype), MemoryLayout<T>.size == 1 || 1.littleEndian == 1 else { return nil }
        let bytes = bytes
        let size = MemoryLayout<T>.size
        guard position >= 0, position < bytes.byteCount / size else { return nil }
        // Sound: within bounds, and every bit pattern is a `T`.
        return unsafe bytes.unsafeLoadUnaligned(fromByteOffset: position * size, as: T.self)
    }

    /// The element of a BOOL tensor at a position in row-major order, true for every byte but 0, or nil where
    /// there is none or the dtype is another.
    ///
    /// - Parameter position: counts elements from the start of the tensor.
    public func bool(at position: Int) -> Bool? {
        let bytes = bytes
        guard info.dtype == .bool, position >= 0, position < bytes.byteCount else { return nil }
        return bytes[position] != 0
    }
}

extension SafeTensorsReader {
    /// The bytes of part of a tensor, row-major and little-endian.
    ///
    /// Reads what it needs and little more; see ``TensorSelection/read(from:at:into:)``.
    ///
    /// - Parameters:
    ///   - tensor: a tensor of this file's header.
    ///   - selections: one for each axis from the outermost on; the axes without one are taken whole.
    /// - Throws: what is wrong with the selection, or ``SafeTensorsError/Code/io``.
    public func bytes(
        of tensor: TensorInfo, _ selections: [AxisSelection]
    ) throws(SafeTensorsError) -> [UInt8] {
        let selection = try TensorSelection(selections, of: tensor.dtype, shape: tensor.shape)
        do {
            return try [UInt8](count: selection.byteCount) { (buffer) throws(IOError) in
                try selection.read(from: source, at: tensor.fileRange.lowerBound, into: &buffer)
            }
        } catch {
            throw SafeTensorsError(error)
        }
    }
}
