internal import CKernels

/// Makes F32 of the blocks of a format of GGML.
///
/// Products and sums are rounded one by one, in the order in which GGML's Python package has them, so that the
/// results are the same bits.
@safe public struct BlockDecoder: BlockCodec {
    /// The format of the blocks.
    public let format: BlockFormat
    private let loop: ckernels_loop

    /// Makes a decoder.
    public init(_ format: BlockFormat) { self.init(format, level: .best) }

    /// Makes a decoder with the instructions of one level, to compare levels.
    ///
    /// - Precondition: the processor has the instructions.
    public init(_ format: BlockFormat, level: KernelLevel) {
        precondition(level.isAvailable)
        guard let loop = unsafe ckernels_decode_blocks(format.kernel, level.level) else {
            preconditionFailure("every block format has a loop")
        }
        self.format = format
        unsafe self.loop = loop
    }

    /// Such as `gguf_q4_k_dequantised`.
    public var name: String { "gguf_\(format.rawValue.lowercased())_dequantised" }
    /// The bytes of a block.
    public var inputByteCount: Int { format.byteCount }
    /// Four for each element of a block.
    public var outputByteCount: Int { 4 * format.elementCount }

    /// Converts whole blocks.
    ///
    /// - Precondition: `input` holds whole blocks, and `output` has exactly the room that they need.
    public func convert(_ input: RawSpan, into output: inout MutableRawSpan) {
        let (count, rest) = input.byteCount.quotientAndRemainder(dividingBy: inputByteCount)
        let room = output.byteCount.quotientAndRemainder(dividingBy: outputByteCount)
        precondition(rest == 0 && room.remainder == 0 && room.quotient == count)
        if count == 0 { return }
        // Sound: the loop reads and writes `count` blocks, at any address, and both sides have as many.
        unsafe input.withUnsafeBytes { source in
            unsafe output.withUnsafeMutableBytes { destination in
                unsafe loop(source.baseAddress, destination.baseAddress, count)
            }
        }
    }
}

extension BlockFormat {
    /// The name of the format in `CKernels`.
    var kernel: ckernels_block_format {
        switch self {
        case .q1_0: ckernels_q1_0
        case .q4_0: ckernels_q4_0
        case .q4_1: ckernels_q4_1
        case .q5_0: ckernels_q5_0
        case .q5_1: ckernels_q5_1
        case .q8_0: ckernels_q8_0
        case .q2K: ckernels_q2_k
        case .q3K: ckernels_q3_k
        case .q4K: ckernels_q4_k
        case .q5K: ckernels_q5_k
        case .q6K: ckernels_q6_k
        case .q8K: ckernels_q8_k
        case .iq4NL: ckernels_iq4_nl
        case .iq4XS: ckernels_iq4_xs
        case .tq1_0: ckernels_tq1_0
        case .tq2_0: ckernels_tq2_0
        case .mxfp4: ckernels_mxfp4
        case .nvfp4: ckernels_nvfp4
        }
    }
}
