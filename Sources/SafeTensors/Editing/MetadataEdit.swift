/// What to change in the `__metadata__` of a file: keys that get a value and keys that go.
public struct MetadataEdit: Sendable {
    /// The keys with their new values.
    public let set: [(key: String, value: String)]
    /// The keys to remove.
    public let unset: [String]

    /// Makes an edit.
    ///
    /// - Parameters:
    ///   - set: the keys with their new values.
    ///   - unset: the keys to remove.
    /// - Throws: ``SafeTensorsError/Code/duplicateName`` where a key is given twice.
    public init(
        set: [(key: String, value: String)] = [], unset: [String] = []
    ) throws(SafeTensorsError) {
        let keys = (set.map(\.key) + unset).map { Array($0.utf8) }.sorted { $0.lexicographicallyPrecedes($1) }
        for (a, b) in zip(keys, keys.dropFirst()) where a == b {
            let key = String(decoding: a, as: UTF8.self)
            throw SafeTensorsError(.duplicateName, "the key \(quotedForDisplay(key)) is given twice")
        }
        self.set = set
        self.unset = unset
    }
}
