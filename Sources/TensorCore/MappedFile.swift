internal import Glibc

/// A whole regular file mapped for reading.
///
/// Views borrow the mapping, so the compiler keeps them from outliving it. A mapped file that another program
/// shortens kills the process (SIGBUS) when the lost pages are touched: map only files that nothing else
/// writes, and use ``InputFile`` for long jobs.
@safe
public final class MappedFile: Sendable {
    /// The path it was opened with.
    public let path: String
    private nonisolated(unsafe) let base: UnsafeRawPointer?
    /// The size, in bytes.
    public let byteCount: Int

    /// Maps the file at `path`.
    public init(path: String) throws(IOError) {
        let fd = unsafe open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)
        guard fd >= 0 else { throw .system("open", path) }
        defer { close(fd) }
        var status = stat()
        guard unsafe fstat(fd, &status) == 0 else { throw .system("examine", path) }
        guard status.st_mode & S_IFMT == S_IFREG else {
            throw IOError(.notRegularFile, path: path, operation: "map")
        }
        self.path = path
        byteCount = Int(status.st_size)
        guard byteCount > 0 else {
            unsafe base = nil
            return
        }
        let address = unsafe mmap(nil, byteCount, PROT_READ, MAP_PRIVATE, fd, 0)
        guard let address = unsafe address, unsafe address != MAP_FAILED else {
            throw .system("map", path)
        }
        unsafe base = UnsafeRawPointer(address)
    }

    deinit {
        if let base = unsafe base { unsafe munmap(UnsafeMutableRawPointer(mutating: base), byteCount) }
    }

    /// The file's bytes, valid while this object lives.
    public var bytes: RawSpan {
        @_lifetime(borrow self)
        get {
            // Sound: the mapping covers `byteCount` bytes and lives until deinit; the span borrows self.
            let span = unsafe RawSpan(_unsafeBytes: UnsafeRawBufferPointer(start: base, count: byteCount))
            return unsafe _overrideLifetime(span, borrowing: self)
        }
    }
}
