/// A format of GGML in which numbers stand in blocks that share scales.
///
/// The raw value is the name that GGML has for it.
public enum BlockFormat: String, Sendable, Hashable, CaseIterable {
    case q1_0 = "Q1_0"
    case q4_0 = "Q4_0"
    case q4_1 = "Q4_1"
    case q5_0 = "Q5_0"
    case q5_1 = "Q5_1"
    case q8_0 = "Q8_0"
    case q2K = "Q2_K"
    case q3K = "Q3_K"
    case q4K = "Q4_K"
    case q5K = "Q5_K"
    case q6K = "Q6_K"
    case q8K = "Q8_K"
    case iq4NL = "IQ4_NL"
    case iq4XS = "IQ4_XS"
    case tq1_0 = "TQ1_0"
    case tq2_0 = "TQ2_0"
    case mxfp4 = "MXFP4"
    case nvfp4 = "NVFP4"

    /// The elements of a block.
    public var elementCount: Int {
        switch self {
        case .q4_0, .q4_1, .q5_0, .q5_1, .q8_0, .iq4NL, .mxfp4: 32
        case .nvfp4: 64
        case .q1_0: 128
        case .q2K, .q3K, .q4K, .q5K, .q6K, .q8K, .iq4XS, .tq1_0, .tq2_0: 256
        }
    }

    /// The bytes of a block.
    public var byteCount: Int {
        switch self {
        case .q1_0, .q4_0, .iq4NL: 18
        case .q4_1: 20
        case .q5_0: 22
        case .q5_1: 24
        case .q8_0: 34
        case .q2K: 84
        case .q3K: 110
        case .q4K: 144
        case .q5K: 176
        case .q6K: 210
        case .q8K: 292
        case .iq4XS: 136
        case .tq1_0: 54
        case .tq2_0: 66
        case .mxfp4: 17
        case .nvfp4: 36
        }
    }
}
