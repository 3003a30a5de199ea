public import TensorCore

/// What a transform did to a checkpoint.
public struct TransformEffect: Sendable {
    /// The transform.
    public let transform: Transform
    /// The tensors that it converted, renamed, kept, left out, tied or untied.
    public internal(set) var tensorCount = 0
    /// The first names that a rename changed, with what they became.
    public internal(set) var examples: [(before: TensorName, after: TensorName)] = []

    static let exampleLimit = 3
}

extension Transform {
    /// The transform in a few words, for messages.
    var summary: String {
        switch self {
        case .cast(let pattern, let dtype, _):
            "cast " + (pattern.map { "\(escapedPattern($0.description))=" } ?? "") + dtype.name
        default: "\(kind) " + patterns.map(escapedPattern).joined(separator: " ")
        }
    }
}
