import Glibc
import SafeTensors
import TensorCore
import Testing

/// A remote object: counts the reads of its bytes, takes its time, and breaks off where it is told to.
private final class RangedSource: ByteSource {
    let name: String
    let contents: [UInt8]
    let log: Monitor<[Range<UInt64>]>
    /// Reads that reach beyond this byte fail.
    let end: UInt64
    let latency: UInt32

    var byteCount: UInt64 { UInt64(contents.count) }
    var reads: [Range<UInt64>] { log.withLock { $0 } }

    init(_ name: String, _ contents: [UInt8], end: UInt64 = .max, latency: UInt32 = 0) {
        self.name = name
        self.contents = contents
        self.end = end
        self.latency = latency
        log = Monitor([])
    }

    func read(at offset: UInt64, into buffer: inout MutableRawSpan) throws(IOError) {
        let range = offset..<offset + UInt64(buffer.byteCount)
        log.withLock { $0.append(range) }
        usleep(latency)
        guard range.upperBound <= end else {
            throw IOError(.unexpectedEnd, path: name, operation: "read", offset: end)
        }
        try MemorySource(name: name, contents: contents).read(at: offset, into: &buffer)
    }
}

/// Shards `s0`, `s1`, … of a model, each with two tensors of its number, and their index.
private struct RemoteModel: Sendable {
    var shards: [String: RangedSource] = [:]
    var index: RangedSource

    init(
        shardCount: Int, padding: Int = 0, cutShard: Int? = nil, latency: UInt32 = 0, missing: Bool = false
    ) throws {
        var entries: [ShardIndex.Entry] = []
        for number in 0..<shardCount {
            let file = "s\(number).safetensors"
            let layout = try SafeTensorsLayout(
                tensors: [(TensorName("a\(number)"), .u16, [4, 3]), (TensorName("b\(number)"), .u8, [2])],
                metadata: [("x", String(repeating: " ", count: padding))])
            let data = (0..<26).map { UInt8(truncatingIfNeeded: $0 + number) }
            shards[file] = RangedSource(
                file, layout.header + data, end: number == cutShard ? 40 : .max, latency: latency)
            for tensor in layout.tensors {
                entries.append(ShardIndex.Entry(tensor: tensor.name, file: file))
            }
        }
        if missing { entries.append(ShardIndex.Entry(tensor: "gone", file: "s0.safetensors")) }
        index = RangedSource("index", ShardIndex(entries: entries, totalSize: 0).serialized())
    }

    func open(firstRead: Int = ShardedModel.firstReadByteCount, jobs: Int = 1) throws(SafeTensorsError)
        -> ShardedModel
    {
        let shards = shards
        return try ShardedModel(index: index, firstReadByteCount: firstRead, jobs: jobs) {
            (file) throws(IOError) in
            guard let shard = shards[file] else {
                throw IOError(.system, path: file, operation: "open", errno: ENOENT)
            }
            return shard
        }
    }

    var readCount: Int { shards.values.reduce(index.reads.count) { $0 + $1.reads.count } }
}

@Suite struct RangedReadingTests {
    @Test func `a model of N shards opens in N + 1 reads and a tensor takes one`() throws {
        let remote = try RemoteModel(shardCount: 7)
        let model = try remote.open()
        #expect(remote.readCount == 8)
        #expect(model.shards.map(\.file) == (0..<7).map { "s\($0).safetensors" })
        #expect(try model.bytes(of: "b3") == [UInt8(24 + 3), 25 + 3])
        #expect(remote.readCount == 9)
        let found = try #require(model.tensor(named: "a6"))
        #expect(found.shard.file == "s6.safetensors" && found.info.shape == [4, 3])
        #expect(remote.readCount == 9)
    }

    @Test func `a header longer than the first read takes one more, for the rest only`() throws {
        let remote = try RemoteModel(shardCount: 3, padding: 5000)
        _ = try remote.open(firstRead: 1000)
        #expect(remote.readCount == 7)
        for shard in remote.shards.values {
            #expect(shard.reads.map(\.lowerBound) == [0, 1000])
            // Nothing of the data, and nothing twice.
            #expect(shard.reads[1].upperBound == shard.byteCount - 26)
        }
    }

    @Test(arguments: [0, 8, 63, 64, 65, 100, 150, 170, 1 << 20])
    func `any size of the first read gives the same header`(_ firstRead: Int) throws {
        let remote = try RemoteModel(shardCount: 1)
        let shard = try #require(remote.shards["s0.safetensors"])
        let header = try SafeTensorsHeader(reading: shard, firstReadByteCount: firstRead)
        #expect(header.map(\.name) == ["a0", "b0"] && header.dataByteCount == 26)
        #expect(shard.reads.count <= 2)
    }

    @Test func `part of a tensor reads only what it needs`() throws {
        let remote = try RemoteModel(shardCount: 1)
        let model = try remote.open()
        let shard = try #require(remote.shards["s0.safetensors"])
        #expect(try model.bytes(of: "a0", [.range(from: 1, to: 3)]) == (6..<18).map { $0 })
        let tensor = try #require(model.tensor(named: "a0")).info
        let start = tensor.fileRange.lowerBound
        #expect(shard.reads.last == start + 6..<start + 18)
        // A column lies within one near neighbourhood: one read from its first to its last element.
        #expect(try model.bytes(of: "a0", [.all, .index(1)]) == [2, 3, 8, 9, 14, 15, 20, 21])
        #expect(shard.reads.last == start + 2..<start + 22)
        #expect(shard.reads.count == 3)
    }

    @Test func `shards are opened at the same time where that is asked for`() throws {
        let remote = try RemoteModel(shardCount: 8, latency: 50_000)
        let start = ContinuousClock.now
        _ = try remote.open(jobs: 8)
        // One after the other they would take at least 400 ms.
        #expect(ContinuousClock.now - start < .milliseconds(300))
        #expect(remote.readCount == 9)
    }

    @Test func `a shard that breaks off gives a typed error`() throws {
        let remote = try RemoteModel(shardCount: 3, cutShard: 1)
        let error = #expect(throws: SafeTensorsError.self) { try remote.open() }
        #expect(error?.code == .io && error?.io?.code == .unexpectedEnd)
        #expect(error?.io?.path == "s1.safetensors")
    }

    @Test func `a shard that cannot be opened gives a typed error`() throws {
        var remote = try RemoteModel(shardCount: 3)
        remote.shards["s2.safetensors"] = nil
        let error = #expect(throws: SafeTensorsError.self) { try remote.open(jobs: 2) }
        #expect(error?.io?.path == "s2.safetensors")
    }

    @Test func `a tensor that its shard lacks is named`() throws {
        let remote = try RemoteModel(shardCount: 2, missing: true)
        let error = #expect(throws: SafeTensorsError.self) { try remote.open() }
        #expect(error?.code == .tensorMissing && error?.tensor == "gone")
        #expect(error?.message.contains("s0.safetensors") == true)
    }

    @Test func `a damaged shard is named`() throws {
        var remote = try RemoteModel(shardCount: 2)
        let whole = try #require(remote.shards["s1.safetensors"])
        remote.shards["s1.safetensors"] = RangedSource("s1.safetensors", whole.contents + [0])
        let error = #expect(throws: SafeTensorsError.self) { try remote.open() }
        #expect(error?.code == .trailingBytes && error?.message.contains("s1.safetensors") == true)
        let model = try RemoteModel(shardCount: 1).open()
        #expect(throws: SafeTensorsError.self) { try model.bytes(of: "nothing") }
    }
}
