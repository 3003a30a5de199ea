internal import Glibc

/// A file that is written beside its destination and takes its place in one step when it is committed.
///
/// Until then the destination is untouched, and a file that is dropped without being committed leaves nothing.
/// What a killed process left behind is removed by the next one that writes to the same destination.
///
/// A destination that is a symbolic link stays one: the file that it leads to is replaced. A replaced file
/// passes on its permissions and, where that is allowed, its owner; a new one gets 0666 less the umask.
public struct ReplacementFile: ~Copyable {
    /// The destination, with links followed.
    public let path: String
    private let file: OutputFile
    private let permissions: mode_t?
    private let owner: (user: uid_t, group: gid_t)?
    private var isCommitted = false

    /// Creates the temporary file in the destination's directory, which must exist.
    public init(for destination: String) throws(IOError) {
        let target = try Self.target(of: destination)
        let (directory, prefix) = Self.temporaryPlace(for: target.path)
        try Self.removeLeftovers(in: directory, prefix: prefix)
        let file = try Self.create(in: directory, prefix: prefix)
        path = target.path
        permissions = target.permissions
        owner = target.owner
        self.file = file
    }

    deinit {
        if !isCommitted { _ = unsafe unlink(file.path) }
    }

    /// The file to write to, for writers on several threads; not to be used after ``commit()``.
    public var output: OutputFile { file }

    /// Writes all of `bytes` at `offset`.
    public func write(_ bytes: RawSpan, at offset: UInt64) throws(IOError) {
        try file.write(bytes, at: offset)
    }

    /// Reserves `byteCount` bytes, so that a full disk is noticed before the work.
    public func reserve(byteCount: UInt64) throws(IOError) { try file.reserve(byteCount: byteCount) }

    /// Brings the contents to stable storage and puts the file in the destination's place.
    ///
    /// - Parameter replacing: whether a file that stands there by now may be replaced; EEXIST is thrown where it
    ///   may not.
    public mutating func commit(replacing: Bool = true) throws(IOError) {
        // Only the superuser can give a file away; for others it stays theirs.
        if let owner { _ = fchown(file.descriptor, owner.user, owner.group) }
        if let permissions {
            guard fchmod(file.descriptor, permissions) == 0 else {
                throw .system("set the permissions of", file.path)
            }
        }
        try file.synchronize()
        if replacing {
            guard unsafe rename(file.path, path) == 0 else { throw .system("rename to", path) }
        } else if try !FileSystem.moveWithoutReplacing(file.path, to: path) {
            throw IOError(.system, path: path, operation: "create", errno: EEXIST)
        }
        isCommitted = true
        try FileSystem.synchronizeDirectory(Path.parent(of: path))
    }
}

extension ReplacementFile {
    private static let suffix = ".partial"

    /// Where `destination` leads, and the permissions of the file that is there.
    private static func target(of destination: String) throws(IOError) -> (
        path: String, permissions: mode_t?, owner: (user: uid_t, group: gid_t)?
    ) {
        guard try FileSystem.kind(of: destination, followingLinks: false) != nil else {
            return (destination, nil, nil)
        }
        guard let resolved = unsafe realpath(destination, nil) else { throw .system("follow", destination) }
        defer { unsafe free(resolved) }
        let path = unsafe String(cString: resolved)
        var status = stat()
        guard unsafe stat(path, &status) == 0 else { throw .system("examine", path) }
        guard status.st_mode & S_IFMT == S_IFREG else {
            throw IOError(.notRegularFile, path: path, operation: "replace")
        }
        return (path, status.st_mode & 0o7777, (status.st_uid, status.st_gid))
    }

    /// The directory and the beginning of the temporary name, short enough for any file system.
    private static func temporaryPlace(for path: String) -> (directory: String, prefix: String) {
        let name = Path.name(of: path).unicodeScalars
        var prefix = "."
        for scalar in name where prefix.utf8.count < 200 { prefix.unicodeScalars.append(scalar) }
        return (Path.parent(of: path), prefix + ".")
    }

    private static func create(in directory: String, prefix: String) throws(IOError) -> OutputFile {
        while true {
            let number = String(UInt32.random(in: .min ... .max), radix: 16)
            let path = Path.join(directory, prefix + number + suffix)
            let file: OutputFile
            do {
                file = try OutputFile(creating: path)
            } catch {
                if error.errno == EEXIST { continue }
                throw error
            }
            // The lock tells other processes that the file is in use. One may have removed it just before.
            var status = stat()
            if flock(file.descriptor, LOCK_EX | LOCK_NB) == 0 {
                if unsafe fstat(file.descriptor, &status) != 0 || status.st_nlink > 0 { return file }
            } else if errno != EWOULDBLOCK {
                // A file system without locks.
                return file
            }
        }
    }

    /// Removes temporary files of the same destination that no process holds any more.
    private static func removeLeftovers(in directory: String, prefix: String) throws(IOError) {
        for name in try FileSystem.names(in: directory) {
            let rest = name.utf8.dropFirst(prefix.utf8.count)
            let digits = rest.dropLast(suffix.utf8.count)
            guard name.utf8.starts(with: prefix.utf8),
                rest.suffix(suffix.utf8.count).elementsEqual(suffix.utf8),
                (1...8).contains(digits.count), digits.allSatisfy({ 0x30...0x39 ~= $0 || 0x61...0x66 ~= $0 })
            else { continue }
            let path = Path.join(directory, name)
            let fd = unsafe open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)
            guard fd >= 0 else { continue }
            defer { close(fd) }
            if flock(fd, LOCK_EX | LOCK_NB) == 0 { _ = unsafe unlink(path) }
        }
    }
}
