/// What a loader does with a model.
///
/// The raw values appear in reports and rule files; later ones outweigh earlier ones.
public enum LoaderVerdict: String, Sendable, CaseIterable {
    /// Loads every tensor as it was written.
    case loads
    /// Nobody tried, or what happens depends on more than the file.
    case unknown
    /// Loads without an error, but other values, shapes or dtypes, or not all tensors.
    case wrong
    /// Stops with an error.
    case refuses
}

extension LoaderVerdict: Comparable {
    /// By how much it outweighs.
    public static func < (a: LoaderVerdict, b: LoaderVerdict) -> Bool { a.rank < b.rank }

    private var rank: Int { Self.allCases.firstIndex(of: self) ?? 0 }
}

/// One fact about a loader: what it does where a test is met, how that is known, and what to do about it.
public struct LoaderRule: Sendable {
    /// How a rule is known.
    public enum Evidence: String, Sendable, CaseIterable {
        /// The loader was run on such a file.
        case run
        /// Its source or documentation was read.
        case read
    }

    /// Where a rule was found.
    public struct Source: Sendable {
        /// The repository or package.
        public var repository: String
        /// The file within it, if one.
        public var file: String?
        /// The version.
        public var version: String
    }

    /// What names the rule within its loader; stable.
    public var id: String
    /// Where the rule applies.
    public var test: RuleTest
    /// What the loader does there.
    public var verdict: LoaderVerdict
    /// What happens, as a phrase without a full stop.
    public var reason: String
    /// What to do so that the model loads.
    public var fix: String
    /// How it is known.
    public var evidence: Evidence
    /// Where it was found.
    public var source: Source
}

/// Where a rule applies: the vocabulary of `Formats/loaders`.
public enum RuleTest: Sendable {
    // One file.
    /// The reference refuses the file with one of these codes (all where empty).
    case fault([String])
    /// The file has an oddity of one of these codes.
    case oddity([String])
    /// A tensor has one of these dtypes.
    case dtype(Set<String>)
    /// A tensor has more dimensions than `over`, or fewer than `under`.
    case rank(over: UInt64?, under: UInt64?)
    /// A dimension is larger than this.
    case dimension(over: UInt64)
    /// The last dimension of a tensor of one of these dtypes is odd.
    case oddLastDimension(Set<String>)
    /// A tensor's name is of a kind.
    case name(NameTest)
    /// `__metadata__` has no `format` among these; a file without `__metadata__` meets it where `absent` is true.
    case metadataFormat(allowed: [String], absent: Bool)
    /// The header is longer than this, in bytes.
    case headerBytes(over: UInt64)
    /// The file holds more tensors than this.
    case tensorCount(over: UInt64)

    // A directory.
    /// Several files are read and there is no index.
    case indexAbsent
    /// The index lacks one of these keys, or has no object there.
    case indexKey([String])
    /// The index is larger than this, in bytes.
    case indexBytes(over: UInt64)
    /// The index cannot be taken as it stands, for one of these reasons (all where empty).
    case indexFault([String])
    /// `total_size` is absent or is not the size of the tensors.
    case indexTotalSize
    /// A file that is read in place of the index's shards stands beside them.
    case indexShadowed
    /// The index names a file that is not there.
    case shardMissing
    /// The index names a file outside the directory.
    case shardPath
    /// The index names a file that does not end in one of these.
    case shardExtension([String])
    /// The index names a file in a subfolder.
    case shardFolder
    /// The index names a tensor that no file that is read holds.
    case tensorMissing
    /// A file that is read holds a tensor that the index does not name.
    case tensorUnlisted
    /// A tensor is in another file than the index says.
    case tensorElsewhere
    /// Two files that are read hold the same tensor; where `differing` is true, with other contents.
    case tensorRepeated(differing: Bool)
    /// A file that is read is not in the index.
    case strayFile
    /// The directory has a file of this name; `below` looks in subfolders only.
    case filePresent(pattern: String, below: Bool)

    /// What a name is tested for.
    public struct NameTest: Sendable {
        var empty = false
        var control = false
        var longerThan: UInt64?
        var prefixes: [String] = []
        var parts: [String] = []
    }
}
