import Glibc
import TensorCore
import TestSupport
import Testing

@Suite struct DirectFileTests {
    /// A file of some size below the repository, on whatever file system that is.
    private func makeFile(_ count: Int, in directory: TemporaryDirectory) throws -> (String, [UInt8]) {
        var generator = SeededGenerator(seed: UInt64(count))
        let contents = generator.bytes(count)
        return (try directory.write("data", contents), contents)
    }

    @Test(arguments: [1, 511, 4096, 10_000, (5 << 20) + 77])
    func `direct reads at any offset and length give the file's bytes`(_ count: Int) throws {
        let directory = try TemporaryDirectory()
        let (path, contents) = try makeFile(count, in: directory)
        let file = try InputFile(path: path)
        // On a file system without direct reads there is nothing to test.
        guard let direct = try DirectFile(file) else { return #expect(!file.fileSystem.readsDirectly) }
        var generator = SeededGenerator(seed: 1)
        var places = [0..<count, count - 1..<count, 0..<min(count, 4096), count..<count]
        for _ in 0..<40 {
            let start = Int.random(in: 0..<count, using: &generator)
            places.append(start..<Int.random(in: start...min(count, start + 20_000), using: &generator))
        }
        for place in places {
            #expect(
                try direct.bytes(at: UInt64(place.lowerBound), count: place.count) == Array(contents[place]))
        }
        let end = #expect(throws: IOError.self) { try direct.bytes(at: UInt64(count), count: 1) }
        #expect(end?.code == .unexpectedEnd)
    }

    @Test func `aligned memory is read into without a copy and unaligned memory with one`() throws {
        let directory = try TemporaryDirectory()
        let (path, contents) = try makeFile(100_000, in: directory)
        guard let direct = try DirectFile(InputFile(path: path)) else { return }
        let buffer = PageBuffer(capacity: 65_536)
        try buffer.withMutableBytes(count: 65_536) { (bytes) throws(IOError) in
            try direct.read(at: 8192, into: &bytes)
        }
        #expect(buffer.withBytes(count: 65_536) { $0.array() } == Array(contents[8192..<8192 + 65_536]))
        try buffer.withMutableBytes(count: 65_536) { (bytes) throws(IOError) in
            var part = bytes._mutatingExtracting(3..<60_000)
            try direct.read(at: 4096, into: &part)
        }
        #expect(buffer.withBytes(count: 60_000) { $0.array() }[3...] == contents[4096..<4096 + 59_997])
    }

    @Test func `a file that shrinks while it is read directly gives an error`() throws {
        let directory = try TemporaryDirectory()
        let (path, _) = try makeFile(100_000, in: directory)
        guard let direct = try DirectFile(InputFile(path: path)) else { return }
        truncate(path, 10_000)
        let error = #expect(throws: IOError.self) { try direct.bytes(at: 0, count: 100_000) }
        #expect(error?.code == .unexpectedEnd)
    }

    @Test func `a path that leads to another file by now is not read`() throws {
        let directory = try TemporaryDirectory()
        let (path, _) = try makeFile(10_000, in: directory)
        let file = try InputFile(path: path)
        guard try DirectFile(file) != nil else { return }
        rename(try directory.write("other", [1, 2, 3]), path)
        let error = #expect(throws: IOError.self) { try DirectFile(file) }
        #expect(error?.code == .changedWhileReading)
    }

    @Test func `only large files that are read once on a disk's file system are read directly`() throws {
        let directory = try TemporaryDirectory()
        let (small, _) = try makeFile(1000, in: directory)
        #expect(try FileSystem.source(opening: small, for: .once) is InputFile)
        let large = directory.file("large")
        try FileSystem.create(large, contents: [])
        truncate(large, off_t(FileSystem.directByteCount))
        #expect(try FileSystem.source(opening: large) is InputFile)
        let source = try FileSystem.source(opening: large, for: .once)
        let type = try InputFile(path: large).fileSystem
        #expect(source is DirectFile == type.readsDirectly)
        #expect(try source.bytes(at: 5, count: 10) == [UInt8](repeating: 0, count: 10))
    }

    @Test func `file systems are known by their numbers`() throws {
        #expect(FileSystemType(magic: 0xEF53).name == "ext4" && FileSystemType(magic: 0xEF53).readsDirectly)
        for (magic, name) in [(0x6969, "nfs"), (0x6573_5546, "fuse"), (0xFFFF_FFFF_FF53_4D42, "cifs")]
            as [(UInt64, String)]
        {
            let type = FileSystemType(magic: magic)
            #expect(type.name == name && type.isRemote && !type.readsDirectly)
        }
        #expect(FileSystemType(magic: 0x0102_1994).name == "tmpfs")
        #expect(FileSystemType(magic: 0x1234).name == "0x1234")
    }
}
