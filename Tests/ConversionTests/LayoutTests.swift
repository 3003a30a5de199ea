import Checkpoints
import TensorCore
import TestSupport
import Testing

@testable import Conversion

@Suite("Sizes and shards")
struct LayoutTests {
    @Test(
        arguments: [
            ("5GB", 5_000_000_000), ("5GiB", 5_368_709_120), ("1.5kb", 1500), ("100", 100),
            ("2 MB", 2_000_000),
            ("0.000001TB", 1_000_000), ("9000000TB", 9_000_000_000_000_000_000),
        ] as [(String, UInt64)])
    func `a size is read in decimal and binary units`(text: String, value: UInt64) {
        #expect(ByteSize.parse(text) == value)
    }

    @Test(arguments: [
        "", "GB", "-1GB", "5G", "5 GX", "1.2.3GB", "1e9", "0", "99999999999TB", "5GBs", "٣GB", "1.GB",
    ])
    func `a size that is none is refused`(text: String) { #expect(ByteSize.parse(text) == nil) }

    @Test(
        arguments: [
            (0, "0 B"), (999, "999 B"), (1000, "1.00 kB"), (999_999, "999 kB"), (2_147_483_648, "2.14 GB"),
            (12_340_000, "12.3 MB"), (.max, "18.4 EB"),
        ] as [(UInt64, String)])
    func `a size is shown with three digits`(value: UInt64, text: String) {
        #expect(ByteSize.describe(value) == text)
    }

    @Test(arguments: [1, 3, 64, 1000])
    func `the bytes of a file that does not exist yet can be read in any pieces`(step: Int) throws {
        var generator = SeededGenerator(seed: 5)
        let header = generator.bytes(40)
        var whole = header
        var tensors: [(offset: UInt64, source: TensorSource)] = []
        for size in [0, 5, 1, 300, 0, 64] {
            let contents = generator.bytes(size)
            let source = MemorySource(name: "t", contents: [9] + contents)
            tensors.append(
                (UInt64(whole.count), .extent(Extent(source: source, offset: 1, byteCount: UInt64(size)))))
            whole += contents
        }
        let content = ShardContent(name: "f", frames: [.init(offset: 0, bytes: header)], tensors: tensors)
        #expect(content.byteCount == UInt64(whole.count))
        var result: [UInt8] = []
        while result.count < whole.count {
            let count = min(step, whole.count - result.count)
            result += try content.bytes(at: UInt64(result.count), count: count)
        }
        #expect(result == whole)
        #expect(throws: IOError.self) { try content.bytes(at: content.byteCount, count: 1) }
    }
}
