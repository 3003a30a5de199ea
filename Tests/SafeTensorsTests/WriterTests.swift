import Glibc
import SafeTensors
import TensorCore
import Testing

@Suite struct WriterTests {
    private let directory: TemporaryDirectory
    private var path: String { directory.file("model.safetensors") }

    init() throws { directory = try TemporaryDirectory() }

    private func contents(of path: String) throws -> [UInt8] {
        try FileSystem.contents(of: path, limit: 1 << 20)
    }

    private func mode(of path: String) -> mode_t {
        var status = stat()
        lstat(path, &status)
        return status.st_mode & 0o7777
    }

    /// The code with which a layout is refused, or nil.
    private func refusal(
        _ tensors: [(name: TensorName, dtype: DType, shape: [UInt64])],
        _ metadata: [(key: String, value: String)] = []
    ) -> SafeTensorsError.Code? {
        do throws(SafeTensorsError) {
            _ = try SafeTensorsLayout(tensors: tensors, metadata: metadata)
            return nil
        } catch {
            return error.code
        }
    }

    private func write(_ values: [UInt8], to path: String) throws {
        let layout = try SafeTensorsLayout(tensors: [("a", .u8, [UInt64(values.count)])])
        try writeFile(path, layout) { _ in values }
    }

    @Test(arguments: GoldenFile.all)
    func `files are byte for byte those of the reference`(_ golden: GoldenFile) throws {
        for order in [golden.tensors, golden.tensors.reversed()] {
            let layout = try SafeTensorsLayout(tensors: order, metadata: golden.metadata)
            try writeFile(path, layout, chunk: 3) { golden.data[$0] ?? [] }
            #expect(try contents(of: path) == golden.bytes)
        }
        #expect(try directory.names == ["model.safetensors"])
    }

    @Test(arguments: GoldenFile.all)
    func `files of the reference are read back`(_ golden: GoldenFile) throws {
        try FileSystem.create(path, contents: golden.bytes)
        let file = try SafeTensorsFile(mapping: path)
        let reader = try SafeTensorsReader(opening: path)
        #expect(file.header.count == golden.tensors.count)
        #expect(file.header.metadata.map(\.key) == golden.metadata.map(\.key))
        #expect(file.header.metadata.map(\.value) == golden.metadata.map(\.value))
        for expected in golden.tensors {
            let view = try #require(file.tensor(named: expected.name))
            #expect(view.info.dtype == expected.dtype && view.info.shape == expected.shape)
            let bytes = view.bytes.array()
            #expect(bytes == golden.data[expected.name])
            #expect(try reader.bytes(of: view.info) == golden.data[expected.name])
        }
    }

    @Test func `several metadata keys always give the same bytes`() throws {
        let keys = ["z", "format", "é", "a", "A", "\u{10000}"]
        let expected = try SafeTensorsLayout(tensors: [], metadata: keys.map { ($0, "v") }).header
        for _ in 0..<8 {
            #expect(
                try SafeTensorsLayout(tensors: [], metadata: keys.shuffled().map { ($0, "v") }).header
                    == expected)
        }
        let header = try SafeTensorsHeader(
            parsing: Array(expected[8...]), fileByteCount: UInt64(expected.count))
        #expect(header.metadata.map(\.key) == ["A", "a", "format", "z", "é", "\u{10000}"])
    }

    @Test func `a tensor named __metadata__ is refused before a file is made`() {
        #expect(refusal([("__metadata__", .f32, [1])]) == .reservedName)
    }

    @Test func `names, keys and sizes that no file can hold are refused`() {
        #expect(refusal([("a", .f32, [1]), ("a", .u8, [1])]) == .duplicateName)
        #expect(refusal([], [("k", "1"), ("k", "2")]) == .duplicateName)
        #expect(refusal([(TensorName(utf8: [0xFF]), .u8, [1])]) == .nameNotUTF8)
        #expect(refusal([("a", .f32, [.max, 2])]) == .sizeOverflow)
        #expect(refusal([("a", .f32, [1 << 60])]) == .sizeOverflow)
        #expect(refusal([("a", .u8, [1 << 60, 8])]) == .sizeOverflow)
        #expect(refusal((0..<8).map { (TensorName("t\($0)"), .u8, [1 << 60]) }) == .sizeOverflow)
        #expect(refusal([("a", .f4, [3])]) == .subByteMisaligned)
        #expect(refusal([("é", .u8, [1]), ("e\u{301}", .u8, [1])]) == nil)
    }

    @Test func `a header over the limit is refused`() {
        let count = SafeTensorsHeader.maximumHeaderByteCount + 1
        let name = TensorName(utf8: Array(repeating: UInt8(ascii: "n"), count: count))
        #expect(refusal([(name, .u8, [0])]) == .headerTooLarge)
    }

    @Test func `a new file follows the umask and a replaced one keeps its mode`() throws {
        try write([1], to: path)
        let mask = umask(0)
        umask(mask)
        #expect(mode(of: path) == 0o666 & ~mask)
        chmod(path, 0o664)
        try write([2], to: path)
        #expect(mode(of: path) == 0o664)
    }

    @Test func `a symbolic link stays and its target is replaced`() throws {
        let target = directory.file("target.safetensors")
        try write([1], to: target)
        symlink("target.safetensors", path)
        try write([2], to: path)
        #expect(try FileSystem.kind(of: path, followingLinks: false) == .symbolicLink)
        #expect(try contents(of: target).last == 2)
    }

    @Test func `a file can be saved over the one that it is read from`() throws {
        try write(Array(1...200), to: path)
        let source = try SafeTensorsFile(mapping: path)
        let view = try #require(source.tensor(named: "a"))
        try writeFile(path, try SafeTensorsLayout(tensors: [("b", .u8, [200])])) { _ in view.bytes.array() }
        let old = view.bytes.array()
        let saved = try #require(try SafeTensorsFile(mapping: path).tensor(named: "b"))
        let new = saved.bytes.array()
        #expect(old == Array(1...200))
        #expect(new == Array(1...200))
    }

    @Test func `wrong byte counts are refused and leave nothing`() throws {
        let layout = try SafeTensorsLayout(tensors: [("a", .u8, [4]), ("b", .u8, [2])])
        let bytes: [UInt8] = [1, 2, 3, 4, 5]
        func attempt(_ body: (inout SafeTensorsWriter) throws(SafeTensorsError) -> Void) -> SafeTensorsError
            .Code?
        {
            do throws(SafeTensorsError) {
                var writer = try SafeTensorsWriter(replacing: path, layout: layout)
                try body(&writer)
                try writer.commit()
                return nil
            } catch {
                return error.code
            }
        }
        #expect(attempt { _ in } == .wrongByteCount)
        #expect(
            attempt { (w) throws(SafeTensorsError) in try w.append(bytes.span.bytesView, to: "a") }
                == .wrongByteCount)
        #expect(
            attempt { (w) throws(SafeTensorsError) in try w.append([UInt8(1)].span.bytesView, to: "b") }
                == .wrongByteCount)
        #expect(
            attempt { (w) throws(SafeTensorsError) in try w.append([UInt8(1)].span.bytesView, to: "c") }
                == .wrongByteCount)
        #expect(try directory.names.isEmpty)
    }

    @Test func `what a killed writer left is removed by the next`() throws {
        try FileSystem.create(directory.file(".model.safetensors.1234abcd.partial"), contents: [1])
        try FileSystem.create(directory.file(".other.safetensors.1234abcd.partial"), contents: [1])
        try write([1], to: path)
        #expect(try directory.names == [".other.safetensors.1234abcd.partial", "model.safetensors"])
    }

    @Test func `two writers to one destination do not disturb each other`() throws {
        let layout = try SafeTensorsLayout(tensors: [("a", .u8, [1])])
        var first = try SafeTensorsWriter(replacing: path, layout: layout)
        var second = try SafeTensorsWriter(replacing: path, layout: layout)
        try first.append([UInt8(1)].span.bytesView, to: "a")
        try second.append([UInt8(2)].span.bytesView, to: "a")
        try second.commit()
        try first.commit()
        #expect(try contents(of: path).last == 1)
        #expect(try directory.names == ["model.safetensors"])
    }

    @Test func `a destination that cannot be written gives a typed error`() throws {
        let layout = try SafeTensorsLayout(tensors: [])
        for bad in [directory.file("missing/m.safetensors"), directory.path, "/dev/null"] {
            let error = #expect(throws: SafeTensorsError.self) {
                let writer = try SafeTensorsWriter(replacing: bad, layout: layout)
                try writer.commit()
            }
            #expect(error?.code == .io && error?.io != nil)
        }
    }

    @Test func `a file larger than the limit of the process gives a typed error and leaves nothing`()
        async throws
    {
        await #expect(processExitsWith: .success) {
            let directory = try TemporaryDirectory()
            signal(SIGXFSZ, SIG_IGN)
            var limit = rlimit(rlim_cur: 4096, rlim_max: 4096)
            setrlimit(__rlimit_resource_t(1), &limit)
            let layout = try SafeTensorsLayout(tensors: [("a", .u8, [8192])])
            let error = #expect(throws: SafeTensorsError.self) {
                try SafeTensorsWriter(replacing: directory.file("m.safetensors"), layout: layout).commit()
            }
            guard error?.io?.errno == EFBIG, try directory.names.isEmpty else { exit(2) }
        }
    }
}
