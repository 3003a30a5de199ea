import SafeTensors
import StrictJSON
import TensorCore
import Testing

@Suite struct ShardPlanTests {
    /// A division that the hub library made; see Tests/Fixtures/shards/make.py.
    private struct Case {
        let limit: UInt64
        let sizes: [UInt64]
        let storages: [Int?]
        let shards: [[Int]]

        init(_ line: [UInt8]) throws {
            let fields = try #require(try JSONValue(parsing: line).elements)
            limit = try #require(fields[0].uint64)
            sizes = (fields[1].elements ?? []).compactMap(\.uint64)
            guard fields.count == 3 else {
                storages = (fields[2].elements ?? []).map { $0.int64.map(Int.init) }
                shards = (fields[3].elements ?? []).map {
                    ($0.elements ?? []).compactMap(\.int64).map(Int.init)
                }
                return
            }
            storages = []
            var shards: [[Int]] = []
            for (index, place) in (fields[2].elements ?? []).compactMap(\.int64).enumerated() {
                while shards.count <= Int(place) { shards.append([]) }
                shards[Int(place)].append(index)
            }
            self.shards = shards
        }
    }

    private func cases() throws -> [Case] {
        let text = try FileSystem.contents(
            of: repositoryFile("Tests/Fixtures/shards/splits.jsonl"), limit: 1 << 20)
        return try text.split(separator: UInt8(ascii: "\n")).map { try Case(Array($0)) }
    }

    private func size(_ shard: [Int], _ sizes: [UInt64]) -> UInt64 { shard.reduce(0) { $0 + sizes[$1] } }

    @Test func `2804 random lists are divided as the hub library divides them`() throws {
        let cases = try cases()
        #expect(cases.count == 2804)
        for (number, item) in cases.enumerated() {
            let shards = ShardSplit.hub.shards(sizes: item.sizes, limit: item.limit, storages: item.storages)
            #expect(shards == item.shards, "line \(number + 1)")
        }
    }

    @Test func `balanced shards hold every tensor once, in order, within the limit, and are no more`() throws
    {
        for item in try cases() where item.storages.isEmpty {
            let hub = item.shards
            let shards = ShardSplit.balanced.shards(sizes: item.sizes, limit: item.limit)
            #expect(shards.joined().sorted() == Array(item.sizes.indices))
            #expect(shards.count <= hub.count)
            #expect(shards.allSatisfy { $0 == $0.sorted() && !$0.isEmpty })
            #expect(shards.map { $0[0] } == shards.map { $0[0] }.sorted())
            for shard in shards {
                #expect(size(shard, item.sizes) <= item.limit || shard.count == 1)
            }
            // The largest of those within the limit is no larger than the hub's.
            let largest = { (shards: [[Int]]) in
                shards.map { size($0, item.sizes) }.filter { $0 <= item.limit }.max() ?? 0
            }
            #expect(largest(shards) <= largest(hub))
        }
    }

    @Test(
        arguments: [
            ([1, 1, 1, 1, 1, 1, 1, 1, 1, 1], 4, [3, 3, 4]), ([4, 12, 4], 10, [8, 12]),
            ([6, 6, 2, 6, 2, 2], 10, [6, 8, 10]), ([5, 5], 5, [5, 5]), ([0, 0, 0], 0, [0]), ([9], 3, [9]),
            ([100, 1, 1, 100], 101, [101, 101]),
        ] as [([UInt64], UInt64, [UInt64])])
    func `balanced shards are of near sizes`(sizes: [UInt64], limit: UInt64, expected: [UInt64]) {
        let shards = ShardSplit.balanced.shards(sizes: sizes, limit: limit)
        #expect(shards.map { size($0, sizes) }.sorted() == expected.sorted())
    }

    @Test func `sizes that add up to more than 64 bits do not trap`() {
        for split in ShardSplit.allCases {
            let shards = split.shards(sizes: [.max, .max - 1, 2, .max], limit: .max)
            #expect(shards.joined().sorted() == [0, 1, 2, 3])
        }
        #expect(ShardPlan(sizes: [.max, .max], limit: 1).totalSize == .max)
        #expect(ShardSplit.hub.shards(sizes: [], limit: 1).isEmpty)
    }

    @Test func `files are numbered from one, and a single file is not numbered`() {
        #expect(ShardPlan.fileName(base: "model", number: 1, count: 1) == "model.safetensors")
        #expect(
            ShardPlan.fileName(base: "model", number: 3, count: 12) == "model-00003-of-00012.safetensors")
        #expect(
            ShardPlan.fileName(base: "m", number: 123_000, count: 123_000)
                == "m-123000-of-123000.safetensors")
        #expect(ShardPlan(sizes: [1], limit: 9).index(names: ["a"]) == nil)
        #expect(
            ShardPlan(sizes: [1, 1], limit: 1, base: "x.y").indexFileName == "x.y.safetensors.index.json")
    }

    @Test func `tensors that share bytes count once`() {
        let plan = ShardPlan(sizes: [6, 6, 6], limit: 10, storages: [1, nil, 1])
        #expect(plan.shards.map(\.tensors) == [[0, 2], [1]])
        #expect(plan.shards.map(\.byteCount) == [6, 6] && plan.totalSize == 12)
    }

    @Test func `the index of a plan is byte for byte that of each library`() throws {
        let names = try JSONValue(
            parsing: FileSystem.contents(
                of: repositoryFile("Tests/Fixtures/shards/names.json"), limit: 1 << 20))
        func tensors(_ library: String) throws -> [(name: TensorName, size: UInt64)] {
            try #require(names[library]?.elements).map { pair in
                let fields = try #require(pair.elements)
                return (TensorName(try #require(fields[0].string)), try #require(fields[1].uint64))
            }
        }
        func golden(_ library: String) throws -> [UInt8] {
            try FileSystem.contents(
                of: repositoryFile("Tests/Fixtures/shards/\(library)/model.safetensors.index.json"),
                limit: 1 << 20)
        }
        let hub = try tensors("hub")
        let plan = ShardPlan(sizes: hub.map(\.size), limit: 300)
        let extra = [JSONMember("tied", .string("none")), JSONMember("note", .string("é"))]
        #expect(try plan.index(names: hub.map(\.name), extra: extra)?.serialized(.hub) == golden("hub"))

        let llama = try tensors("transformers")
        let second = ShardPlan(sizes: llama.map(\.size), limit: 1000)
        let parameters = llama.reduce(0) { $0 + $1.size } / 4
        #expect(
            try second.index(names: llama.map(\.name), totalParameters: parameters)?.serialized(.transformers)
                == golden("transformers"))

        for library in ["hub", "transformers"] {
            let document = try golden(library)
            let index = try ShardIndex(parsing: document)
            #expect(ShardIndex.layout(of: document).rawValue == library)
            #expect(index.serialized(ShardIndex.layout(of: document)) == document)
        }
    }
}
