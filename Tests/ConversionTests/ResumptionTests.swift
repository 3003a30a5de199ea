import CheckpointFormats
import Checkpoints
import Foundation
import Integrity
import SafeTensors
import Synchronization
import TensorCore
import TestSupport
import Testing

@testable import Conversion

@Suite("Going on with what an interrupted run left")
struct ResumptionTests {
    let directory: TemporaryDirectory
    private let tool = (name: "artifact", version: "test")
    private let plan: ExportPlan
    private let expected: [String: [UInt8]]
    private var target: String { directory.file("out") }

    init() throws {
        directory = try TemporaryDirectory()
        let path = directory.file("model.safetensors")
        var generator = SeededGenerator(seed: 7)
        let tensors = (0..<16).map { index in
            (name: TensorName("layer.\(index)"), dtype: DType.f32, shape: [UInt64(100_000 + index)])
        }
        let layout = try SafeTensorsLayout(tensors: tensors, metadata: [])
        let body = generator.bytes(Int(layout.fileByteCount) - layout.header.count)
        try FileSystem.create(path, contents: layout.header + body)
        plan = try ExportPlan(
            model: try FormatRegistry.open(path: path), options: ExportOptions(maxShardByteCount: 4_000_000))
        let clean = directory.file("clean")
        _ = try Exporter(tool: tool).export(plan, to: clean, replacing: false)
        expected = try Self.contents(of: clean)
        try FileSystem.removeTree(clean)
    }

    private static func contents(of path: String) throws -> [String: [UInt8]] {
        var result: [String: [UInt8]] = [:]
        for name in try FileSystem.names(in: path) { result[name] = try bytes(of: path + "/" + name) }
        return result
    }

    /// Runs until something of the first weights file is recorded, and some steps further; returns what is left.
    private func interrupt(after limit: Int = 40) throws -> String {
        let calls = Mutex(0)
        var exporter = Exporter(
            tool: tool, jobs: 1, memory: 1 << 20,
            isCancelled: {
                calls.withLock {
                    $0 += 1
                    return $0 > limit
                }
            })
        exporter.recordSpacing = (.zero, 64 << 10)
        #expect(throws: ConversionError.self) { try exporter.export(plan, to: target, replacing: false) }
        let names = try FileSystem.names(in: directory.path).filter { $0.hasPrefix(".out.partial-") }
        return directory.file(try #require(names.first))
    }

    private func expectRightResult(_ comment: Comment) throws {
        _ = try Exporter(tool: tool).export(plan, to: target, replacing: false)
        #expect(try Self.contents(of: target) == expected, comment)
        #expect(try FileSystem.names(in: directory.path).allSatisfy { !$0.contains("partial") }, comment)
    }

    private var firstFile: String { plan.outputs[0].path }

    @Test func `a file that was lost begins anew, and is right when that run is interrupted too`() throws {
        let shell = try interrupt(after: 220)
        let first = try #require(Journal.read(shell + "/journal"))
        for output in plan.outputs { try FileSystem.removeTree(shell + "/content/" + output.path) }
        _ = try interrupt(after: 30)
        let second = try #require(Journal.read(shell + "/journal"))
        // Lane 1 has come less far than before, and is in the middle of a tensor.
        let (before, now) = (try #require(first.lanes[1]), try #require(second.lanes[1]))
        #expect(before.finished.count > now.finished.count && now.position > 0)
        try expectRightResult("interrupted twice")
    }

    @Test func `bytes after the end of a file, and files that the plan does not have, do not stay`() throws {
        let content = try interrupt() + "/content/"
        let size = plan.outputs[0].source.byteCount
        try OutputFile(resuming: content + firstFile).truncate(to: size + 1000)
        try FileSystem.create(content + "stranger", contents: [1])
        try expectRightResult("longer, and a stranger")
    }

    @Test func `what only looks like a file of ours is never written to`() throws {
        let precious = directory.file("precious")
        for isHard in [false, true] {
            try FileSystem.create(precious, contents: [1, 2, 3])
            let path = try interrupt() + "/content/" + firstFile
            try FileSystem.removeTree(path)
            if isHard {
                try FileManager.default.linkItem(atPath: precious, toPath: path)
            } else {
                try FileManager.default.createSymbolicLink(atPath: path, withDestinationPath: precious)
            }
            try expectRightResult("a link")
            #expect(try bytes(of: precious) == [1, 2, 3])
            try FileSystem.removeTree(precious)
            try FileSystem.removeTree(target)
        }
        let path = try interrupt() + "/content/" + firstFile
        try FileSystem.removeTree(path)
        try #require(mkfifo(path, 0o600) == 0)
        try expectRightResult("a pipe")
    }

    @Test(arguments: ["content", "journal"])
    func `a link in the place of a part of what was left is not gone on with`(part: String) throws {
        let shell = try interrupt()
        let away = directory.file("away")
        #expect(try FileSystem.moveWithoutReplacing(shell + "/" + part, to: away))
        try FileManager.default.createSymbolicLink(atPath: shell + "/" + part, withDestinationPath: away)
        try expectRightResult("a link to the \(part)")
        #expect(try FileSystem.kind(of: target, followingLinks: false) == .directory)
        #expect(try FileSystem.kind(of: away) != nil)
    }
}
