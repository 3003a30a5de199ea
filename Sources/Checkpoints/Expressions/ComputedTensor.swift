public import StrictJSON
public import TensorCore

/// A node of a ``TensorSource`` with a rule of its own: quantised blocks decoded, an adapter merged, and the like.
///
/// The result is row-major and little-endian, and the same each time, whatever pieces it is read in.
public protocol ComputedTensor: Sendable {
    /// What is done, as plans name it, such as `gguf_dequantised`.
    var operation: String { get }
    /// What else decides the result, for plans.
    var parameters: [JSONMember] { get }
    /// What the result is made of.
    var inputs: [TensorSource] { get }
    /// The size of the result, in bytes.
    var byteCount: UInt64 { get }
    /// The bytes of the smallest unit of the result that is computed as one.
    var granularity: Int { get }
    /// How large pieces should be for reading to be fast; a hint.
    var preferredPieceByteCount: Int { get }
    /// Fills `buffer` with the result's bytes from `offset`; both are whole numbers of units, and within the
    /// result.
    ///
    /// Takes at most ``TensorSource/scratchByteCount`` of memory beside the buffer and what the inputs take.
    func read(at offset: UInt64, into buffer: inout MutableRawSpan) throws(IOError)
    /// The same rounded to another floating dtype of whole bytes; nil where the rule has no more digits than its
    /// result.
    func rounded(to dtype: DType) -> (any ComputedTensor)?
}

extension ComputedTensor {
    /// None.
    public func rounded(to dtype: DType) -> (any ComputedTensor)? { nil }

    /// That of the most demanding input.
    public var preferredPieceByteCount: Int { inputs.reduce(0) { max($0, $1.preferredPieceByteCount) } }
}

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
