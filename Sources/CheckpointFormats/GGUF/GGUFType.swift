public import TensorCore

/// The type of a tensor's elements in a GGUF file.
public struct GGUFType: Sendable, Hashable {
    /// The number that stands for it in files.
    public let id: UInt32
    /// The name that GGML has for it, such as `Q4_K`.
    public let name: String
    /// The elements of a block; 1 for plain numbers.
    public let blockElementCount: Int
    /// The bytes of a block.
    public let blockByteCount: Int
    /// The dtype, where elements are plain numbers.
    public let dtype: DType?
    /// The block format, where elements stand in blocks that can be decoded.
    public let format: BlockFormat?

    /// The type with this number, or nil for one that is not known.
    public init?(id: UInt32) {
        guard let type = Self.all.first(where: { $0.id == id }) else { return nil }
        self = type
    }

    /// The type of plain numbers of a dtype, or nil where GGUF has none.
    public init?(_ dtype: DType) {
        guard let type = Self.all.first(where: { $0.dtype == dtype }) else { return nil }
        self = type
    }

    /// The type of a block format.
    public init(_ format: BlockFormat) {
        guard let type = Self.all.first(where: { $0.format == format }) else {
            preconditionFailure("every block format is in the table")
        }
        self = type
    }

    private init(_ id: UInt32, _ dtype: DType) {
        (self.id, name, self.dtype, format) = (id, dtype.name, dtype, nil)
        (blockElementCount, blockByteCount) = (1, dtype.bitWidth / 8)
    }

    private init(_ id: UInt32, _ format: BlockFormat) {
        (self.id, name, dtype, self.format) = (id, format.rawValue, nil, format)
        (blockElementCount, blockByteCount) = (format.elementCount, format.byteCount)
    }

    /// A type whose blocks are known by their size only.
    private init(_ id: UInt32, _ name: String, _ elements: Int, _ bytes: Int) {
        (self.id, self.name, dtype, format) = (id, name, nil, nil)
        (blockElementCount, blockByteCount) = (elements, bytes)
    }

    /// Every type that is known, by number; the numbers between belong to types that GGML has given up.
    public static let all: [GGUFType] = [
        GGUFType(0, .f32), GGUFType(1, .f16), GGUFType(2, .q4_0), GGUFType(3, .q4_1), GGUFType(6, .q5_0),
        GGUFType(7, .q5_1), GGUFType(8, .q8_0), GGUFType(9, "Q8_1", 32, 36), GGUFType(10, .q2K),
        GGUFType(11, .q3K), GGUFType(12, .q4K), GGUFType(13, .q5K), GGUFType(14, .q6K), GGUFType(15, .q8K),
        GGUFType(16, "IQ2_XXS", 256, 66), GGUFType(17, "IQ2_XS", 256, 74), GGUFType(18, "IQ3_XXS", 256, 98),
        GGUFType(19, "IQ1_S", 256, 50), GGUFType(20, .iq4NL), GGUFType(21, "IQ3_S", 256, 110),
        GGUFType(22, "IQ2_S", 256, 82), GGUFType(23, .iq4XS), GGUFType(24, .i8), GGUFType(25, .i16),
        GGUFType(26, .i32), GGUFType(27, .i64), GGUFType(28, .f64), GGUFType(29, "IQ1_M", 256, 56),
        GGUFType(30, .bf16), GGUFType(34, .tq1_0), GGUFType(35, .tq2_0), GGUFType(39, .mxfp4),
        GGUFType(40, .nvfp4), GGUFType(41, .q1_0), GGUFType(42, "Q2_0", 64, 18),
    ]

    /// The bytes that a tensor of `shape` (outermost dimension first) takes.
    ///
    /// Nil where its rows are no whole number of blocks, or on overflow.
    public func byteCount(of shape: [UInt64]) -> UInt64? {
        let elements = UInt64(blockElementCount)
        guard (shape.last ?? 1) % elements == 0, shape.allSatisfy({ $0 <= UInt64(Int64.max) }),
            let count = DType.elementCount(of: shape),
            count <= UInt64(Int64.max)
        else { return nil }
        let (bytes, overflow) = (count / elements).multipliedReportingOverflow(by: UInt64(blockByteCount))
        return overflow || bytes > UInt64(Int64.max) ? nil : bytes
    }
}
