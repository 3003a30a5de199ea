public import StrictJSON
public import TensorCore

/// The bytes of another source, block by block put through a codec.
public struct BlockMap: ComputedTensor {
    private let input: TensorSource
    private let codec: any BlockCodec

    /// Makes a node.
    ///
    /// - Parameters:
    ///   - input: the blocks; a whole number of them.
    ///   - codec: what becomes of a block.
    /// - Throws: where the input is no whole number of blocks, or the result is beyond 2^63 bytes.
    public init(_ input: TensorSource, codec: any BlockCodec) throws(ExpressionError) {
        let (blocks, rest) = input.byteCount.quotientAndRemainder(dividingBy: UInt64(codec.inputByteCount))
        let (size, overflow) = blocks.multipliedReportingOverflow(by: UInt64(codec.outputByteCount))
        guard rest == 0, !overflow, size <= UInt64(Int64.max) else {
            throw ExpressionError("\(input.byteCount) bytes are no whole number of \(codec.name) blocks")
        }
        self.input = input
        self.codec = codec
        byteCount = size
    }

    /// The size of the result, in bytes.
    public let byteCount: UInt64
    /// The codec's name.
    public var operation: String { codec.name }
    /// Nothing else.
    public var parameters: [JSONMember] { [] }
    /// The blocks.
    public var inputs: [TensorSource] { [input] }
    /// The bytes that a block becomes.
    public var granularity: Int { codec.outputByteCount }

    /// Fills `buffer` with whole blocks.
    public func read(at offset: UInt64, into buffer: inout MutableRawSpan) throws(IOError) {
        let (stored, made) = (codec.inputByteCount, codec.outputByteCount)
        let total = buffer.byteCount / made
        let first = offset / UInt64(made)
        let most = min(total, max(1, input.blockByteCount / max(stored, made)))
        let scratch = PageBuffer(capacity: most * stored)
        for start in stride(from: 0, to: total, by: max(1, most)) {
            let count = min(most, total - start)
            try scratch.withMutableBytes(count: count * stored) { (bytes) throws(IOError) in
                try input.read(at: (first + UInt64(start)) * UInt64(stored), into: &bytes)
            }
            var target = buffer._mutatingExtracting(start * made..<(start + count) * made)
            scratch.withBytes(count: count * stored) { bytes in codec.convert(bytes, into: &target) }
        }
    }
}

/// Rows that are whole blocks are moved as they are, before they are put through the codec.
extension BlockMap {
    /// The blocks as bytes in the shape of the tensor but for the last axis; nil where its rows split blocks.
    private func rows(of tensor: TensorExpression) throws(ExpressionError) -> TensorExpression? {
        guard let length = tensor.shape.last, let row = tensor.dtype.byteCount(of: [length]), row > 0,
            row % UInt64(codec.outputByteCount) == 0
        else { return nil }
        let stored = row / UInt64(codec.outputByteCount) * UInt64(codec.inputByteCount)
        return try TensorExpression(dtype: .u8, shape: tensor.shape.dropLast() + [stored], source: input)
    }

    /// A slice of a tensor that this is the source of; nil where the slice splits blocks.
    func sliced(
        _ ranges: [Range<UInt64>], of tensor: TensorExpression
    ) throws(ExpressionError) -> TensorExpression? {
        guard let rows = try rows(of: tensor), let last = ranges.last,
            let start = tensor.dtype.byteCount(of: [last.lowerBound]),
            let end = tensor.dtype.byteCount(of: [last.upperBound])
        else { return nil }
        let (into, out) = (UInt64(codec.inputByteCount), UInt64(codec.outputByteCount))
        guard start % out == 0, end % out == 0 else { return nil }
        let part = try rows.sliced(ranges.dropLast() + [start / out * into..<end / out * into])
        return try TensorExpression(
            dtype: tensor.dtype, shape: ranges.map { $0.upperBound - $0.lowerBound },
            source: .computed(BlockMap(part.source, codec: codec)))
    }

    /// A tensor that this is the source of with its axes in another order; nil where that splits blocks.
    func permuted(_ order: [Int], of tensor: TensorExpression) throws(ExpressionError) -> TensorExpression? {
        guard order.last == order.count - 1, let rows = try rows(of: tensor) else { return nil }
        return try TensorExpression(
            dtype: tensor.dtype, shape: order.map { tensor.shape[$0] },
            source: .computed(BlockMap(rows.permuted(order).source, codec: codec)))
    }
}
