internal import CSystem
internal import Glibc

/// A regular file read past the page cache (`O_DIRECT`), for jobs that read each byte once and must not push
/// out what other programs keep there.
///
/// Any offset, length and address will do: what is not aligned goes through a buffer. Where the file system
/// refuses a direct read after all, the page cache serves it.
public final class DirectFile: ByteSource {
    private static let bufferByteCount = 4 << 20

    /// The file as the page cache has it.
    public let file: InputFile
    /// Bytes that direct reads begin and end at multiples of.
    public let alignment: Int
    private let descriptor: Int32

    /// The path it was opened with.
    public var name: String { file.name }
    /// The size when it was opened, in bytes.
    public var byteCount: UInt64 { file.byteCount }

    /// Opens the file for direct reads, or gives nil where its file system has none.
    ///
    /// - Parameter file: the open file; must still be what its path leads to.
    /// - Throws: ``IOError/Code/changedWhileReading`` where the path leads to another file by now.
    public init?(_ file: InputFile) throws(IOError) {
        let fd = unsafe csystem_open_direct(file.name)
        guard fd >= 0 else { return nil }
        var status = stat()
        guard unsafe fstat(fd, &status) == 0, FileIdentity(status) == file.identity else {
            close(fd)
            throw IOError(.changedWhileReading, path: file.name, operation: "open")
        }
        let alignment = Int(csystem_direct_alignment(fd))
        // Buffers of ours begin at multiples of 4096.
        guard alignment > 0, alignment <= 4096 else {
            close(fd)
            return nil
        }
        self.file = file
        self.alignment = alignment
        descriptor = fd
    }

    deinit { close(descriptor) }

    /// Fills the buffer with the bytes that start at `offset`.
    ///
    /// - Parameters:
    ///   - offset: any byte of the file.
    ///   - buffer: memory at any address.
    /// - Throws: ``IOError/Code/unexpectedEnd`` where the file ends before, ``IOError/Code/system``.
    public func read(at offset: UInt64, into buffer: inout MutableRawSpan) throws(IOError) {
        let total = buffer.byteCount
        guard total > 0 else { return }
        guard offset <= byteCount, UInt64(total) <= byteCount - offset else {
            throw IOError(.unexpectedEnd, path: name, operation: "read", offset: offset)
        }
        let bounce = PageBuffer(capacity: min(Self.bufferByteCount, total + 2 * alignment) + alignment)
        var done = 0
        while done < total {
            let at = Int(offset) + done
            var rest = buffer._mutatingExtracting(done..<total)
            let count =
                at % alignment == 0 && isAligned(&rest) && total - done >= alignment
                ? readAligned(at, into: &rest) : readThrough(bounce, at, into: &rest)
            if count < 0 {
                if errno == EINTR { continue }
                guard errno == EINVAL else { throw .system("read", name, offset: UInt64(at)) }
                return try file.read(at: UInt64(at), into: &rest)
            }
            guard count > 0 else {
                throw IOError(.unexpectedEnd, path: name, operation: "read", offset: UInt64(at))
            }
            done += count
        }
    }

    private func isAligned(_ buffer: inout MutableRawSpan) -> Bool {
        unsafe buffer.withUnsafeMutableBytes { Int(bitPattern: $0.baseAddress) % alignment == 0 }
    }

    /// Reads whole blocks to their place; gives the bytes read or -1.
    private func readAligned(_ offset: Int, into buffer: inout MutableRawSpan) -> Int {
        let count = buffer.byteCount / alignment * alignment
        // Sound: the address is that of at least `count` bytes.
        return unsafe buffer.withUnsafeMutableBytes { bytes in
            unsafe pread(descriptor, bytes.baseAddress, count, off_t(offset))
        }
    }

    /// Reads the blocks around the bytes and copies them; gives the bytes copied, or -1.
    private func readThrough(_ bounce: PageBuffer, _ offset: Int, into buffer: inout MutableRawSpan) -> Int {
        let start = offset / alignment * alignment
        let skipped = offset - start
        let wanted = min(bounce.capacity, skipped + buffer.byteCount)
        let room = min(bounce.capacity / alignment, (wanted + alignment - 1) / alignment) * alignment
        let count = bounce.withMutableBytes(count: room) { bytes in
            unsafe bytes.withUnsafeMutableBytes { bytes in
                unsafe pread(descriptor, bytes.baseAddress, room, off_t(start))
            }
        }
        guard count > skipped else { return min(count, 0) }
        let used = min(count - skipped, buffer.byteCount)
        bounce.withBytes(count: count) { bytes in
            copyBytes(from: bytes, at: skipped, to: &buffer, at: 0, count: used)
        }
        return used
    }
}

/// What a file is opened for.
public enum ReadingPattern: Sendable {
    /// Parts here and there, or the same bytes more than once: through the page cache.
    case random
    /// Each byte once: past the page cache where the file system can, so that other programs keep theirs.
    case once
}

extension FileSystem {
    /// Files smaller than this, in bytes, are read through the page cache in any case.
    public static let directByteCount: UInt64 = 16 << 20

    /// The file at `path` as a source that suits its file system: `pread` through the page cache, or direct
    /// reads on ext4, xfs, btrfs and f2fs for large files that are read once.
    ///
    /// Neither maps memory: a file that shrinks, or a server that fails, gives an error and never a signal.
    ///
    /// - Parameters:
    ///   - path: a regular file.
    ///   - pattern: what it is opened for.
    /// - Throws: the errors of ``InputFile/init(path:)``.
    public static func source(
        opening path: String, for pattern: ReadingPattern = .random
    ) throws(IOError) -> any ByteSource {
        let file = try InputFile(path: path)
        guard pattern == .once, file.byteCount >= directByteCount, file.fileSystem.readsDirectly else {
            return file
        }
        return try DirectFile(file) ?? file
    }
}
