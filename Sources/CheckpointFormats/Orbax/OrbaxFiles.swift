internal import Checkpoints
internal import TensorCore

/// The files of a tree, each opened once, by paths that stay inside it.
struct OrbaxFiles {
    /// Where the files are.
    private enum Place {
        case directory(DirectoryListing)
        case sources([ByteKey: any ByteSource])
    }

    private let place: Place
    /// What the tree is called in messages.
    let name: String
    private var open: [ByteKey: any ByteSource] = [:]
    /// The files in the order in which they were opened.
    private(set) var files: [SourceFile] = []

    /// How many files are held open; the others are opened for each read.
    private static let openLimit = 256

    /// The files of a directory.
    init(_ listing: DirectoryListing) {
        place = .directory(listing)
        name = listing.path
    }

    /// Files that are anywhere, by their paths in the tree.
    init(_ sources: [(path: String, source: any ByteSource)], name: String) {
        place = .sources(Dictionary(sources.map { (ByteKey($0.path), $0.source) }) { first, _ in first })
        self.name = name
    }

    /// The file at a path relative to the tree.
    mutating func source(_ path: String) throws(CheckpointError) -> any ByteSource {
        if let known = open[ByteKey(path)] { return known }
        var file: any ByteSource
        switch place {
        case .directory(let listing):
            file = try listing.open(path)
            if files.count >= Self.openLimit {
                do { file = try ReopenedFile(path: file.name) } catch { throw CheckpointError(error) }
            }
        case .sources(let sources):
            guard let source = sources[ByteKey(path)] else {
                throw CheckpointError(
                    .malformed, "file-missing", "it refers to \(escapedForDisplay(path)), which is not there",
                    file: name)
            }
            file = source
        }
        open[ByteKey(path)] = file
        files.append(SourceFile(path: path, source: file))
        return file
    }

    /// Whether a file stands at a path.
    func has(_ path: String) throws(CheckpointError) -> Bool {
        switch place {
        case .directory(let listing):
            do { return try FileSystem.kind(of: Path.join(listing.path, path)) == .file } catch {
                throw CheckpointError(error)
            }
        case .sources(let sources): return sources[ByteKey(path)] != nil
        }
    }

    /// The directories in the tree.
    var directories: [String] {
        switch place {
        case .directory(let listing): listing.directories
        case .sources(let sources):
            Set(
                sources.keys.filter { $0.bytes.contains(0x2F) }.map {
                    ByteKey(Array($0.bytes.prefix { $0 != 0x2F }))
                }
            )
            .map { String(decoding: $0.bytes, as: UTF8.self) }.sorted()
        }
    }

    /// The whole of a small file.
    mutating func contents(_ path: String, limit: UInt64) throws(CheckpointError) -> [UInt8] {
        let file = try source(path)
        guard file.byteCount <= limit else {
            throw CheckpointError(
                .malformed, "file-too-large",
                "it has \(file.byteCount) bytes, and more than \(limit) make no sense in such a file",
                file: path)
        }
        do { return try file.bytes(at: 0, count: Int(file.byteCount)) } catch { throw CheckpointError(error) }
    }
}

/// Values by keys, as Orbax lays arrays out: `NAME/.zarray`, `NAME/0.0`.
enum OrbaxStore {
    /// A directory for each array.
    case directories
    /// A database.
    case database(OCDBTStore)

    /// The bytes of a key, or nil where it has none.
    func value(_ key: String, _ files: inout OrbaxFiles) throws(CheckpointError) -> Extent? {
        switch self {
        case .directories:
            guard try files.has(key) else { return nil }
            let source = try files.source(key)
            return Extent(source: source, offset: 0, byteCount: source.byteCount)
        case .database(let store): return try store.value(key, &files)
        }
    }

    /// The names of arrays: those of which a key ends in `/.zarray` or `/zarr.json`.
    func arrayNames(_ files: OrbaxFiles) throws(CheckpointError) -> [String] {
        guard case .directories = self else {
            guard case .database(let store) = self else { return [] }
            return store.arrayNames
        }
        var names: [String] = []
        for name in files.directories {
            for file in [".zarray", "zarr.json"] where try files.has("\(name)/\(file)") {
                names.append(name)
                break
            }
        }
        return names
    }

    /// Whether the arrays are files of their own.
    var isPlain: Bool {
        if case .directories = self { true } else { false }
    }
}
