internal import CSystem
internal import Glibc

/// Operations on paths.
///
/// The one place that calls the file system by path.
public enum FileSystem {
    /// What stands at a path.
    public enum Kind: Sendable { case file, directory, symbolicLink, other }

    /// What stands at `path`, or nil where nothing does.
    ///
    /// - Parameter followingLinks: whether a symbolic link is looked through.
    public static func kind(of path: String, followingLinks: Bool = true) throws(IOError) -> Kind? {
        var status = stat()
        let result = unsafe followingLinks ? stat(path, &status) : lstat(path, &status)
        guard result == 0 else {
            if errno == ENOENT || errno == ENOTDIR { return nil }
            throw .system("examine", path)
        }
        switch status.st_mode & S_IFMT {
        case S_IFREG: return .file
        case S_IFDIR: return .directory
        case S_IFLNK: return .symbolicLink
        default: return .other
        }
    }

    /// Whether `path` itself, no link to it, is of this kind and belongs to this user.
    public static func isOwn(_ path: String, _ kind: Kind) -> Bool {
        var status = stat()
        guard unsafe lstat(path, &status) == 0, status.st_uid == geteuid() else { return false }
        return (try? Self.kind(of: path, followingLinks: false)) == kind
    }

    /// The names in a directory in byte order, without `.` and `..`.
    public static func names(in directory: String) throws(IOError) -> [String] {
        guard let stream = unsafe opendir(directory) else { throw .system("list", directory) }
        defer { unsafe closedir(stream) }
        var names: [String] = []
        while true {
            errno = 0
            guard let entry = unsafe readdir(stream) else {
                if errno != 0 { throw .system("list", directory) }
                break
            }
            let name = unsafe withUnsafePointer(to: &entry.pointee.d_name) { pointer in
                unsafe pointer.withMemoryRebound(to: CChar.self, capacity: 256) { unsafe String(cString: $0) }
            }
            if name != "." && name != ".." { names.append(name) }
        }
        return names.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
    }

    /// All of a small file, refusing one over `limit` bytes.
    public static func contents(of path: String, limit: Int) throws(IOError) -> [UInt8] {
        let file = try InputFile(path: path)
        guard file.byteCount <= UInt64(limit) else {
            throw IOError(
                .unreadable, path: path, operation: "read",
                detail: "it has \(file.byteCount) bytes, more than the \(limit) that such a file may have")
        }
        return try file.bytes(at: 0, count: Int(file.byteCount))
    }

    /// Creates a file that must not exist, writes `bytes` and syncs it.
    public static func create(_ path: String, contents bytes: [UInt8]) throws(IOError) {
        let file = try OutputFile(creating: path)
        try file.write(bytes.span.bytesView, at: 0)
        try file.synchronize()
    }

    /// Creates a directory; its parent must exist.
    public static func createDirectory(_ path: String) throws(IOError) {
        guard unsafe mkdir(path, 0o777) == 0 else { throw .system("create directory", path) }
    }

    /// Creates a directory and the parents that it lacks.
    public static func createDirectories(_ path: String) throws(IOError) {
        if try kind(of: path) == .directory { return }
        let parent = Path.parent(of: path)
        if parent != path { try createDirectories(parent) }
        guard unsafe mkdir(path, 0o777) == 0 || errno == EEXIST else {
            throw .system("create directory", path)
        }
    }

    /// Brings a directory's entries to stable storage.
    public static func synchronizeDirectory(_ path: String) throws(IOError) {
        let fd = unsafe open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard fd >= 0 else { throw .system("open", path) }
        defer { close(fd) }
        // Some file systems refuse fsync on a directory; they keep entries in another way.
        while fsync(fd) != 0 {
            if errno == EINVAL { return }
            if errno != EINTR { throw .system("sync", path) }
        }
    }

    /// Moves `from` to `to`, where nothing may stand.
    ///
    /// Returns false where something does.
    public static func moveWithoutReplacing(_ from: String, to: String) throws(IOError) -> Bool {
        var code = unsafe csystem_rename_noreplace(from, to)
        if code == EINVAL || code == ENOSYS {
            if try kind(of: to, followingLinks: false) != nil { return false }
            code = unsafe rename(from, to) == 0 ? 0 : errno
        }
        if code == EEXIST || code == ENOTEMPTY { return false }
        guard code == 0 else { throw IOError(.system, path: to, operation: "rename to", errno: code) }
        return true
    }

    /// Moves the directory `from` to `to`, where an empty directory stands.
    public static func moveOverEmptyDirectory(_ from: String, to: String) throws(IOError) {
        guard unsafe rename(from, to) == 0 else { throw .system("rename to", to) }
    }

    /// Gives `target` the permissions of `path`.
    public static func copyMode(of path: String, to target: String) throws(IOError) {
        var status = stat()
        guard unsafe stat(path, &status) == 0 else { throw .system("examine", path) }
        guard unsafe chmod(target, status.st_mode & 0o7777) == 0 else {
            throw .system("set the permissions of", target)
        }
    }

    /// True for a directory on which another file system is mounted.
    public static func isMountPoint(_ path: String) -> Bool {
        var here = stat()
        var above = stat()
        guard unsafe stat(path, &here) == 0, unsafe stat(Path.join(path, ".."), &above) == 0 else {
            return false
        }
        return here.st_dev != above.st_dev || here.st_ino == above.st_ino
    }

    /// The absolute path of `path` with all links resolved, or nil where it does not exist.
    public static func resolved(_ path: String) -> String? {
        guard let buffer = unsafe realpath(path, nil) else { return nil }
        defer { unsafe free(buffer) }
        return unsafe String(cString: buffer)
    }

    /// The bytes that this process may still write on the file system of `path`, or nil where unknown.
    public static func availableByteCount(at path: String) -> UInt64? {
        var status = statvfs()
        guard unsafe statvfs(path, &status) == 0 else { return nil }
        let (bytes, overflow) = UInt64(status.f_bavail).multipliedReportingOverflow(
            by: UInt64(status.f_frsize))
        return overflow ? nil : bytes
    }

    /// Swaps two existing paths in one step.
    ///
    /// Returns false where the file system cannot.
    public static func exchange(_ a: String, _ b: String) throws(IOError) -> Bool {
        let code = unsafe csystem_rename_exchange(a, b)
        if code == EINVAL || code == ENOSYS { return false }
        guard code == 0 else { throw IOError(.system, path: b, operation: "replace", errno: code) }
        return true
    }

    /// Removes a file, or a directory with all that is in it, never following a link.
    ///
    /// Nothing there is fine.
    public static func removeTree(_ path: String) throws(IOError) {
        switch try kind(of: path, followingLinks: false) {
        case nil: return
        case .directory:
            for name in try names(in: path) { try removeTree(Path.join(path, name)) }
            guard unsafe rmdir(path) == 0 || errno == ENOENT else { throw .system("remove", path) }
        default:
            guard unsafe unlink(path) == 0 || errno == ENOENT else { throw .system("remove", path) }
        }
    }

    /// A lock on a directory that is given up when the object goes away or the process ends, however it ends.
    public final class Lock: Sendable {
        private let descriptor: Int32

        /// Locks `directory`, or returns nil where another process holds it.
        public init?(directory: String) throws(IOError) {
            descriptor = unsafe open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
            guard descriptor >= 0 else { throw .system("open", directory) }
            guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
                close(descriptor)
                return nil
            }
        }

        deinit { close(descriptor) }
    }
}

/// Paths as text, with `/` between components.
public enum Path {
    /// `directory` and `name` with one slash between them.
    public static func join(_ directory: String, _ name: String) -> String {
        directory.isEmpty || directory == "."
            ? name : directory.utf8.last == 0x2F ? directory + name : directory + "/" + name
    }

    /// The path without trailing slashes (but `/` itself stays).
    public static func normalized(_ path: String) -> String {
        var result = path[...]
        while result.utf8.count > 1, result.utf8.last == 0x2F { result = result.dropLast() }
        return String(result)
    }

    /// The last component.
    public static func name(of path: String) -> String {
        let path = normalized(path)
        guard let slash = path.utf8.lastIndex(of: 0x2F) else { return path }
        return String(path[path.utf8.index(after: slash)...])
    }

    /// The path without its last component: `.` where there is only one.
    public static func parent(of path: String) -> String {
        let path = normalized(path)
        guard let slash = path.utf8.lastIndex(of: 0x2F) else { return "." }
        return slash == path.startIndex ? "/" : String(path[..<slash])
    }

    /// True for a name that stays inside the directory it is joined to: relative, without `..`, empty or `.`
    /// components, backslashes, drive letters, NUL or control bytes.
    public static func isSafeRelative(_ path: String) -> Bool {
        guard !path.isEmpty, !path.utf8.contains(where: { $0 < 0x20 || $0 == 0x5C || $0 == 0x7F }) else {
            return false
        }
        let bytes = Array(path.utf8)
        if bytes.count >= 2, bytes[1] == 0x3A, (bytes[0] | 0x20) >= 0x61, (bytes[0] | 0x20) <= 0x7A {
            return false
        }
        return bytes.split(separator: 0x2F, omittingEmptySubsequences: false).allSatisfy { part in
            !part.isEmpty && part != [0x2E] && part != [0x2E, 0x2E]
        }
    }
}
