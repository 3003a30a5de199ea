public import Checkpoints
public import TensorCore

extension ArchitectureMap {
    /// The scheme that the names of a table are of.
    ///
    /// - Parameters:
    ///   - names: the names of all tensors.
    ///   - dimensions: the model's numbers.
    ///   - allowsUnknown: whether the scheme that knows most of the names is enough.
    ///   - file: what the table was read from, for messages.
    /// - Throws: where no scheme knows all names, with those that the nearest one does not.
    public func scheme(
        of names: some Collection<TensorName>, dimensions: Dimensions, allowsUnknown: Bool = false,
        file: String
    ) throws(CheckpointError) -> String {
        var nearest: (name: String, unknown: [TensorName]) = ("", [])
        for name in schemeNames {
            let unknown = unknownNames(names, scheme: name, dimensions: dimensions)
            if unknown.isEmpty { return name }
            if nearest.name.isEmpty || unknown.count < nearest.unknown.count { nearest = (name, unknown) }
        }
        if allowsUnknown, nearest.unknown.count < names.count { return nearest.name }
        throw CheckpointError(
            .unsupported, "unmapped-tensors",
            "no names that the map \(self.name) knows fit: of those called \"\(nearest.name)\", "
                + "\(nearest.unknown.count) are not, \(Self.list(nearest.unknown))", file: file,
            tensor: nearest.unknown.first)
    }

    /// The names that a scheme says nothing about.
    private func unknownNames(
        _ names: some Collection<TensorName>, scheme name: String, dimensions: Dimensions
    ) -> [TensorName] {
        let isCanonical = name == Self.canonicalScheme
        let index = NameIndex(self, scheme(name) ?? canonical, toOurs: true)
        return names.filter { tensor in
            let isKnown =
                isCanonical
                ? index.canonical(tensor, dimensions) != nil : index.find(tensor, dimensions) != nil
            return !isKnown && !index.ignores(tensor)
        }
    }
}
