/// The name of one of several weights files, such as `model-00001-of-00003.safetensors`.
public struct ShardName: Sendable, Hashable {
    /// What the files of one set have in common.
    public struct Set: Sendable, Hashable {
        /// The part before the number.
        public let prefix: String
        /// The number of files that the name counts.
        public let count: Int
        /// The extension, with its dot.
        public let suffix: String
    }

    /// The set.
    public let set: Set
    /// The number in the set; from 1, in some models from 0.
    public let number: Int

    /// The most files that a set is taken to have.
    private static let countLimit = 1_000_000

    /// Reads a name, or returns nil for one of another form.
    public init?(_ name: String) {
        guard let dot = name.lastIndex(of: ".") else { return nil }
        let parts = name[..<dot].split(separator: "-", omittingEmptySubsequences: false)
        guard parts.count >= 4, parts[parts.count - 2] == "of",
            let count = Self.number(parts[parts.count - 1]), let number = Self.number(parts[parts.count - 3])
        else { return nil }
        self.number = number
        set = Set(
            prefix: parts.dropLast(3).joined(separator: "-"), count: count, suffix: String(name[dot...]))
    }

    private static func number(_ digits: Substring) -> Int? {
        guard !digits.isEmpty, digits.utf8.allSatisfy({ 0x30...0x39 ~= $0 }), let value = Int(digits),
            value <= countLimit
        else { return nil }
        return value
    }
}
