import Archives
import TensorCore
import Testing

@Suite struct DecompressedSourceTests {
    static let kinds: [Compression] = [.deflate, .gzip, .zlib, .zstd]
    static let plain = Compressing.sample(3_000_000)

    static func source(
        _ stream: [UInt8], _ compression: Compression, count: Int, crc32: UInt32? = nil
    ) -> DecompressedSource {
        // Between other bytes, so that the range counts.
        let file = [1, 2, 3] + stream + [4, 5]
        return DecompressedSource(
            name: "stream", of: MemorySource(name: "file", contents: file),
            range: 3..<UInt64(3 + stream.count), compression: compression, byteCount: UInt64(count),
            crc32: crc32)
    }

    static func code(_ source: DecompressedSource) -> IOError.Code? {
        do throws(IOError) {
            _ = try source.bytes(at: 0, count: Int(source.byteCount))
            return nil
        } catch { return error.code }
    }

    @Test(arguments: kinds)
    func `a stream is read from start to end and anywhere`(compression: Compression) throws {
        let source = Self.source(
            Compressing.stream(Self.plain, compression), compression, count: Self.plain.count)
        #expect(try source.bytes(at: 0, count: Self.plain.count) == Self.plain)
        var random = SystemRandomNumberGenerator()
        for _ in 0..<30 {
            let start = Int.random(in: 0..<Self.plain.count, using: &random)
            let count = Int.random(in: 0...min(200_000, Self.plain.count - start), using: &random)
            let bytes = try source.bytes(at: UInt64(start), count: count)
            #expect(bytes.elementsEqual(Self.plain[start..<start + count]))
        }
    }

    @Test func `members of gzip and frames of zstd that follow each other are one stream`() throws {
        for compression in [Compression.gzip, .zstd] {
            let parts = [Array(Self.plain[..<10]), [], Array(Self.plain[10..<2_000_000])]
            let stream = parts.flatMap { Compressing.stream($0, compression) }
            let source = Self.source(stream, compression, count: 2_000_000)
            #expect(try source.bytes(at: 0, count: 2_000_000).elementsEqual(Self.plain[..<2_000_000]))
        }
    }

    @Test(arguments: kinds)
    func `a stream that holds more or less than it is said to is damaged`(compression: Compression) {
        let stream = Compressing.stream(Array(Self.plain[..<5000]), compression)
        #expect(Self.code(Self.source(stream, compression, count: 5000)) == nil)
        #expect(Self.code(Self.source(stream, compression, count: 4999)) == .damaged)
        #expect(Self.code(Self.source(stream, compression, count: 5001)) == .damaged)
        #expect(Self.code(Self.source(stream + [0], compression, count: 5000)) == .damaged)
        #expect(Self.code(Self.source(Array(stream.dropLast()), compression, count: 5000)) == .damaged)
        #expect(Self.code(Self.source([], compression, count: 1)) == .damaged)
    }

    @Test(arguments: kinds)
    func `changed bytes give an error or bytes, never a trap`(compression: Compression) {
        let plain = Array(Self.plain[..<2000])
        var stream = Compressing.stream(plain, compression)
        for index in stream.indices {
            stream[index] ^= 0x55
            _ = Self.code(Self.source(stream, compression, count: plain.count))
            stream[index] ^= 0x55
        }
    }

    @Test func `the CRC-32 is checked by the read that reaches the end, and again by the next one`() throws {
        let plain = Array(Self.plain[..<1_500_000])
        let stream = Compressing.stream(plain, .deflate)
        let right = Archives.crc32(plain.span.bytesView)
        #expect(Self.code(Self.source(stream, .deflate, count: plain.count, crc32: right)) == nil)
        let source = Self.source(stream, .deflate, count: plain.count, crc32: right ^ 1)
        #expect(try source.bytes(at: 0, count: 1000).elementsEqual(plain[..<1000]))
        for _ in 0..<2 {
            let error = try #require(throws: IOError.self) {
                try source.bytes(at: UInt64(plain.count - 1), count: 1)
            }
            #expect(error.code == .damaged && error.detail.contains("CRC-32"))
        }
    }

    @Test func `reads beyond the end are refused`() throws {
        let source = Self.source(Compressing.stream([1, 2, 3], .zlib), .zlib, count: 3)
        for (offset, count) in [(4, 0), (3, 1), (0, 4)] {
            let error = try #require(throws: IOError.self) {
                try source.bytes(at: UInt64(offset), count: count)
            }
            #expect(error.code == .unexpectedEnd)
        }
        #expect(try source.bytes(at: 3, count: 0).isEmpty)
    }

    @Test func `several threads get the same bytes`() async throws {
        let source = Self.source(
            Compressing.stream(Self.plain, .zstd), .zstd, count: Self.plain.count)
        try await withThrowingTaskGroup(of: Bool.self) { group in
            for worker in 0..<4 {
                group.addTask {
                    for step in 0..<12 {
                        let start = (step * 4 + worker) * 60_000
                        let bytes = try source.bytes(at: UInt64(start), count: 60_000)
                        guard bytes.elementsEqual(Self.plain[start..<start + 60_000]) else { return false }
                    }
                    return true
                }
            }
            for try await isRight in group { #expect(isRight) }
        }
    }

    @Test func `many streams read in turns keep their bytes right`() throws {
        let sources = (0..<9).map { number in
            let part = Array(Self.plain[number * 1000..<number * 1000 + 300_000])
            return Self.source(Compressing.stream(part, .deflate), .deflate, count: part.count)
        }
        for step in 0..<3 {
            for (number, source) in sources.enumerated() {
                let bytes = try source.bytes(at: UInt64(step * 100_000), count: 100_000)
                let start = number * 1000 + step * 100_000
                #expect(bytes.elementsEqual(Self.plain[start..<start + 100_000]))
            }
        }
    }

    @Test(arguments: kinds)
    func `contents and size of unknown length are found within a limit`(compression: Compression) throws {
        let plain = Array(Self.plain[..<2_500_000])
        let stream = Compressing.stream(plain, compression)
        let file = MemorySource(name: "file", contents: stream)
        let range = 0..<UInt64(stream.count)
        #expect(
            try DecompressedSource.contents(
                of: file, range: range, compression: compression, limit: 2_500_000) == plain)
        #expect(
            try DecompressedSource.contents(
                of: file, range: range, compression: compression, limit: 1_000_000) == nil)
        #expect(
            try DecompressedSource.size(
                of: file, range: range, compression: compression, limit: 2_500_000) == 2_500_000)
        #expect(
            try DecompressedSource.size(
                of: file, range: range, compression: compression, limit: 1_000_000) == nil)
    }
}
