internal import Checkpoints
internal import TensorCore

/// The files of a checkpoint by name, wherever they are: in a directory, or inside an archive.
struct CheckpointFiles: Sendable {
    /// What holds the files, for messages.
    let location: String
    /// The paths relative to it, in order.
    let names: [String]
    /// Opens a file.
    let open: @Sendable (String) throws(CheckpointError) -> any ByteSource

    /// The files of a directory.
    init(_ listing: DirectoryListing) {
        location = listing.path
        names = listing.files
        open = { (name) throws(CheckpointError) in try listing.open(name) }
    }

    /// The files of something else.
    init(
        location: String, names: [String],
        open: @escaping @Sendable (String) throws(CheckpointError) -> any ByteSource
    ) {
        self.location = location
        self.names = names
        self.open = open
    }

    /// Files that are sources already.
    init(location: String, sources: [(name: String, source: any ByteSource)]) {
        let byName = Dictionary(sources.map { (ByteKey($0.name), $0.source) }) { first, _ in first }
        self.init(location: location, names: sources.map(\.name)) { (name) throws(CheckpointError) in
            if let source = byName[ByteKey(name)] { return source }
            throw CheckpointError(
                .malformed, "file-missing", "it refers to \(escapedForDisplay(name)), which is not there",
                file: location)
        }
    }

    /// Whether a file of this name is there.
    func has(_ name: String) -> Bool { names.contains { $0.utf8.elementsEqual(name.utf8) } }

    /// The contents of a file of at most `limit` bytes.
    func contents(of name: String, limit: Int) throws(CheckpointError) -> [UInt8] {
        let file = try open(name)
        guard file.byteCount <= UInt64(limit) else {
            throw CheckpointError(
                .malformed, "file-too-large",
                "it has \(file.byteCount) bytes, and more than \(limit) make no sense in such a file",
                file: file.name)
        }
        do { return try file.bytes(at: 0, count: Int(file.byteCount)) } catch { throw CheckpointError(error) }
    }
}
