internal import Checkpoints
internal import TensorCore

/// The element types of ONNX tensors: what becomes of each, and in which field its numbers may stand.
struct ONNXElement {
    /// The name in the specification.
    let name: String
    /// The dtype of the tensor that is made; nil for what no dtype holds.
    let dtype: DType?
    /// The bits that an element takes in a file.
    let bitWidth: Int
    /// The field of numbers that a tensor without raw bytes has.
    let field: ONNXTensor.Field
    /// What makes bytes of integers that share them.
    let unpacking: PackedIntegers?

    private init(
        _ name: String, _ dtype: DType?, _ field: ONNXTensor.Field = .int32, bitWidth: Int? = nil,
        unpacking: PackedIntegers? = nil
    ) {
        self.name = name
        self.dtype = dtype
        self.bitWidth = bitWidth ?? dtype?.bitWidth ?? 0
        self.field = field
        self.unpacking = unpacking
    }

    private static func packed(_ name: String, _ bits: Int, isSigned: Bool) -> ONNXElement {
        ONNXElement(
            name, isSigned ? .i8 : .u8, bitWidth: bits,
            unpacking: PackedIntegers(bitWidth: bits, isSigned: isSigned))
    }

    /// The type with a number of `TensorProto.DataType`.
    init?(number: UInt64) {
        switch number {
        case 1: self.init("FLOAT", .f32, .float)
        case 2: self.init("UINT8", .u8)
        case 3: self.init("INT8", .i8)
        case 4: self.init("UINT16", .u16)
        case 5: self.init("INT16", .i16)
        case 6: self.init("INT32", .i32)
        case 7: self.init("INT64", .i64, .int64)
        case 8: self.init("STRING", nil)
        case 9: self.init("BOOL", .bool)
        case 10: self.init("FLOAT16", .f16)
        case 11: self.init("DOUBLE", .f64, .double)
        case 12: self.init("UINT32", .u32, .uint64)
        case 13: self.init("UINT64", .u64, .uint64)
        case 14: self.init("COMPLEX64", .c64, .float)
        case 15: self.init("COMPLEX128", nil)
        case 16: self.init("BFLOAT16", .bf16)
        case 17: self.init("FLOAT8E4M3FN", .f8E4M3)
        case 18: self.init("FLOAT8E4M3FNUZ", .f8E4M3FNUZ)
        case 19: self.init("FLOAT8E5M2", .f8E5M2)
        case 20: self.init("FLOAT8E5M2FNUZ", .f8E5M2FNUZ)
        case 21: self = .packed("UINT4", 4, isSigned: false)
        case 22: self = .packed("INT4", 4, isSigned: true)
        case 23: self.init("FLOAT4E2M1", .f4)
        case 24: self.init("FLOAT8E8M0", .f8E8M0)
        case 25: self = .packed("UINT2", 2, isSigned: false)
        case 26: self = .packed("INT2", 2, isSigned: true)
        default: return nil
        }
    }

    /// The bytes that so many elements take in a file, or nil where that is beyond 63 bits.
    func byteCount(elements: UInt64) -> UInt64? {
        let (bits, overflow) = elements.multipliedReportingOverflow(by: UInt64(bitWidth))
        return overflow || bits > UInt64(Int64.max) ? nil : (bits + 7) / 8
    }
}
