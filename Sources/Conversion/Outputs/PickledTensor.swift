internal import Checkpoints
internal import TensorCore

/// A tensor as a pickle refers to it: contiguous, alone in its storage.
struct PickledTensor {
    let element: PickledElement
    /// The number of the storage in its archive.
    let storage: Int
    /// The dimensions, as torch counts them.
    let shape: [UInt64]
    let elementCount: UInt64
    let byteCount: UInt64

    init?(_ tensor: TensorRecord, storage: Int) {
        guard let element = PickledElement(tensor.dtype) else { return nil }
        var shape = tensor.shape
        if tensor.dtype == .f4 {
            // Two elements in a byte: PyTorch counts the bytes.
            guard let last = shape.last, last % 2 == 0 else { return nil }
            shape[shape.count - 1] = last / 2
        }
        self.element = element
        self.storage = storage
        self.shape = shape
        byteCount = tensor.byteCount
        elementCount = tensor.dtype == .f4 ? tensor.byteCount : tensor.elementCount
    }

    var strides: [UInt64] {
        var strides = Array(repeating: UInt64(1), count: shape.count)
        for axis in shape.indices.dropLast().reversed() {
            strides[axis] = strides[axis + 1] * max(1, shape[axis + 1])
        }
        return strides
    }
}

/// An element type as a pickle names it.
struct PickledElement {
    /// PyTorch's name of the dtype.
    let name: String
    /// The class of the storage.
    let storage: String
    /// Whether the class of the storage says the dtype; newer dtypes have none and are named beside it.
    var isTyped: Bool { storage != "UntypedStorage" }

    /// Nil for what PyTorch has not.
    init?(_ dtype: DType) {
        let typed: [DType: (String, String)] = [
            .f64: ("float64", "DoubleStorage"), .f32: ("float32", "FloatStorage"),
            .f16: ("float16", "HalfStorage"), .bf16: ("bfloat16", "BFloat16Storage"),
            .i64: ("int64", "LongStorage"), .i32: ("int32", "IntStorage"), .i16: ("int16", "ShortStorage"),
            .i8: ("int8", "CharStorage"), .u8: ("uint8", "ByteStorage"), .bool: ("bool", "BoolStorage"),
            .c64: ("complex64", "ComplexFloatStorage"),
        ]
        let untyped: [DType: String] = [
            .u16: "uint16", .u32: "uint32", .u64: "uint64", .f8E4M3: "float8_e4m3fn", .f8E5M2: "float8_e5m2",
            .f8E4M3FNUZ: "float8_e4m3fnuz", .f8E5M2FNUZ: "float8_e5m2fnuz", .f8E8M0: "float8_e8m0fnu",
            .f4: "float4_e2m1fn_x2",
        ]
        if let (name, storage) = typed[dtype] {
            (self.name, self.storage) = (name, storage)
        } else if let name = untyped[dtype] {
            (self.name, storage) = (name, "UntypedStorage")
        } else {
            return nil
        }
    }
}
