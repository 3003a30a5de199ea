public import StrictJSON
internal import TensorCore

extension Transform {
    /// Its settings, as reports and the manifest state them.
    public var parameters: [JSONMember] {
        let patterns = JSONValue.array(patterns.map { .string($0) })
        switch self {
        case .cast(let pattern, let dtype, let overflow):
            var members: [JSONMember] = []
            if pattern != nil { members.append(.init("patterns", patterns)) }
            members.append(.init("dtype", .string(dtype.name)))
            members.append(.init("rounding", .string("nearest-even")))
            if overflow == .saturate { members.append(.init("overflow", .string("saturate"))) }
            return members
        case .rename(let substitution): return [.init("expression", .string(substitution.description))]
        case .select, .drop, .tie, .untie: return [.init("patterns", patterns)]
        }
    }
}
