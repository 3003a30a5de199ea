public import Checkpoints
public import TensorCore

/// A table under the names of another scheme, and what is not in it.
public struct MappedTable: Sendable {
    /// The tensors, in the order of the table they were made of.
    public internal(set) var tensors: [TensorRecord] = []
    /// Tensors that carry no weights, such as tables of angles.
    public internal(set) var ignored: [TensorName] = []
    /// Tensors that the map says nothing about, where that is allowed.
    public internal(set) var unmapped: [TensorName] = []
}

/// What becomes of tensors that a map says nothing about.
public enum UnmappedTensors: Sendable {
    /// They are an error that lists them.
    case refused
    /// They keep their names.
    case kept
    /// They are left out, and listed.
    case left
}

extension ArchitectureMap {
    /// The table under the names and in the shapes of another scheme.
    ///
    /// Nothing is read; tensors become expressions. Every tensor must find its place, no two the same one, with
    /// the shape that the dimensions say, and no tensor that the model needs may be missing.
    ///
    /// - Parameters:
    ///   - tensors: the table.
    ///   - source: the scheme that it is in.
    ///   - target: the scheme that it is to be in; the same to have it checked.
    ///   - dimensions: the model's numbers; see ``dimensions(config:)``.
    ///   - unmapped: what becomes of tensors that the map says nothing about.
    ///   - isPartial: whether tensors may be missing, as in a part of a model.
    ///   - file: what the table was read from, for messages.
    public func map(
        _ tensors: some Sequence<TensorRecord>, from source: String, to target: String,
        dimensions: Dimensions, unmapped: UnmappedTensors = .refused, isPartial: Bool = false, file: String
    ) throws(CheckpointError) -> MappedTable {
        for placeholder in Placeholder.allCases {
            guard dimensions[placeholder.dimension] ?? 0 <= Dimensions.countLimit else {
                throw CheckpointError(
                    .malformed, "dimension-too-large",
                    "the config says \(placeholder.dimension) that no model has",
                    file: file)
            }
        }
        let canonical = try canonicalTable(
            tensors, from: source, dimensions: dimensions, unmapped: unmapped, isPartial: isPartial,
            file: file)
        guard target != Self.canonicalScheme else { return canonical }
        var mapper = TableMapper(
            map: self, scheme: try named(target, file: file), toOurs: false, dimensions: dimensions,
            unmapped: unmapped, file: file)
        var result = try mapper.map(canonical.tensors)
        result.ignored = canonical.ignored + result.ignored
        if unmapped == .left { result.unmapped = canonical.unmapped + result.unmapped }
        return result
    }

    private func named(_ name: String, file: String) throws(CheckpointError) -> NamingScheme {
        if let scheme = scheme(name) { return scheme }
        throw CheckpointError(
            .unsupported, "unknown-scheme",
            "the map \(self.name) has no names \"\(escapedForDisplay(name))\", only "
                + schemeNames.joined(separator: ", "), file: file)
    }

    private func canonicalTable(
        _ tensors: some Sequence<TensorRecord>, from source: String, dimensions: Dimensions,
        unmapped: UnmappedTensors, isPartial: Bool, file: String
    ) throws(CheckpointError) -> MappedTable {
        var check = TableMapper(
            map: self, scheme: canonical, toOurs: true, dimensions: dimensions, unmapped: unmapped, file: file
        )
        check.isIdentity = true
        guard source != Self.canonicalScheme else {
            let result = try check.map(tensors)
            if !isPartial { try checkComplete(result.tensors, dimensions, file: file) }
            return result
        }
        var mapper = TableMapper(
            map: self, scheme: try named(source, file: file), toOurs: true, dimensions: dimensions,
            unmapped: unmapped, file: file)
        let result = try mapper.map(tensors)
        if !isPartial { try checkComplete(result.tensors, dimensions, file: file) }
        return result
    }

    /// Refuses a canonical table without a tensor that the model needs.
    private func checkComplete(
        _ table: [TensorRecord], _ dimensions: Dimensions, file: String
    ) throws(CheckpointError) {
        let names = Set(table.map(\.name))
        var missing: [TensorName] = []
        for tensor in tensors {
            if case .never = tensor.need { continue }
            let open = Self.bindings(tensor.pattern.placeholders, dimensions, limit: names.count)
            let gone = open.lazy.filter { bindings in
                switch tensor.need {
                case .always, .never: true
                case .with(let other): names.contains(other.name(bindings))
                case .without(let other): !names.contains(other.name(bindings))
                }
            }
            missing += gone.map(tensor.pattern.name).filter { !names.contains($0) }.prefix(11)
        }
        guard let first = missing.first else { return }
        throw CheckpointError(
            .malformed, "tensor-missing",
            "the model needs tensors that are not there: \(Self.list(missing))", file: file, tensor: first)
    }

    /// All numbers that placeholders can have, but not many more than `limit`; none where a dimension is not known.
    private static func bindings(
        _ placeholders: [Placeholder], _ dimensions: Dimensions, limit: Int
    ) -> [Bindings] {
        var open: [Bindings] = [Bindings()]
        for placeholder in placeholders {
            guard let count = dimensions[placeholder.dimension] else { return [] }
            var next: [Bindings] = []
            for bindings in open where next.count <= limit {
                for number in 0..<min(count, UInt64(limit) + 1) {
                    var bindings = bindings
                    bindings[placeholder] = UInt32(number)
                    next.append(bindings)
                }
            }
            open = next
        }
        return open
    }

    /// The first ten names, and how many more there are.
    static func list(_ names: [TensorName]) -> String {
        names.prefix(10).map(\.description).joined(separator: ", ")
            + (names.count > 10 ? " and \(names.count - 10) more" : "")
    }
}
