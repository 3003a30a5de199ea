internal import CSystem
internal import Glibc

/// A regular file open for reading and for changes where it stands.
///
/// Opening follows symbolic links. Nothing here is atomic: callers keep a journal.
public final class EditableFile: ByteSource {
    /// The path it was opened with.
    public let name: String
    private let input: InputFile
    private let output: OutputFile
    private var descriptor: Int32 { output.descriptor }

    /// Opens the file.
    ///
    /// - Throws: also where no one may write to it, which the system lets a privileged user do.
    public init(path: String) throws(IOError) {
        name = path
        input = try InputFile(path: path)
        output = try OutputFile(modifying: path)
        let status = try status()
        guard FileIdentity(status) == input.identity else {
            throw IOError(.changedWhileReading, path: path, operation: "open")
        }
        guard status.st_mode & 0o222 != 0 else {
            throw IOError(.system, path: path, operation: "open for writing", errno: EACCES)
        }
    }

    /// The size now, in bytes; where it cannot be known the one when it was opened.
    public var byteCount: UInt64 { (try? status()).map { UInt64($0.st_size) } ?? input.byteCount }

    /// The names that the file has; a change in place changes all of them.
    public var linkCount: Int { (try? status()).map { Int($0.st_nlink) } ?? 1 }

    /// The unit in which the file system moves bytes, in bytes.
    public var blockByteCount: UInt64 { (try? status()).map { UInt64($0.st_blksize) } ?? 4096 }

    /// What tells this version of the file from another.
    public var identity: FileIdentity { get throws(IOError) { FileIdentity(try status()) } }

    /// Locks the file against others that lock it, until the object goes away.
    ///
    /// Returns false where another holds the lock for half a second.
    ///
    /// A process that this one has just started holds its locks too, until it runs another program.
    public func lock() throws(IOError) -> Bool {
        for _ in 0..<50 {
            if flock(descriptor, LOCK_EX | LOCK_NB) == 0 { return true }
            guard errno == EWOULDBLOCK || errno == EINTR else { throw .system("lock", name) }
            usleep(10_000)
        }
        return false
    }

    /// Fills the buffer.
    public func read(at offset: UInt64, into buffer: inout MutableRawSpan) throws(IOError) {
        try input.read(at: offset, into: &buffer)
    }

    /// Writes all of `bytes` at `offset`.
    public func write(_ bytes: RawSpan, at offset: UInt64) throws(IOError) {
        try output.write(bytes, at: offset)
    }

    /// Brings the contents to stable storage.
    public func synchronize() throws(IOError) {
        try output.synchronize()
    }

    /// Moves the whole file up by `count` bytes without copying it; zeros stand before it then.
    ///
    /// - Parameter count: a multiple of ``blockByteCount``.
    /// - Returns: false, and no change, where the file system cannot.
    public func insertAtStart(byteCount count: UInt64) throws(IOError) -> Bool {
        let code = csystem_insert_range(descriptor, 0, count)
        if [EOPNOTSUPP, ENOSYS, EINVAL].contains(code) { return false }
        guard code == 0 else { throw IOError(.system, path: name, operation: "grow", errno: code) }
        return true
    }

    /// Undoes ``insertAtStart(byteCount:)``.
    public func removeFromStart(byteCount count: UInt64) throws(IOError) {
        let code = csystem_collapse_range(descriptor, 0, count)
        guard code == 0 else { throw IOError(.system, path: name, operation: "shrink", errno: code) }
    }

    /// Copies bytes to another file, in the quickest way that the file systems have: shared blocks, within the
    /// kernel, or through memory.
    ///
    /// - Parameters:
    ///   - range: the bytes.
    ///   - output: the file to write.
    ///   - offset: where they go.
    public func copy(_ range: Range<UInt64>, to output: OutputFile, at offset: UInt64) throws(IOError) {
        var range = range
        var offset = offset
        let lead = (blockByteCount - range.lowerBound % blockByteCount) % blockByteCount
        if range.upperBound == byteCount, lead < range.upperBound - range.lowerBound,
            (offset + lead) % blockByteCount == 0,
            csystem_clone_range(
                descriptor, range.lowerBound + lead, 0, output.descriptor, offset + lead) == 0
        {
            range = range.lowerBound..<range.lowerBound + lead
        }
        while !range.isEmpty {
            let count = csystem_copy_range(
                descriptor, range.lowerBound, UInt64(range.count), output.descriptor, offset)
            // What the kernel cannot copy is copied through memory.
            guard count > 0 else { return try copyThroughMemory(range, to: output, at: offset) }
            range = range.lowerBound + UInt64(count)..<range.upperBound
            offset += UInt64(count)
        }
    }

    private func copyThroughMemory(
        _ range: Range<UInt64>, to output: OutputFile, at offset: UInt64
    ) throws(IOError) {
        let buffer = PageBuffer(capacity: 1 << 20)
        var done: UInt64 = 0
        while done < UInt64(range.count) {
            let count = Int(min(UInt64(buffer.capacity), UInt64(range.count) - done))
            try buffer.withMutableBytes(count: count) { (bytes) throws(IOError) in
                try read(at: range.lowerBound + done, into: &bytes)
            }
            try buffer.withBytes(count: count) { (bytes) throws(IOError) in
                try output.write(bytes, at: offset + done)
            }
            done += UInt64(count)
        }
    }

    private func status() throws(IOError) -> stat {
        var status = stat()
        guard unsafe fstat(descriptor, &status) == 0 else { throw .system("examine", name) }
        return status
    }
}
