internal import TensorCore

/// A loader in a version: the files that it reads and the rules that say what it does with them.
public struct LoaderProfile: Sendable {
    /// Which files of a directory a loader reads.
    public struct Reads: Sendable {
        /// What a loader does with an index.
        public enum IndexUse: String, Sendable, CaseIterable {
            /// Reads the files that the index names.
            case follows
            /// Reads the files of the pattern that the index names.
            case filters
            /// Reads the files of the pattern.
            case ignores
        }

        /// The names of weights files, `*` for any characters.
        public var pattern = "*.safetensors"
        /// What it does with an index.
        public var index = IndexUse.ignores
        /// The names of indexes that it sees.
        public var indexPattern = "model.safetensors.index.json"
        /// A file that it reads alone where it is there.
        public var prefers: String?
        /// Whether it looks at the index only where the pattern is met.
        public var needsMatch = false
        /// The most files that it reads without an index.
        public var atMost: UInt64?
    }

    /// What it is called in `--for`, such as `transformers`.
    public var name: String
    /// Its major version where several are known, such as `4`.
    public var version: String?
    /// What it is, in a few words.
    public var title: String
    /// The version that the rules were found in.
    public var tested: String
    /// The loader whose rules it shares.
    public var base: String?
    /// Which files of a directory it reads, or nil for those of its base.
    public var reads: Reads?
    /// Its own rules.
    public var rules: [LoaderRule]

    /// The name with the version, such as `transformers@4`.
    public var id: String { version.map { "\(name)@\($0)" } ?? name }
}

extension LoaderProfile {
    /// Reads a profile of `Formats/loaders`.
    ///
    /// - Parameters:
    ///   - document: the bytes of the file, strict JSON.
    ///   - file: its name, for messages.
    /// - Throws: ``LoaderRulesError`` where a member is missing, unknown or of the wrong kind.
    public init(parsing document: [UInt8], file: String) throws(LoaderRulesError) {
        var reader = try RuleReader(parsing: document, file: file)
        guard try reader.string("schema") == "artifact.loader/v1" else {
            throw reader.error("schema is not \"artifact.loader/v1\"")
        }
        name = try reader.string("loader")
        version = try reader.optionalString("version")
        title = try reader.string("title")
        tested = try reader.string("tested")
        base = try reader.optionalString("extends")
        reads = nil
        if var inner = try reader.optionalObject("reads") { reads = try Reads(&inner) }
        rules = []
        for var inner in try reader.objects("rules") { rules.append(try LoaderRule(&inner)) }
        try reader.finish()
        for (index, rule) in rules.enumerated() where rules[..<index].contains(where: { $0.id == rule.id }) {
            throw reader.error("two rules have the id \"\(escapedForDisplay(rule.id))\"")
        }
    }
}

extension LoaderProfile.Reads {
    fileprivate init(_ reader: inout RuleReader) throws(LoaderRulesError) {
        pattern = try reader.string("pattern")
        index = try reader.value("index", of: IndexUse.self)
        indexPattern = try reader.optionalString("indexPattern") ?? indexPattern
        prefers = try reader.optionalString("prefers")
        needsMatch = try reader.optionalBool("needsMatch") ?? false
        atMost = try reader.optionalInteger("atMost")
        try reader.finish()
    }
}

extension LoaderRule {
    fileprivate init(_ reader: inout RuleReader) throws(LoaderRulesError) {
        id = try reader.string("id")
        var test = try reader.object("test")
        self.test = try RuleTest(&test)
        verdict = try reader.value("verdict", of: LoaderVerdict.self)
        reason = try reader.string("reason")
        fix = try reader.string("fix")
        evidence = try reader.value("evidence", of: Evidence.self)
        var source = try reader.object("source")
        self.source = Source(
            repository: try source.string("repository"), file: try source.optionalString("file"),
            version: try source.string("version"))
        try source.finish()
        try reader.finish()
    }
}

extension RuleTest {
    fileprivate init(_ reader: inout RuleReader) throws(LoaderRulesError) {
        let kind = try reader.string("kind")
        switch kind {
        case "fault": self = .fault(try reader.strings("codes"))
        case "oddity": self = .oddity(try reader.strings("codes"))
        case "dtype": self = .dtype(try reader.dtypes("dtypes"))
        case "rank":
            self = .rank(
                over: try reader.optionalInteger("over"), under: try reader.optionalInteger("under"))
        case "dimension": self = .dimension(over: try reader.integer("over"))
        case "odd-last-dimension": self = .oddLastDimension(try reader.dtypes("dtypes"))
        case "name": self = .name(try NameTest(&reader))
        case "metadata-format":
            self = .metadataFormat(
                allowed: try reader.strings("allowed"), absent: try reader.optionalBool("absent") ?? false)
        case "header-bytes": self = .headerBytes(over: try reader.integer("over"))
        case "tensor-count": self = .tensorCount(over: try reader.integer("over"))
        default: self = try Self.directory(kind, &reader)
        }
        try reader.finish()
    }

    private static func directory(
        _ kind: String, _ reader: inout RuleReader
    ) throws(LoaderRulesError) -> RuleTest {
        switch kind {
        case "index-absent": return .indexAbsent
        case "index-key": return .indexKey(try reader.strings("keys"))
        case "index-bytes": return .indexBytes(over: try reader.integer("over"))
        case "index-fault": return .indexFault(try reader.strings("codes"))
        case "index-total-size": return .indexTotalSize
        case "index-shadowed": return .indexShadowed
        case "shard-missing": return .shardMissing
        case "shard-path": return .shardPath
        case "shard-extension": return .shardExtension(try reader.strings("allowed"))
        case "shard-folder": return .shardFolder
        case "tensor-missing": return .tensorMissing
        case "tensor-unlisted": return .tensorUnlisted
        case "tensor-elsewhere": return .tensorElsewhere
        case "tensor-repeated":
            return .tensorRepeated(differing: try reader.optionalBool("differing") ?? false)
        case "stray-file": return .strayFile
        case "file-present":
            return .filePresent(
                pattern: try reader.string("pattern"), below: try reader.optionalBool("below") ?? false)
        default: throw reader.error("there is no test of the kind \"\(escapedForDisplay(kind))\"")
        }
    }
}

extension RuleTest.NameTest {
    fileprivate init(_ reader: inout RuleReader) throws(LoaderRulesError) {
        empty = try reader.optionalBool("empty") ?? false
        control = try reader.optionalBool("control") ?? false
        longerThan = try reader.optionalInteger("longerThan")
        prefixes = try reader.optionalStrings("prefixes") ?? []
        parts = try reader.optionalStrings("parts") ?? []
    }
}
