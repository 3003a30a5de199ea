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
