internal import Checkpoints
public import TensorCore

/// A tensor that two checkpoints have, and are not the same in.
public struct TensorDifference: Sendable {
    /// What is not the same.
    public enum Change: String, Sendable {
        /// The dimensions; values are not compared.
        case shape
        /// The dtype; values are compared where both are real numbers.
        case dtype
        /// The bytes.
        case values
    }

    /// The dtype and the dimensions of one side.
    public struct Side: Sendable, Equatable {
        /// The dtype.
        public let dtype: DType
        /// The dimensions.
        public let shape: [UInt64]
    }

    /// The name.
    public let name: TensorName
    /// The first side.
    public let a: Side
    /// The second side.
    public let b: Side
    /// What is not the same.
    public let change: Change
    /// How far the values lie from each other; nil where they were not or cannot be compared.
    public internal(set) var values: ElementComparison?

    /// Whether no value is farther than `tolerance` from its counterpart.
    public func isWithin(_ tolerance: Double) -> Bool {
        guard change != .shape, let values else { return false }
        return values.unmatchedNaNs == 0 && values.largest <= tolerance
    }

    /// What the differences are sorted by, the largest first: what cannot be compared, NaN beside numbers, then
    /// the part that has changed.
    var weight: Double {
        guard change != .shape, let values else { return .infinity }
        if values.unmatchedNaNs > 0 { return .greatestFiniteMagnitude }
        return values.relative ?? values.largest
    }
}

/// A file beside the weights that is not the same, or that only one side has.
public struct SideFileDifference: Sendable {
    /// What is the matter with a file.
    public enum Change: String, Sendable {
        /// Only the first side has it.
        case onlyInA = "only_in_a"
        /// Only the second side has it.
        case onlyInB = "only_in_b"
        /// Both have it, with other contents.
        case contents
    }

    /// A value of a JSON document that is not the same.
    public struct Entry: Sendable {
        /// The keys that lead to it, with dots between.
        public let path: String
        /// The value of the first side as JSON, nil where it has none.
        public let a: String?
        /// That of the second side.
        public let b: String?
    }

    /// The file's name.
    public let name: String
    /// What is the matter with it.
    public let change: Change
    /// What is not the same, where both are JSON; empty where only spelling or white space is not.
    public let entries: [Entry]?
}
