import Foundation
import TensorCore
import TestSupport
import Testing

@Suite("Files")
struct FileTests {
    let directory: TemporaryDirectory

    init() throws { directory = try TemporaryDirectory() }

    @Test func `reading past the end of a file is an error with the offset`() throws {
        let path = try directory.write("a", "hello")
        let file = try InputFile(path: path)
        #expect(try file.bytes(at: 1, count: 4) == Array("ello".utf8))
        let error = #expect(throws: IOError.self) { try file.bytes(at: 3, count: 4) }
        #expect(error?.code == .unexpectedEnd && error?.offset == 5)
    }

    @Test func `a directory, a FIFO and a device are refused without waiting`() throws {
        mkfifo(directory.file("fifo"), 0o600)
        for path in [directory.path, directory.file("fifo"), "/dev/zero"] {
            let error = #expect(throws: IOError.self) { try InputFile(path: path) }
            #expect(error?.code == .notRegularFile)
        }
    }

    @Test func `a file that changed since it was opened is noticed`() throws {
        let path = try directory.write("a", "hello")
        let file = try InputFile(path: path)
        try file.checkUnchanged()
        let handle = try #require(FileHandle(forWritingAtPath: path))
        try handle.truncate(atOffset: 2)
        try handle.close()
        #expect(throws: IOError.self) { try file.checkUnchanged() }
        #expect(throws: IOError.self) { try file.bytes(at: 0, count: 5) }
    }

    @Test func `creating a file that exists is an error and leaves it as it was`() throws {
        let path = try directory.write("a", "hello")
        #expect(throws: IOError.self) { try FileSystem.create(path, contents: [1]) }
        #expect(try bytes(of: path) == Array("hello".utf8))
    }

    @Test func `a mapping gives the file's bytes, and an empty file none`() throws {
        let file = try MappedFile(path: try directory.write("a", "hello"))
        #expect(file.bytes.array() == Array("hello".utf8))
        #expect(try MappedFile(path: try directory.write("b", "")).byteCount == 0)
    }

    @Test func `removing a tree does not follow links`() throws {
        try FileSystem.createDirectories(directory.file("tree/inner"))
        let kept = try directory.write("kept", "x")
        symlink(directory.path, directory.file("tree/link"))
        try FileSystem.removeTree(directory.file("tree"))
        #expect(try FileSystem.kind(of: directory.file("tree")) == nil)
        #expect(try bytes(of: kept) == [0x78])
    }

    @Test func `a lock is held once`() throws {
        let first = try #require(try FileSystem.Lock(directory: directory.path))
        #expect(try FileSystem.Lock(directory: directory.path) == nil)
        _ = first
    }
}
