public import TensorCore

extension DType {
    /// Other names than the SafeTensors spelling that people use.
    private static let spellings: [String: DType] = [
        "bfloat16": .bf16, "float16": .f16, "fp16": .f16, "half": .f16, "float32": .f32, "fp32": .f32,
        "float": .f32, "float64": .f64, "fp64": .f64, "double": .f64,
        "fp8": .f8E4M3, "float8_e4m3fn": .f8E4M3, "fp8_e4m3": .f8E4M3, "float8_e5m2": .f8E5M2,
        "fp8_e5m2": .f8E5M2, "float8_e4m3fnuz": .f8E4M3FNUZ, "float8_e5m2fnuz": .f8E5M2FNUZ,
        "float8_e8m0fnu": .f8E8M0, "fp4": .f4, "float4_e2m1fn": .f4, "int8": .i8, "uint8": .u8,
        "int16": .i16, "short": .i16, "uint16": .u16, "int32": .i32, "int": .i32, "uint32": .u32,
        "int64": .i64, "long": .i64, "uint64": .u64, "complex64": .c64,
    ]

    /// The dtype that people call `spelling`: the SafeTensors name in either case, torch's or NumPy's.
    public init?(spelling: String) {
        var name = spelling.lowercased()
        if name.hasPrefix("torch.") { name.removeFirst("torch.".count) }
        let match = Self.allCases.first { $0.name.lowercased() == name } ?? Self.spellings[name]
        guard let match else { return nil }
        self = match
    }
}
