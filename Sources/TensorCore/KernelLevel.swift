internal import CKernels

/// The processor's instructions that the loops of ``ElementCast`` and ``LowRank`` use.
///
/// The best that the processor has are chosen when the program runs. All levels give the same bits; they can be
/// named so that tests and measurements can compare them.
public enum KernelLevel: Sendable, CaseIterable {
    /// What every processor of the architecture has: SSE2 on x86-64, NEON on arm64.
    case portable
    /// AVX2, F16C and FMA.
    case avx2
    /// AVX-512 F, BW, DQ and VL.
    case avx512

    /// Whether this processor has the instructions.
    public var isAvailable: Bool { ckernels_supported(level) }

    /// The best level that this processor has.
    public static let best = allCases.last { $0.isAvailable } ?? .portable

    var level: ckernels_level {
        switch self {
        case .portable: ckernels_portable
        case .avx2: ckernels_avx2
        case .avx512: ckernels_avx512
        }
    }
}
