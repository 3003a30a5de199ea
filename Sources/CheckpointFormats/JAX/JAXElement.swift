internal import Checkpoints
internal import StrictJSON
internal import TensorCore

/// Element types by the names that NumPy and JAX have for them.
enum JAXElement {
    private static let known: [String: DType] = [
        "bool": .bool, "int8": .i8, "int16": .i16, "int32": .i32, "int64": .i64, "uint8": .u8, "uint16": .u16,
        "uint32": .u32, "uint64": .u64, "float16": .f16, "float32": .f32, "float64": .f64, "bfloat16": .bf16,
        "complex64": .c64, "float8_e4m3fn": .f8E4M3, "float8_e5m2": .f8E5M2, "float8_e4m3fnuz": .f8E4M3FNUZ,
        "float8_e5m2fnuz": .f8E5M2FNUZ, "float8_e8m0fnu": .f8E8M0,
    ]

    /// The dtype of this name, or nil where SafeTensors has none.
    static func dtype(named name: String) -> DType? { known[name] }

    /// The error for an element type that has no counterpart.
    static func unsupported(_ name: String, file: String, offset: UInt64? = nil) -> CheckpointError {
        CheckpointError(
            .unsupported, "dtype",
            "SafeTensors has no dtype for elements of type '\(escapedForDisplay(name))'; leave the tensor out "
                + "with --skip-unsupported, or save it in another type", file: file, offset: offset)
    }
}

extension DType {
    /// The bytes that change places with the order of bytes: those of a number, or of each part of a complex one.
    var swapWidth: Int { self == .c64 ? 4 : byteWidth ?? 1 }
}

extension TensorExpression {
    /// The one number of a tensor without dimensions.
    func scalar() throws(IOError) -> JSONValue {
        let bytes = try [UInt8](count: Int(byteCount)) { (buffer) throws(IOError) in
            try source.read(at: 0, into: &buffer)
        }
        let view = bytes.span.bytesView
        switch dtype {
        case .bool: return .bool(view[0] != 0)
        case .i8: return .integer(Int8(bitPattern: view[0]))
        case .u8: return .integer(view[0])
        case .i16: return .integer(view.load(littleEndian: Int16.self, at: 0))
        case .u16: return .integer(view.load(littleEndian: UInt16.self, at: 0))
        case .i32: return .integer(view.load(littleEndian: Int32.self, at: 0))
        case .u32: return .integer(view.load(littleEndian: UInt32.self, at: 0))
        case .i64: return .integer(view.load(littleEndian: Int64.self, at: 0))
        case .u64: return .integer(view.load(littleEndian: UInt64.self, at: 0))
        default:
            var values = [Double](
                repeating: 0, count: ElementCodec.valueCount(dtype, byteCount: bytes.count) ?? 0)
            var span = values.mutableSpan
            ElementCodec.decode(view, dtype, into: &span)
            let numbers = values.map(JSONValue.init(number:))
            return numbers.count == 1 ? numbers[0] : .array(numbers)
        }
    }
}

extension JSONValue {
    /// A number, as text where JSON has none like it.
    init(number: Double) { self = number.isFinite ? .number("\(number)") : .string("\(number)") }
}
