internal import TensorCore

/// An element type of PyTorch, by its Python name.
struct TorchElement: Hashable {
    /// The name, such as `float32`.
    let name: String
    /// Bytes that an element takes in storage.
    let byteWidth: Int
    /// What it is in SafeTensors, or nil where that has nothing like it.
    let dtype: DType?

    /// The elements in a byte of storage, which torch counts for views but not for storages: more than one for the
    /// quantised dtypes of less than a byte.
    var elementsInByte: Int {
        switch name {
        case "quint4x2": 2
        case "quint2x4": 4
        default: 1
        }
    }

    /// The element that untyped storage counts in.
    static let byte = TorchElement(name: "uint8", byteWidth: 1, dtype: .u8)

    /// The dtypes by name.
    static let all: [TorchElement] = [
        TorchElement(name: "float32", byteWidth: 4, dtype: .f32),
        TorchElement(name: "float64", byteWidth: 8, dtype: .f64),
        TorchElement(name: "float16", byteWidth: 2, dtype: .f16),
        TorchElement(name: "bfloat16", byteWidth: 2, dtype: .bf16),
        TorchElement(name: "int64", byteWidth: 8, dtype: .i64),
        TorchElement(name: "int32", byteWidth: 4, dtype: .i32),
        TorchElement(name: "int16", byteWidth: 2, dtype: .i16),
        TorchElement(name: "int8", byteWidth: 1, dtype: .i8),
        byte,
        TorchElement(name: "bool", byteWidth: 1, dtype: .bool),
        TorchElement(name: "uint16", byteWidth: 2, dtype: .u16),
        TorchElement(name: "uint32", byteWidth: 4, dtype: .u32),
        TorchElement(name: "uint64", byteWidth: 8, dtype: .u64),
        TorchElement(name: "complex64", byteWidth: 8, dtype: .c64),
        TorchElement(name: "complex128", byteWidth: 16, dtype: nil),
        TorchElement(name: "complex32", byteWidth: 4, dtype: nil),
        TorchElement(name: "float8_e4m3fn", byteWidth: 1, dtype: .f8E4M3),
        TorchElement(name: "float8_e5m2", byteWidth: 1, dtype: .f8E5M2),
        TorchElement(name: "float8_e4m3fnuz", byteWidth: 1, dtype: .f8E4M3FNUZ),
        TorchElement(name: "float8_e5m2fnuz", byteWidth: 1, dtype: .f8E5M2FNUZ),
        TorchElement(name: "float8_e8m0fnu", byteWidth: 1, dtype: .f8E8M0),
        // Two elements in a byte: PyTorch counts the bytes, SafeTensors the elements.
        TorchElement(name: "float4_e2m1fn_x2", byteWidth: 1, dtype: .f4),
        TorchElement(name: "qint8", byteWidth: 1, dtype: nil),
        TorchElement(name: "quint8", byteWidth: 1, dtype: nil),
        TorchElement(name: "qint32", byteWidth: 4, dtype: nil),
        TorchElement(name: "quint4x2", byteWidth: 1, dtype: nil),
        TorchElement(name: "quint2x4", byteWidth: 1, dtype: nil),
        TorchElement(name: "bits8", byteWidth: 1, dtype: nil),
        TorchElement(name: "bits16", byteWidth: 2, dtype: nil),
        TorchElement(name: "bits1x8", byteWidth: 1, dtype: nil),
        TorchElement(name: "bits2x4", byteWidth: 1, dtype: nil),
        TorchElement(name: "bits4x2", byteWidth: 1, dtype: nil),
    ]

    /// The dtype of a storage class, by the start of the class's name: `Float` for `FloatStorage`.
    static let storagePrefixes: [(prefix: String, element: String)] = [
        ("Float", "float32"), ("Double", "float64"), ("Half", "float16"), ("BFloat16", "bfloat16"),
        ("Long", "int64"), ("Int", "int32"), ("Short", "int16"), ("Char", "int8"), ("Byte", "uint8"),
        ("Bool", "bool"), ("ComplexFloat", "complex64"), ("ComplexDouble", "complex128"),
        ("QInt8", "qint8"), ("QUInt8", "quint8"), ("QInt32", "qint32"), ("QUInt4x2", "quint4x2"),
        ("QUInt2x4", "quint2x4"),
    ]
}
