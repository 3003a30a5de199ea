public import TensorCore

/// What a header says about one tensor.
public struct TensorInfo: Sendable, Hashable {
    /// The name.
    public let name: TensorName
    /// The element type.
    public let dtype: DType
    /// The dimensions, outermost first; empty for a scalar.
    public let shape: [UInt64]
    /// The bytes it takes, counted from the start of the data section.
    public let dataOffsets: Range<UInt64>
    /// The bytes it takes, counted from the start of the file.
    public let fileRange: Range<UInt64>

    /// The size of its data, in bytes.
    public var byteCount: UInt64 { dataOffsets.upperBound - dataOffsets.lowerBound }
}
