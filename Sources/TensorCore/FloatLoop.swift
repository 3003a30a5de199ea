internal import CKernels

/// A loop of `CKernels`: from a floating dtype to F32 or from F32 to it.
@safe struct FloatLoop {
    private let loop: ckernels_loop
    private let from: DType
    private let to: DType

    /// The loop between F32 and a floating dtype, or nil where neither is F32 or the other is no float.
    ///
    /// To F32 what is too large becomes infinity, which needs a second loop where it is to saturate.
    init?(from: DType, to: DType, _ overflow: Overflow, _ level: KernelLevel) {
        let saturates = overflow == .saturate
        let found: ckernels_loop?
        if from == .f32, let format = to.format {
            unsafe found = ckernels_from_f32(format, saturates, level.level)
        } else if to == .f32, !saturates, let format = from.format {
            unsafe found = ckernels_to_f32(format, level.level)
        } else {
            return nil
        }
        guard let found = unsafe found else { return nil }
        (unsafe loop, self.from, self.to) = unsafe (found, from, to)
    }

    /// Converts all of `source`.
    ///
    /// - Precondition: `source` holds whole elements, and `destination` has exactly the room that they need.
    func run(_ source: RawSpan, into destination: inout MutableRawSpan) {
        let count = ElementCodec.valueCount(from, byteCount: source.byteCount)
        guard let count, count == ElementCodec.valueCount(to, byteCount: destination.byteCount) else {
            preconditionFailure("no room for exactly the elements")
        }
        if count == 0 { return }
        // Sound: the loop reads and writes `count` elements, at any address, and both sides have as many.
        unsafe source.withUnsafeBytes { input in
            unsafe destination.withUnsafeMutableBytes { output in
                unsafe loop(input.baseAddress, output.baseAddress, count)
            }
        }
    }
}

extension DType {
    /// The name of a floating dtype in `CKernels`, nil for others.
    fileprivate var format: ckernels_format? {
        switch self {
        case .f64: ckernels_f64
        case .f32: ckernels_f32
        case .f16: ckernels_f16
        case .bf16: ckernels_bf16
        case .f8E5M2: ckernels_f8_e5m2
        case .f8E4M3: ckernels_f8_e4m3
        case .f8E5M2FNUZ: ckernels_f8_e5m2fnuz
        case .f8E4M3FNUZ: ckernels_f8_e4m3fnuz
        case .f8E8M0: ckernels_f8_e8m0
        case .f6E2M3: ckernels_f6_e2m3
        case .f6E3M2: ckernels_f6_e3m2
        case .f4: ckernels_f4
        case .c64, .bool, .u8, .i8, .u16, .i16, .u32, .i32, .u64, .i64: nil
        }
    }
}
