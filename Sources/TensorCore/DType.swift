/// The element type of a tensor: the 22 dtypes of the SafeTensors format.
///
/// The raw values follow the order of the reference implementation, which is also the order in which its
/// writer sorts tensors (highest first). Source: safetensors 0.8, `tensor.rs`.
public enum DType: UInt8, Sendable, Hashable, CaseIterable {
    case bool, f4, f6E2M3, f6E3M2, u8, i8
    case f8E5M2, f8E4M3, f8E8M0, f8E4M3FNUZ, f8E5M2FNUZ
    case i16, u16, f16, bf16
    case i32, u32, f32
    case c64, f64, i64, u64

    /// The spelling in a SafeTensors header, such as `BF16` or `F8_E4M3`.
    public var name: String {
        switch self {
        case .bool: "BOOL"
        case .f4: "F4"
        case .f6E2M3: "F6_E2M3"
        case .f6E3M2: "F6_E3M2"
        case .u8: "U8"
        case .i8: "I8"
        case .f8E5M2: "F8_E5M2"
        case .f8E4M3: "F8_E4M3"
        case .f8E8M0: "F8_E8M0"
        case .f8E4M3FNUZ: "F8_E4M3FNUZ"
        case .f8E5M2FNUZ: "F8_E5M2FNUZ"
        case .i16: "I16"
        case .u16: "U16"
        case .f16: "F16"
        case .bf16: "BF16"
        case .i32: "I32"
        case .u32: "U32"
        case .f32: "F32"
        case .c64: "C64"
        case .f64: "F64"
        case .i64: "I64"
        case .u64: "U64"
        }
    }

    /// The dtype with this exact, case-sensitive SafeTensors spelling.
    public init?(name: String) {
        guard let match = Self.allCases.first(where: { $0.name == name }) else { return nil }
        self = match
    }

    /// Bits an element takes: 4, 6, 8, 16, 32 or 64.
    public var bitWidth: Int {
        switch self {
        case .f4: 4
        case .f6E2M3, .f6E3M2: 6
        case .bool, .u8, .i8, .f8E5M2, .f8E4M3, .f8E8M0, .f8E4M3FNUZ, .f8E5M2FNUZ: 8
        case .i16, .u16, .f16, .bf16: 16
        case .i32, .u32, .f32: 32
        case .c64, .f64, .i64, .u64: 64
        }
    }

    /// Bytes an element takes, or nil for the sub-byte dtypes F4 and F6.
    public var byteWidth: Int? { bitWidth % 8 == 0 ? bitWidth / 8 : nil }

    /// The address multiple that a typed view of the elements needs, in bytes (C64 is a pair of F32).
    public var alignment: Int {
        self == .c64 ? 4 : max(1, bitWidth / 8)
    }

    /// True for BOOL and the dtypes of whole numbers.
    public var isInteger: Bool {
        switch self {
        case .bool, .u8, .i8, .u16, .i16, .u32, .i32, .u64, .i64: true
        default: false
        }
    }

    /// True for the floating dtypes that a `--dtype` cast converts: F64, F32, F16 and BF16.
    ///
    /// Narrower floats carry scales beside them and complex numbers have no counterpart, so a global cast
    /// leaves them alone.
    public var isCastableFloat: Bool {
        switch self {
        case .f64, .f32, .f16, .bf16: true
        default: false
        }
    }
}

extension DType: Comparable {
    /// The writer's order: by raw value.
    public static func < (a: DType, b: DType) -> Bool { a.rawValue < b.rawValue }
}

/// Sizes of tensors, with checked 64-bit arithmetic.
extension DType {
    /// The number of elements of `shape` (1 for a scalar), or nil on overflow.
    ///
    /// Multiplies left to right as the reference does, so a zero before huge dimensions is fine and one after
    /// them is an overflow.
    public static func elementCount(of shape: [UInt64]) -> UInt64? {
        var count: UInt64 = 1
        for dimension in shape {
            let (product, overflow) = count.multipliedReportingOverflow(by: dimension)
            if overflow { return nil }
            count = product
        }
        return count
    }

    /// The bytes that a tensor of `shape` takes, or nil on overflow or where the bits do not fill bytes.
    public func byteCount(of shape: [UInt64]) -> UInt64? {
        guard let elements = Self.elementCount(of: shape) else { return nil }
        let (bits, overflow) = elements.multipliedReportingOverflow(by: UInt64(bitWidth))
        return overflow || bits % 8 != 0 ? nil : bits / 8
    }
}
