internal import Checkpoints
internal import TensorCore

/// The files of a checkpoint's directory, each opened once, by paths that stay inside it.
struct OrbaxFiles {
    let directory: String
    private var open: [ByteKey: any ByteSource] = [:]
    /// The files in the order in which they were opened.
    private(set) var files: [SourceFile] = []

    /// How many files are held open; the others are opened for each read.
    private static let openLimit = 256

    init(_ directory: String) { self.directory = directory }

    /// The file at a path relative to the directory.
    mutating func source(_ path: String) throws(CheckpointError) -> any ByteSource {
        if let known = open[ByteKey(path)] { return known }
        var file: any ByteSource = try DirectoryListing.open(path, in: directory, for: directory)
        if files.count >= Self.openLimit {
            do { file = try ReopenedFile(path: file.name) } catch { throw CheckpointError(error) }
        }
        open[ByteKey(path)] = file
        files.append(SourceFile(path: path, source: file))
        return file
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
protocol OrbaxStore {
    /// The bytes of a key, or nil where it has none.
    mutating func value(_ key: String, _ files: inout OrbaxFiles) throws(CheckpointError) -> Extent?
    /// The names of arrays, those of which a key ends in `/.zarray` or `/zarr.json`.
    func arrayNames() throws(CheckpointError) -> [String]
}

/// The store that is a directory for each array.
struct DirectoryStore: OrbaxStore {
    let listing: DirectoryListing

    func value(_ key: String, _ files: inout OrbaxFiles) throws(CheckpointError) -> Extent? {
        let path = Path.join(listing.path, key)
        let kind: FileSystem.Kind?
        do { kind = try FileSystem.kind(of: path) } catch { throw CheckpointError(error) }
        guard kind != nil else { return nil }
        let source = try files.source(key)
        return Extent(source: source, offset: 0, byteCount: source.byteCount)
    }

    func arrayNames() throws(CheckpointError) -> [String] {
        var names: [String] = []
        for name in listing.directories {
            for file in [".zarray", "zarr.json"] {
                let path = Path.join(Path.join(listing.path, name), file)
                let kind: FileSystem.Kind?
                do { kind = try FileSystem.kind(of: path) } catch { throw CheckpointError(error) }
                if kind == .file {
                    names.append(name)
                    break
                }
            }
        }
        return names
    }
}
