import Glibc
import SafeTensors
import TensorCore
import Testing

@Suite struct RandomAccessWriterTests {
    private let directory: TemporaryDirectory
    private var path: String { directory.file("model.safetensors") }
    private let layout: SafeTensorsLayout

    init() throws {
        directory = try TemporaryDirectory()
        layout = try SafeTensorsLayout(
            tensors: [("a", .u8, [10]), ("b", .f32, [4]), ("empty", .f32, [0]), ("c", .u8, [1])])
    }

    private func writer() throws(SafeTensorsError) -> SafeTensorsRandomAccessWriter {
        try SafeTensorsRandomAccessWriter(replacing: path, layout: layout)
    }

    private func bytes(_ count: Int) -> [UInt8] { Array(repeating: 7, count: count) }

    /// The error of a call.
    private func error(_ body: () throws(SafeTensorsError) -> Void) -> SafeTensorsError? {
        do throws(SafeTensorsError) {
            try body()
            return nil
        } catch {
            return error
        }
    }

    private func fill(_ writer: SafeTensorsRandomAccessWriter) throws {
        for tensor in layout.tensors.reversed() {
            try writer.write(bytes(Int(tensor.byteCount)).span.bytesView, to: tensor.name)
        }
    }

    @Test(arguments: 0..<20 as Range<UInt64>)
    func `pieces in any order from several threads give the file of the streaming writer`(_ seed: UInt64)
        throws
    {
        var random = SeededGenerator(seed: seed)
        let tensors = (0..<Int.random(in: 1...12, using: &random)).map { number in
            (
                name: TensorName("t\(number)"), dtype: DType.u8,
                shape: [UInt64.random(in: 0...3000, using: &random)]
            )
        }
        let layout = try SafeTensorsLayout(tensors: tensors)
        var contents: [TensorName: [UInt8]] = [:]
        var pieces: [(name: TensorName, range: Range<Int>)] = []
        for tensor in layout.tensors {
            contents[tensor.name] = (0..<Int(tensor.byteCount)).map { _ in
                .random(in: 0...255, using: &random)
            }
            var start = 0
            while start < Int(tensor.byteCount) {
                let end = min(Int(tensor.byteCount), start + Int.random(in: 1...700, using: &random))
                pieces.append((tensor.name, start..<end))
                start = end
            }
        }
        pieces.shuffle(using: &random)
        let streamed = directory.file("streamed.safetensors")
        try writeFile(streamed, layout) { contents[$0] ?? [] }

        let writer = try SafeTensorsRandomAccessWriter(replacing: path, layout: layout)
        let (all, work) = (contents, pieces)
        let failures = Monitor(0)
        Workers.run(count: 4) { thread in
            for number in stride(from: thread, to: work.count, by: 4) {
                let piece = Array(all[work[number].name]?[work[number].range] ?? [])
                do {
                    try writer.write(
                        piece.span.bytesView, to: work[number].name, at: UInt64(work[number].range.lowerBound)
                    )
                } catch {
                    failures.withLock { $0 += 1 }
                }
            }
        }
        try writer.commit()
        #expect(failures.withLock { $0 } == 0)
        #expect(
            try FileSystem.contents(of: path, limit: 1 << 20)
                == FileSystem.contents(of: streamed, limit: 1 << 20))
        #expect(try directory.names.count == 2)
    }

    @Test(arguments: [(0, 1), (3, 1), (4, 2), (0, 10), (5, 5), (2, 6)])
    func `a byte that is written twice is refused with its tensor and its range`(start: Int, count: Int)
        throws
    {
        let writer = try writer()
        try writer.write(bytes(4).span.bytesView, to: "a", at: 0)
        try writer.write(bytes(4).span.bytesView, to: "a", at: 5)
        let refusal = error { () throws(SafeTensorsError) in
            try writer.write(bytes(count).span.bytesView, to: "a", at: UInt64(start))
        }
        #expect(refusal?.code == .writtenTwice && refusal?.tensor == "a")
        #expect(refusal?.message.contains("\(start) to \(start + count)") == true)
    }

    @Test func `a commit with holes names the tensor and the bytes, and can be made good`() throws {
        let writer = try writer()
        try writer.write(bytes(16).span.bytesView, to: "b")
        try writer.write(bytes(1).span.bytesView, to: "c")
        try writer.write(bytes(3).span.bytesView, to: "a", at: 0)
        try writer.write(bytes(2).span.bytesView, to: "a", at: 8)
        let hole = error { () throws(SafeTensorsError) in try writer.commit() }
        #expect(hole?.code == .wrongByteCount && hole?.tensor == "a")
        #expect(hole?.message == "bytes 3 to 8 are missing")
        #expect(try directory.names.allSatisfy { $0.hasSuffix(".partial") })
        try writer.write(bytes(5).span.bytesView, to: "a", at: 3)
        try writer.commit()
        #expect(try SafeTensorsReader(opening: path).header.count == 4)
    }

    @Test func `bytes outside a tensor, unknown tensors and late bytes are refused`() throws {
        let writer = try writer()
        for (name, count, offset) in [
            ("a", 11, 0), ("a", 1, 10), ("a", 1, UInt64.max), ("d", 1, 0), ("empty", 1, 0),
        ]
            as [(TensorName, Int, UInt64)]
        {
            let refusal = error { () throws(SafeTensorsError) in
                try writer.write(bytes(count).span.bytesView, to: name, at: offset)
            }
            #expect(refusal?.code == .wrongByteCount && refusal?.tensor == name)
        }
        try fill(writer)
        try writer.write([UInt8]().span.bytesView, to: "empty")
        try writer.commit()
        for late in [
            error { () throws(SafeTensorsError) in try writer.write(bytes(1).span.bytesView, to: "a") },
            error { () throws(SafeTensorsError) in try writer.commit() },
        ] {
            #expect(late?.code == .wrongByteCount)
        }
    }

    @Test func `a writer that is dropped leaves nothing, and what stood there stays`() throws {
        try FileSystem.create(path, contents: [1])
        do {
            let writer = try writer()
            try writer.write(bytes(10).span.bytesView, to: "a")
            #expect(try directory.names.count == 2)
        }
        #expect(try directory.names == ["model.safetensors"])
        #expect(try FileSystem.contents(of: path, limit: 9) == [1])
    }

    @Test func `a replaced file keeps its mode and a link keeps leading to it`() throws {
        try fill(try writer())
        let target = directory.file("target.safetensors")
        try FileSystem.create(target, contents: [1])
        chmod(target, 0o640)
        symlink("target.safetensors", path)
        let writer = try writer()
        try fill(writer)
        try writer.commit()
        var status = stat()
        stat(target, &status)
        #expect(status.st_mode & 0o7777 == 0o640)
        #expect(try FileSystem.kind(of: path, followingLinks: false) == .symbolicLink)
    }

    @Test func `a file can be written over the one whose mapping feeds it`() throws {
        let first = try writer()
        try fill(first)
        try first.commit()
        let source = try SafeTensorsFile(mapping: path)
        let second = try writer()
        for tensor in layout.tensors {
            let view = try #require(source.tensor(named: tensor.name))
            try second.write(view.bytes, to: tensor.name)
        }
        try second.commit()
        let saved = try SafeTensorsReader(opening: path)
        #expect(try saved.bytes(of: try #require(saved.header["a"])) == bytes(10))
    }
}
