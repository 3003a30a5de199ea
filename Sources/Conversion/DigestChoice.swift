/// Which digests an export takes.
public struct DigestChoice: OptionSet, Sendable {
    /// The bits.
    public let rawValue: UInt8
    /// Makes a choice.
    public init(rawValue: UInt8) { self.rawValue = rawValue }

    /// The SHA-256 of every source file.
    ///
    /// Costs a pass over the source of its own.
    public static let source = DigestChoice(rawValue: 1)
    /// The SHA-256 of every file that is written.
    public static let files = DigestChoice(rawValue: 2)
    /// The SHA-256 of every tensor.
    public static let tensors = DigestChoice(rawValue: 4)
    /// All of them.
    public static let all: DigestChoice = [.source, .files, .tensors]

    /// The names, as `--digests` takes them.
    public static let names: [(name: String, choice: DigestChoice)] = [
        ("all", .all), ("source", .source), ("files", .files), ("tensors", .tensors), ("none", []),
    ]

    /// Reads names with commas between them; nil where one is unknown.
    public init?(names text: String) {
        self = []
        for name in text.split(separator: ",", omittingEmptySubsequences: false) {
            guard let known = Self.names.first(where: { $0.name == name }) else { return nil }
            formUnion(known.choice)
        }
    }
}
