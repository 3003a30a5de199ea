internal import CSystem
internal import Glibc

/// A regular file open for reading with `pread`, so that a file that shrinks gives an error and never a signal.
///
/// Opening follows symbolic links, does not block on a FIFO, and refuses anything but a regular file.
public final class InputFile: ByteSource {
    /// The path it was opened with.
    public let name: String
    /// The size when it was opened, in bytes.
    public let byteCount: UInt64
    /// What tells this version of the file from another.
    public let identity: FileIdentity
    let descriptor: Int32

    /// Opens the file.
    public init(path: String) throws(IOError) {
        let fd = unsafe open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)
        guard fd >= 0 else { throw .system("open", path) }
        var status = stat()
        guard unsafe fstat(fd, &status) == 0 else {
            let error = IOError.system("examine", path)
            close(fd)
            throw error
        }
        guard status.st_mode & S_IFMT == S_IFREG else {
            close(fd)
            throw IOError(.notRegularFile, path: path, operation: "open")
        }
        name = path
        byteCount = UInt64(status.st_size)
        identity = FileIdentity(status)
        descriptor = fd
    }

    deinit { close(descriptor) }

    /// The type of the file system that holds it.
    public var fileSystem: FileSystemType { FileSystemType(descriptor: descriptor) }

    /// Fills the buffer with `pread`, whatever the pieces in which the system delivers.
    public func read(at offset: UInt64, into buffer: inout MutableRawSpan) throws(IOError) {
        var done = 0
        let total = buffer.byteCount
        while done < total {
            let at = offset + UInt64(done)
            let count = unsafe buffer.withUnsafeMutableBytes { bytes in
                unsafe pread(descriptor, bytes.baseAddress! + done, total - done, off_t(at))
            }
            if count < 0 {
                if errno == EINTR { continue }
                throw .system("read", name, offset: at)
            }
            guard count > 0 else {
                throw IOError(.unexpectedEnd, path: name, operation: "read", offset: at)
            }
            done += count
        }
    }

    /// Tells the kernel that the file will be read once from start to end.
    public func adviseSequential() {
        _ = posix_fadvise(descriptor, 0, 0, POSIX_FADV_SEQUENTIAL)
    }

    /// Throws where the open file was changed since it was opened.
    public func checkUnchanged() throws(IOError) {
        var status = stat()
        guard unsafe fstat(descriptor, &status) == 0 else { throw .system("examine", name) }
        guard FileIdentity(status) == identity else {
            throw IOError(.changedWhileReading, path: name, operation: "read")
        }
    }
}

/// What tells one version of a file from another: device, inode, size, and the times of the last
/// change of its contents and of its attributes.
public struct FileIdentity: Sendable, Hashable {
    let device: UInt64
    let inode: UInt64
    let size: Int64
    let modifiedSeconds: Int
    let modifiedNanoseconds: Int
    let changedSeconds: Int
    let changedNanoseconds: Int

    /// All of it as text.
    public var text: String {
        "\(device):\(inode):\(size):\(modifiedSeconds).\(modifiedNanoseconds):\(changedSeconds).\(changedNanoseconds)"
    }

    /// When the contents were last changed, in nanoseconds since 1970.
    public var modifiedNanosecondsTotal: Int64 {
        Int64(modifiedSeconds) &* 1_000_000_000 &+ Int64(modifiedNanoseconds)
    }

    init(_ status: stat) {
        device = UInt64(status.st_dev)
        inode = UInt64(status.st_ino)
        size = Int64(status.st_size)
        modifiedSeconds = status.st_mtim.tv_sec
        modifiedNanoseconds = status.st_mtim.tv_nsec
        changedSeconds = status.st_ctim.tv_sec
        changedNanoseconds = status.st_ctim.tv_nsec
    }
}

/// A file being written at chosen offsets, from any thread.
public final class OutputFile: ByteSink {
    /// The path.
    public let path: String
    /// The path.
    public var name: String { path }
    let descriptor: Int32

    /// Opens a file that exists, for reading too, to change it where it stands.
    init(modifying path: String) throws(IOError) {
        let fd = unsafe open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)
        guard fd >= 0 else { throw .system("open for writing", path) }
        self.path = path
        descriptor = fd
    }

    /// Creates the file; it must not exist.
    ///
    /// The mode is 0666 less the umask.
    public init(creating path: String) throws(IOError) {
        let fd = unsafe open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o666)
        guard fd >= 0 else { throw .system("create", path) }
        self.path = path
        descriptor = fd
    }

    /// Opens a file that an interrupted run began, to go on with it; creates it where it is not there.
    ///
    /// What is no regular file, or has a second name, is removed first.
    public init(resuming path: String) throws(IOError) {
        var status = stat()
        if unsafe lstat(path, &status) == 0, status.st_mode & S_IFMT != S_IFREG || status.st_nlink > 1 {
            try FileSystem.removeTree(path)
        }
        let fd = unsafe open(path, O_WRONLY | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0o666)
        guard fd >= 0 else { throw .system("open for writing", path) }
        self.path = path
        descriptor = fd
    }

    /// The size of the file at this moment, in bytes; nil where it cannot be told.
    public var existingByteCount: UInt64? {
        var status = stat()
        guard unsafe fstat(descriptor, &status) == 0 else { return nil }
        return UInt64(clamping: status.st_size)
    }

    deinit { close(descriptor) }

    /// Copies within the kernel, sharing the bytes where the file system can.
    public func copy(
        _ range: Range<UInt64>, of file: InputFile, to offset: UInt64
    ) throws(IOError) -> UInt64 {
        var done: UInt64 = 0
        let total = UInt64(range.count)
        while done < total {
            let count = csystem_copy_range(
                file.descriptor, range.lowerBound + done, total - done, descriptor, offset + done)
            if count == -Int64(EINTR) { continue }
            if count == -Int64(ENOSPC) || count == -Int64(EDQUOT) || count == -Int64(EIO) {
                throw IOError(
                    .system, path: path, operation: "copy \(escapedForDisplay(file.name)) to",
                    offset: offset + done, errno: Int32(-count))
            }
            // Nothing: the end of a file that shrank; less than nothing: not between these file systems.
            guard count > 0 else { break }
            done += UInt64(count)
        }
        return done
    }

    /// Writes all of `bytes` at `offset`.
    public func write(_ bytes: RawSpan, at offset: UInt64) throws(IOError) {
        var done = 0
        let total = bytes.byteCount
        while done < total {
            let at = offset + UInt64(done)
            let count = unsafe bytes.withUnsafeBytes { buffer in
                unsafe pwrite(descriptor, buffer.baseAddress! + done, total - done, off_t(at))
            }
            if count < 0 {
                if errno == EINTR { continue }
                throw .system("write", path, offset: at)
            }
            done += count
        }
    }

    /// Cuts the file off, or fills it up with zeros.
    public func truncate(to byteCount: UInt64) throws(IOError) {
        while ftruncate(descriptor, off_t(clamping: byteCount)) != 0 {
            if errno != EINTR { throw .system("cut off", path, offset: byteCount) }
        }
    }

    /// Brings the contents to stable storage.
    public func synchronize() throws(IOError) {
        while fsync(descriptor) != 0 {
            if errno != EINTR { throw .system("sync", path) }
        }
    }

    /// Reserves `byteCount` bytes, so that a full disk is noticed before the work.
    ///
    /// Ignored where the file system cannot reserve.
    public func reserve(byteCount: UInt64) throws(IOError) {
        guard byteCount > 0 else { return }
        let code = csystem_reserve(descriptor, byteCount)
        if code == ENOSPC || code == EDQUOT || code == EFBIG {
            throw IOError(.system, path: path, operation: "reserve \(byteCount) bytes for", errno: code)
        }
    }
}
