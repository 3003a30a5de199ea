import Archives
import TensorCore
import Testing

@Suite struct DecompressionEndTests {
    /// A zstd frame of a single stored block.
    static func frame(_ text: String) -> [UInt8] {
        let count = UInt8(text.utf8.count)
        return [0x28, 0xB5, 0x2F, 0xFD, 0x20, count, count << 3 | 1, 0, 0] + Array(text.utf8)
    }

    static func contents(_ bytes: [UInt8]) throws(IOError) -> [UInt8]? {
        let source = MemorySource(name: "memory", contents: bytes)
        return try DecompressedSource.contents(
            of: source, range: 0..<source.byteCount, compression: .zstd, limit: 100)
    }

    @Test func `a zstd stream ends where its last frame ends`() throws {
        #expect(try Self.contents(Self.frame("hello")) == Array("hello".utf8))
        #expect(try Self.contents(Self.frame("hello ") + Self.frame("world")) == Array("hello world".utf8))
    }

    @Test(arguments: 1...13)
    func `a zstd stream that ends within a frame is damaged`(count: Int) {
        #expect(throws: IOError.self) { try Self.contents(Array(Self.frame("hello").prefix(count))) }
    }

    @Test func `a window of any size gives the same bytes`() throws {
        let bytes = Self.frame("0123456789")
        let source = DecompressedSource(
            name: "stream", of: MemorySource(name: "memory", contents: bytes), range: 0..<UInt64(bytes.count),
            compression: .zstd, byteCount: 10, window: 1)
        #expect(try source.bytes(at: 6, count: 4) == Array("6789".utf8))
        #expect(try source.bytes(at: 0, count: 4) == Array("0123".utf8))
    }
}
