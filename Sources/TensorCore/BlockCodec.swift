/// Turns blocks of a fixed size into blocks of another: quantised numbers into plain ones, or the other way.
public protocol BlockCodec: Sendable {
    /// What it does, as plans name it, such as `gguf_q4_k_dequantised`.
    var name: String { get }
    /// The bytes of a block that goes in.
    var inputByteCount: Int { get }
    /// The bytes of a block that comes out.
    var outputByteCount: Int { get }
    /// Converts whole blocks: as many go in as come out.
    func convert(_ input: RawSpan, into output: inout MutableRawSpan)
}
