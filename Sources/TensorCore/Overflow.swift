/// What to make of a number that is larger than the largest finite one of a dtype.
public enum Overflow: Sendable, CaseIterable {
    /// Infinity; where the dtype has none, NaN; where it has neither (F6, F4), the largest. Zero becomes NaN in
    /// F8_E8M0, which has no zero. As ml_dtypes does it, and torch 2.13 but for F8_E4M3, which it saturates, and
    /// F8_E8M0.
    case special
    /// The largest finite number, for infinity too. Zero becomes the smallest number of F8_E8M0.
    case saturate
}
