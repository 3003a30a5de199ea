import CheckpointFormats
import Checkpoints
import Foundation
import SafeTensors
import Synchronization
import TensorCore
import TestSupport
import Testing

@testable import Conversion
@testable import Integrity

@Suite("Outputs in archives")
struct OutputTests {
    let directory: TemporaryDirectory
    private let tool = (name: "artifact", version: "test")

    init() throws { directory = try TemporaryDirectory() }

    private func plan(_ format: String, _ limit: UInt64 = 9_000_000) throws -> ExportPlan {
        let path = directory.file("model.safetensors")
        if try FileSystem.kind(of: path) == nil {
            var generator = SeededGenerator(seed: 5)
            var tensors: [(name: TensorName, dtype: DType, shape: [UInt64])] = []
            for index in 0..<40 {
                tensors.append((TensorName("layer.\(index)"), .f32, [UInt64(index), 977]))
            }
            tensors.append(("big", .f16, [5_000_001]))
            let layout = try SafeTensorsLayout(tensors: tensors, metadata: [])
            try FileSystem.create(
                path,
                contents: layout.header + generator.bytes(Int(layout.fileByteCount) - layout.header.count))
        }
        return try ExportPlan(
            model: try FormatRegistry.open(path: path),
            options: ExportOptions(
                format: try #require(OutputFormats.named(format)), maxShardByteCount: limit))
    }

    private func contents(of path: String) throws -> [String: [UInt8]] {
        var result: [String: [UInt8]] = [:]
        for name in try FileSystem.names(in: path) { result[name] = try bytes(of: path + "/" + name) }
        return result
    }

    @Test(arguments: ["pytorch", "npz"], [DigestChoice.all, []])
    func `an export that is stopped anywhere goes on and is equal byte for byte`(
        format: String, digests: DigestChoice
    ) throws {
        let plan = try plan(format)
        let clean = directory.file("clean")
        _ = try Exporter(tool: tool, digests: digests).export(plan, to: clean, replacing: false)
        let expected = try contents(of: clean)
        let target = directory.file("out")
        var resumed = 0
        for limit in [1, 22, 45, 70, 90, 130, 160, 190, 220] {
            let calls = Mutex(0)
            var exporter = Exporter(
                tool: tool, jobs: 2, memory: 1 << 20, digests: digests,
                isCancelled: {
                    calls.withLock {
                        $0 += 1
                        return $0 > limit
                    }
                })
            exporter.recordSpacing = (.zero, 64 << 10)
            _ = try? exporter.export(plan, to: target, replacing: false)
            if try FileSystem.kind(of: target) == nil {
                let result = try Exporter(tool: tool, jobs: 2, digests: digests).export(
                    plan, to: target, replacing: false)
                if result.resumedByteCount > 0 { resumed += 1 }
            }
            #expect(try contents(of: target) == expected, "stopped after \(limit) steps")
            try FileSystem.removeTree(target)
        }
        #expect(resumed > 2)
    }

    @Test(arguments: ["pytorch", "npz"])
    func `an archive is one item of work, whose bytes are those of the export`(format: String) throws {
        let plan = try plan(format)
        _ = try Exporter(tool: tool).export(plan, to: directory.file("out"), replacing: false)
        try FileSystem.createDirectory(directory.file("parts"))
        let items = plan.items(byteCount: 1 << 20)
        #expect(items.count == plan.outputs.count)
        for item in items {
            try plan.write(item, to: OutputFile(resuming: directory.file("parts/" + item.path)))
            #expect(
                try bytes(of: directory.file("parts/" + item.path))
                    == bytes(of: directory.file("out/" + item.path)))
        }
    }

    @Test func `a checksum is filled in wherever the pieces are cut`() throws {
        var generator = SeededGenerator(seed: 9)
        let contents = generator.bytes(100)
        let lane = DigestLane(
            source: MemorySource(name: "m", contents: contents),
            segments: [.init(10..<30, .crc32), .init(40..<60, [.crc32, .sha256])],
            checksumFields: [
                .init(offset: 30, segment: 0), .init(offset: 61, segment: 1, prefix: 0x1234_5678),
                .init(offset: 65, segment: 0), .init(offset: 96, segment: 1),
            ])
        func filled(cutAt cuts: [Int]) throws -> [UInt8] {
            var result: [UInt8] = []
            let filler = try #require(ChecksumFiller(lane))
            for (start, end) in zip([0] + cuts, cuts + [100]) {
                var piece = Array(contents[start..<end])
                var span = piece.mutableSpan
                var bytes = span.mutableBytes
                filler.update(&bytes, at: UInt64(start))
                result += piece
            }
            return result
        }
        let whole = try filled(cutAt: [])
        func crc(_ range: Range<Int>, after prefix: UInt32 = 0) -> [UInt8] {
            LittleEndian(CRC32.update(prefix, with: Array(contents[range]).span.bytes)).bytes
        }
        #expect(Array(whole[30..<34]) == crc(10..<30) && Array(whole[65..<69]) == crc(10..<30))
        #expect(
            Array(whole[61..<65]) == crc(40..<60, after: 0x1234_5678) && Array(whole[96...]) == crc(40..<60))
        for cut in 1..<99 {
            #expect(try filled(cutAt: [cut]) == whole, "cut at \(cut)")
            #expect(try filled(cutAt: [cut, cut + 1]) == whole, "cut at \(cut) and after")
        }
    }

    @Test(.enabled(if: Oracle.isAvailable), arguments: ["pytorch", "npz"])
    func `members and places beyond 4 GiB are found by Python's zipfile`(format: String) throws {
        let size: UInt64 = 5 << 30
        let checkpoint = Checkpoint(
            format: "test",
            tensors: [
                TensorRecord(
                    name: "huge", dtype: .u8, shape: [size], source: .filled(pattern: [7], byteCount: size)),
                TensorRecord(
                    name: "late", dtype: .f32, shape: [2], source: .filled(pattern: [9], byteCount: 8)),
            ], files: [])
        let plan = try ExportPlan(
            model: OpenedModel(checkpoint: checkpoint, directory: nil),
            options: ExportOptions(
                format: try #require(OutputFormats.named(format)), maxShardByteCount: 1 << 40))
        // Everything but the tensors, so that the file is sparse.
        let shard = plan.shards[0]
        let file = try OutputFile(creating: directory.file("sparse"))
        for frame in shard.frames { try file.write(frame.bytes.span.bytes, at: frame.offset) }
        #expect(try InputFile(path: directory.file("sparse")).byteCount == shard.byteCount)
        let members = try #require(
            try Oracle.run("archives.py", "places", directory.file("sparse")).json()["places"]
                as? [String: [UInt64]])
        let prefix = format == "npz" ? "" : "pytorch_model/data/"
        let names = format == "npz" ? ["huge.npy", "late.npy"] : ["0", "1"]
        for (name, item) in zip(names, shard.tensors) {
            let member = try #require(members[prefix + name])
            #expect(member[0] + member[1] == item.offset + item.tensor.byteCount)
        }
        #expect(shard.tensors[1].offset > size && shard.tensors.allSatisfy { $0.offset % 64 == 0 })
    }
}
