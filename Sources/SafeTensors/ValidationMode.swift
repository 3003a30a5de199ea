/// What to do with files on which readers disagree.
public enum ValidationMode: String, Sendable, CaseIterable {
    /// Refuses what the format's description forbids or leaves open and readers take in different ways: keys
    /// that occur twice, entries spelt as arrays, dtypes spelt as objects.
    case strict
    /// Accepts and refuses exactly what the reference implementation (safetensors 0.8) does.
    case reference
}
