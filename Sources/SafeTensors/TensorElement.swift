public import TensorCore

/// A Swift type whose values can be seen directly in a tensor's bytes.
///
/// Floating types see their own dtype, signed integers theirs, and unsigned integers any dtype of their width,
/// for those that Swift has no type for (BF16 as `UInt16`, F8 as `UInt8`). `Bool` is not among them: a byte
/// that is neither 0 nor 1 would not be a valid `Bool`.
public protocol TensorElement: BitwiseCopyable {
    /// True where the bytes of `dtype` can be seen as this type.
    ///
    /// - Parameter dtype: the dtype of a tensor.
    /// - Returns: whether its bytes are values of this type.
    static func canView(_ dtype: DType) -> Bool
}

extension UInt8: TensorElement {
    /// True for the dtypes of one byte.
    ///
    /// - Parameter dtype: the dtype of a tensor.
    /// - Returns: whether its bytes are values of this type.
    public static func canView(_ dtype: DType) -> Bool { dtype.bitWidth == 8 }
}

extension UInt16: TensorElement {
    /// True for the dtypes of two bytes.
    ///
    /// - Parameter dtype: the dtype of a tensor.
    /// - Returns: whether its bytes are values of this type.
    public static func canView(_ dtype: DType) -> Bool { dtype.bitWidth == 16 }
}

extension UInt32: TensorElement {
    /// True for the dtypes of four bytes.
    ///
    /// - Parameter dtype: the dtype of a tensor.
    /// - Returns: whether its bytes are values of this type.
    public static func canView(_ dtype: DType) -> Bool { dtype.bitWidth == 32 }
}

extension UInt64: TensorElement {
    /// True for the dtypes of eight bytes.
    ///
    /// - Parameter dtype: the dtype of a tensor.
    /// - Returns: whether its bytes are values of this type.
    public static func canView(_ dtype: DType) -> Bool { dtype.bitWidth == 64 }
}

extension Int8: TensorElement {
    /// True for I8.
    ///
    /// - Parameter dtype: the dtype of a tensor.
    /// - Returns: whether its bytes are values of this type.
    public static func canView(_ dtype: DType) -> Bool { dtype == .i8 }
}

extension Int16: TensorElement {
    /// True for I16.
    ///
    /// - Parameter dtype: the dtype of a tensor.
    /// - Returns: whether its bytes are values of this type.
    public static func canView(_ dtype: DType) -> Bool { dtype == .i16 }
}

extension Int32: TensorElement {
    /// True for I32.
    ///
    /// - Parameter dtype: the dtype of a tensor.
    /// - Returns: whether its bytes are values of this type.
    public static func canView(_ dtype: DType) -> Bool { dtype == .i32 }
}

extension Int64: TensorElement {
    /// True for I64.
    ///
    /// - Parameter dtype: the dtype of a tensor.
    /// - Returns: whether its bytes are values of this type.
    public static func canView(_ dtype: DType) -> Bool { dtype == .i64 }
}

extension Float: TensorElement {
    /// True for F32.
    ///
    /// - Parameter dtype: the dtype of a tensor.
    /// - Returns: whether its bytes are values of this type.
    public static func canView(_ dtype: DType) -> Bool { dtype == .f32 }
}

extension Double: TensorElement {
    /// True for F64.
    ///
    /// - Parameter dtype: the dtype of a tensor.
    /// - Returns: whether its bytes are values of this type.
    public static func canView(_ dtype: DType) -> Bool { dtype == .f64 }
}

#if !(os(macOS) && arch(x86_64))
    extension Float16: TensorElement {
        /// True for F16.
        ///
        /// - Parameter dtype: the dtype of a tensor.
        /// - Returns: whether its bytes are values of this type.
        public static func canView(_ dtype: DType) -> Bool { dtype == .f16 }
    }
#endif
