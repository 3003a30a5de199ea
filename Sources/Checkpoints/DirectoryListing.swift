public import TensorCore

/// What is in a directory: its files and directories by name, and what is neither.
public struct DirectoryListing: Sendable {
    /// The directory.
    public let path: String
    /// Regular files, and links to such, in name order.
    public let files: [String]
    /// Directories, and links to such inside this one, in name order.
    public let directories: [String]
    /// What cannot be used, with the reason.
    public let left: [SkippedItem]

    /// Lists a directory.
    public init(path: String) throws(CheckpointError) {
        let names: [String]
        do { names = try FileSystem.names(in: path) } catch { throw CheckpointError(error) }
        var files: [String] = []
        var directories: [String] = []
        var left: [SkippedItem] = []
        for name in names {
            let kind: FileSystem.Kind?
            do { kind = try FileSystem.kind(of: Path.join(path, name)) } catch {
                throw CheckpointError(error)
            }
            switch kind {
            case .file where Path.isSafeRelative(name): files.append(name)
            case .file:
                left.append(SkippedItem(name: name, reason: "its name has control characters or backslashes"))
            case .directory:
                guard Self.stays(Path.join(path, name), in: path) else {
                    left.append(
                        SkippedItem(name: name + "/", reason: "a link that leads out of the directory"))
                    continue
                }
                directories.append(name)
            case nil where name.unicodeScalars.contains("\u{FFFD}"):
                left.append(SkippedItem(name: name, reason: "its name is not UTF-8"))
            case nil: try Self.checkBrokenLink(name, directory: path, left: &left)
            default: left.append(SkippedItem(name: name, reason: "not a regular file"))
            }
        }
        self.path = path
        self.files = files
        self.directories = directories
        self.left = left
    }

    /// Whether a file of this name is there.
    public func has(_ name: String) -> Bool { files.contains { $0.utf8.elementsEqual(name.utf8) } }

    /// Lists a directory in this one.
    ///
    /// - Throws: where there is none of this name, or it is a link that leads out of this directory.
    public func listing(of name: String) throws(CheckpointError) -> DirectoryListing {
        let inner = Path.join(path, name)
        guard Path.isSafeRelative(name), Self.stays(inner, in: path) else {
            throw CheckpointError(
                .unsafe, "path-escape",
                "the directory \(escapedForDisplay(name)) is a link that leads out of it, or no plain path",
                file: path)
        }
        return try DirectoryListing(path: inner)
    }

    /// Opens a file by its path relative to the directory.
    ///
    /// - Throws: where the path leads out of the directory, also by way of links, and where nothing stands there.
    public func open(_ file: String) throws(CheckpointError) -> InputFile {
        try Self.open(file, in: path, for: path)
    }

    /// The contents of a small file.
    ///
    /// - Throws: as ``open(_:)``, and where the file has more than `limit` bytes.
    public func contents(of file: String, limit: Int) throws(CheckpointError) -> [UInt8] {
        let input = try open(file)
        guard input.byteCount <= UInt64(limit) else {
            throw CheckpointError(
                .malformed, "file-too-large",
                "it has \(input.byteCount) bytes, and more than \(limit) make no sense in such a file",
                file: input.name)
        }
        do { return try input.bytes(at: 0, count: Int(input.byteCount)) } catch {
            throw CheckpointError(error)
        }
    }
}

extension DirectoryListing {
    /// Whether a path, links in it followed, is inside a directory; so is what does not exist.
    private static func stays(_ path: String, in directory: String) -> Bool {
        guard let target = FileSystem.resolved(path), let base = FileSystem.resolved(directory) else {
            return true
        }
        return isInside(target, base)
    }

    /// Opens a file that a file of a directory refers to, where it is in that directory.
    ///
    /// - Parameters:
    ///   - file: the path relative to the directory.
    ///   - directory: the directory.
    ///   - referrer: what refers to the file, for messages.
    public static func open(
        _ file: String, in directory: String, for referrer: String
    ) throws(CheckpointError) -> InputFile {
        guard Path.isSafeRelative(file) else {
            throw CheckpointError(
                .unsafe, "path-escape",
                "it refers to '\(escapedForDisplay(file))', which is no plain path inside its directory",
                file: referrer)
        }
        let path = Path.join(directory, file)
        let kind: FileSystem.Kind?
        do { kind = try FileSystem.kind(of: path) } catch { throw CheckpointError(error) }
        guard kind == .file else {
            throw CheckpointError(
                .malformed, "file-missing",
                "it refers to \(escapedForDisplay(file)), which is \(kind == nil ? "not there" : "not a file")",
                file: referrer)
        }
        guard let target = FileSystem.resolved(path), let base = FileSystem.resolved(directory),
            isInside(target, base) || !file.utf8.contains(0x2F) && isHubLink(target, base)
        else {
            throw CheckpointError(
                .unsafe, "path-escape",
                "it refers to \(escapedForDisplay(file)), which is a link that leads out of its directory",
                file: referrer)
        }
        do { return try InputFile(path: path) } catch { throw CheckpointError(error) }
    }

    private static func isInside(_ path: String, _ directory: String) -> Bool {
        path.utf8.starts(with: (directory.hasSuffix("/") ? directory : directory + "/").utf8)
    }

    /// Whether a path is a blob of the hub's cache that the directory is a snapshot in: all files there are links.
    private static func isHubLink(_ path: String, _ directory: String) -> Bool {
        let blobs = Path.join(Path.parent(of: Path.parent(of: directory)), "blobs")
        return Path.name(of: Path.parent(of: directory)) == "snapshots" && isInside(path, blobs)
    }

    /// A link to nothing is an error where the model would lack what it stands for.
    private static func checkBrokenLink(
        _ name: String, directory: String, left: inout [SkippedItem]
    ) throws(CheckpointError) {
        let isWeights = ModelDirectory.weightSuffixes.joined().contains { name.hasSuffix($0) }
        guard SideFile.Role(fileName: name) == nil, !isWeights || SideFile.isTrainingState(name) else {
            throw CheckpointError(
                .malformed, "broken-link",
                "\(escapedForDisplay(name)) is a link to a file that is not there: fetch the file, or remove "
                    + "the link", file: directory)
        }
        left.append(SkippedItem(name: name, reason: "a link to a file that is not there"))
    }
}
