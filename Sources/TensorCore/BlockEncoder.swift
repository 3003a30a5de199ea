internal import CKernels

/// Makes the blocks of a format of GGML of F32.
///
/// Gives the bits that GGML's own quantisers give without weights of importance.
@safe public struct BlockEncoder: BlockCodec {
    /// The format of the blocks.
    public let format: BlockFormat
    private let loop: ckernels_loop

    /// Makes an encoder; nil for a format that is not written.
    public init?(_ format: BlockFormat) { self.init(format, level: .best) }

    /// Makes an encoder with the instructions of one level, to compare levels.
    ///
    /// - Precondition: the processor has the instructions.
    public init?(_ format: BlockFormat, level: KernelLevel) {
        precondition(level.isAvailable)
        guard let loop = unsafe ckernels_encode_blocks(format.kernel, level.level) else { return nil }
        self.format = format
        unsafe self.loop = loop
    }

    /// Such as `gguf_q4_k_quantised`.
    public var name: String { "gguf_\(format.rawValue.lowercased())_quantised" }
    /// Four for each element of a block.
    public var inputByteCount: Int { 4 * format.elementCount }
    /// The bytes of a block.
    public var outputByteCount: Int { format.byteCount }

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
