public import TensorCore

/// What a loader will do with a model, and why.
public struct LoaderReport: Sendable {
    /// A rule that applies.
    public struct Finding: Sendable {
        /// The rule's id.
        public var rule: String
        /// What the loader does because of it.
        public var verdict: LoaderVerdict
        /// What happens, as a phrase without a full stop.
        public var reason: String
        /// What to do about it.
        public var fix: String
        /// The file where it is, below the directory.
        public var file: String?
        /// The first tensor that it is about.
        public var tensor: TensorName?
        /// The byte of the file where it is.
        public var offset: UInt64?
        /// How many tensors or files it is about.
        public var count: Int
        /// How the rule is known.
        public var evidence: LoaderRule.Evidence
        /// Where the rule was found.
        public var source: LoaderRule.Source
    }

    /// The loader.
    public var loader: LoaderProfile
    /// What it does.
    public var verdict: LoaderVerdict
    /// Why: the rules that apply, those that weigh most first.
    public var findings: [Finding]
    /// The files that it reads.
    public var files: [String]
}
