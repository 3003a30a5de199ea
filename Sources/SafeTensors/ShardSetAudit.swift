internal import StrictJSON
public import TensorCore

/// The files of a directory, their headers and their indexes, compared with each other both ways.
///
/// Reads headers and indexes, no tensors.
///
/// ```swift
/// let audit = try ShardSetAudit(directory: "model")
/// for finding in audit.findings { print(finding) }
/// ```
public struct ShardSetAudit: Sendable {
    /// A SafeTensors file.
    public struct Shard: Sendable {
        /// The name, relative to the directory.
        public let name: String
        /// Its header, nil where that is refused or cannot be read.
        public let header: SafeTensorsHeader?
        let fileName: ShardFileName?
    }

    /// An index file.
    public struct Index: Sendable {
        /// The name, relative to the directory.
        public let name: String
        /// Its bytes.
        public let document: [UInt8]
        /// The index without the entries that are refused, nil where all of it is.
        public let index: ShardIndex?
        /// The keys of the entries that are refused.
        let refused: [TensorName]
    }

    /// At most this many findings of a kind are kept; the rest are counted.
    public static let limit = 1000

    /// The directory.
    public let directory: String
    /// The SafeTensors files that stand in the directory, then those that only an index names, in byte order.
    public private(set) var shards: [Shard] = []
    /// The index files, in byte order.
    public private(set) var indexes: [Index] = []
    /// What was found, at most ``limit`` of a kind.
    public private(set) var findings: [Finding] = []
    private var counts: [Code: Int] = [:]
    private var numbers: [ByteKey: Int] = [:]

    /// Reads the headers and indexes of a directory and compares them.
    ///
    /// - Parameters:
    ///   - directory: the directory of the shards and the indexes.
    ///   - only: the name of one shard, to read its header alone; nil for the whole directory.
    ///   - indexes: the names of the indexes to compare; nil for all that are there.
    ///   - mode: what to do with files on which readers disagree.
    /// - Throws: only where the directory cannot be listed.
    public init(
        directory: String, only: String? = nil, indexes: [String]? = nil, mode: ValidationMode = .strict
    ) throws(IOError) {
        self.directory = directory
        let names = if let only { [only] } else { try FileSystem.names(in: directory) }
        for name in names where name.hasSuffix(".safetensors") {
            // A link to nowhere is as good as nothing.
            guard try FileSystem.kind(of: Path.join(directory, name)) != nil || only != nil else { continue }
            readShard(name, mode)
        }
        guard only == nil else { return }
        for name in indexes ?? names.filter(ShardFileName.isIndex) { readIndex(name) }
        for index in self.indexes { readListedShards(of: index, mode) }
        compare()
    }

    /// How many findings of a kind there were, kept or not.
    ///
    /// - Parameter code: the kind.
    public func count(of code: Code) -> Int { counts[code] ?? 0 }

    /// True where an error was found.
    public var hasErrors: Bool { findings.contains { $0.severity == .error } }

    /// True where something could not be read.
    public var hasUnreadable: Bool { findings.contains { $0.severity == .unreadable } }

    /// The shard with this name, nil where there is none.
    func shard(_ name: String) -> Shard? { numbers[ByteKey(name)].map { shards[$0] } }

    mutating func add(_ finding: Finding) {
        counts[finding.code, default: 0] += 1
        if count(of: finding.code) <= Self.limit { findings.append(finding) }
    }
}

// MARK: - Reading

extension ShardSetAudit {
    private mutating func readShard(_ name: String, _ mode: ValidationMode) {
        var header: SafeTensorsHeader?
        do throws(SafeTensorsError) {
            header = try SafeTensorsReader(opening: Path.join(directory, name), mode: mode).header
            for warning in header?.warnings.kept ?? [] {
                add(
                    Finding(
                        .warning, Code(warning.code.rawValue), file: name, tensor: warning.tensor,
                        offset: warning.offset, warning.message))
            }
        } catch {
            add(
                error.code == .io
                    ? Finding(.unreadable, .shardUnreadable, file: name, error.message)
                    : Finding(
                        .error, Code(error.code.rawValue), file: name, tensor: error.tensor,
                        offset: error.offset, error.message))
        }
        numbers[ByteKey(name)] = shards.count
        shards.append(Shard(name: name, header: header, fileName: ShardFileName(name)))
    }

    private mutating func readIndex(_ name: String) {
        let document: [UInt8]
        do {
            document = try FileSystem.contents(
                of: Path.join(directory, name), limit: ShardIndex.byteCountLimit)
        } catch {
            add(Finding(.unreadable, .shardUnreadable, file: name, error.description))
            return
        }
        var refused: [TensorName] = []
        var index: ShardIndex?
        do throws(SafeTensorsError) {
            index = try ShardIndex(parsing: document, fileExtension: "safetensors") {
                (member, error) throws(SafeTensorsError) in
                refused.append(TensorName(member.key))
                add(
                    Finding(
                        .error, Code(error.code.rawValue), file: name, tensor: error.tensor, error.message))
            }
        } catch {
            add(Finding(.error, Code(error.code.rawValue), file: name, offset: error.offset, error.message))
        }
        for warning in index?.warnings.kept ?? [] {
            add(Finding(.warning, Code(warning.code.rawValue), file: name, warning.message))
        }
        indexes.append(Index(name: name, document: document, index: index, refused: refused))
    }

    /// Reads the shards in subdirectories, and reports those that are not there.
    private mutating func readListedShards(of index: Index, _ mode: ValidationMode) {
        for file in index.index?.files ?? [] where numbers[ByteKey(file)] == nil {
            do throws(IOError) {
                if try FileSystem.kind(of: Path.join(directory, file)) != nil {
                    readShard(file, mode)
                } else {
                    let count = index.index?.entries.count { $0.file.utf8.elementsEqual(file.utf8) } ?? 0
                    add(
                        Finding(
                            .error, .shardMissing, file: index.name,
                            "it lists \(escapedForDisplay(file)) with \(count) tensors, but the file is not "
                                + "there: fetch it again"))
                }
            } catch {
                add(Finding(.unreadable, .shardUnreadable, file: file, error.description))
            }
        }
    }
}
