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

/// A remote store in this process: latency, short reads and failures that pass.
private final class RemoteFile: RangeReader {
    let name = "https://store.example/model.safetensors"
    let contents: [UInt8]
    private let state = Mutex((calls: 0, random: SeededGenerator(seed: 8)))
    /// Every so many calls one fails; 0 for none.
    let failsEvery: Int

    init(_ contents: [UInt8], failsEvery: Int) {
        self.contents = contents
        self.failsEvery = failsEvery
    }

    var byteCount: UInt64 { UInt64(contents.count) }
    var calls: Int { state.withLock { $0.calls } }

    func readSome(at offset: UInt64, into buffer: inout MutableRawSpan) throws(IOError) -> Int {
        let (call, share) = state.withLock { state in
            state.calls += 1
            return (state.calls, Double.random(in: 0.1...2, using: &state.random))
        }
        usleep(500)
        if failsEvery > 0, call % failsEvery == 0 {
            throw IOError(.transient, path: name, operation: "read", offset: offset, detail: "503 slow down")
        }
        let count = max(1, min(buffer.byteCount, Int(Double(buffer.byteCount) * share)))
        for index in 0..<count {
            buffer.storeBytes(of: contents[Int(offset) + index], toByteOffset: index, as: UInt8.self)
        }
        return count
    }
}

/// A place that takes bytes in order and can do nothing else.
private final class Stream: ByteSink {
    let name: String
    let bytes = Mutex<[UInt8]>([])
    init(_ name: String) { self.name = name }

    func write(_ bytes: RawSpan, at offset: UInt64) throws(IOError) {
        let isNext = self.bytes.withLock { kept in
            guard offset == UInt64(kept.count) else { return false }
            kept += bytes.array()
            return true
        }
        guard isNext else { throw IOError(.unreadable, path: name, operation: "write", offset: offset) }
    }

    func synchronize() {}
}

@Suite("The engine behind an export")
struct EngineTests {
    let directory: TemporaryDirectory
    private let tool = (name: "artifact", version: "test")

    init() throws { directory = try TemporaryDirectory() }

    /// A file with tensors of many sizes, some of them larger than a piece.
    private func model() throws -> String {
        let path = directory.file("model.safetensors")
        guard try FileSystem.kind(of: path) == nil else { return path }
        var generator = SeededGenerator(seed: 31)
        var tensors: [(name: TensorName, dtype: DType, shape: [UInt64])] = []
        for index in 0..<40 {
            tensors.append((TensorName("layer.\(index)"), .f32, [UInt64(index) * 977, 3]))
        }
        tensors.append(("big", .f32, [3_000_000]))
        let layout = try SafeTensorsLayout(tensors: tensors, metadata: [])
        let body = generator.bytes(Int(layout.fileByteCount) - layout.header.count)
        try FileSystem.create(path, contents: layout.header + body)
        return path
    }

    private func plan(_ options: ExportOptions = ExportOptions()) throws -> ExportPlan {
        try ExportPlan(model: try FormatRegistry.open(path: try model()), options: options)
    }

    private func contents(of path: String) throws -> [String: [UInt8]] {
        var result: [String: [UInt8]] = [:]
        for name in try FileSystem.names(in: path) { result[name] = try bytes(of: path + "/" + name) }
        return result
    }

    @Test(arguments: [DigestChoice.all, [.files, .tensors], .tensors, []])
    func `an export that is stopped anywhere goes on and is equal byte for byte`(digests: DigestChoice) throws
    {
        let options = ExportOptions(maxShardByteCount: 5_000_000)
        let plan = try plan(options)
        let clean = directory.file("clean")
        _ = try Exporter(tool: tool, digests: digests).export(plan, to: clean, replacing: false)
        let expected = try contents(of: clean)
        let target = directory.file("out")
        var resumed = 0
        for limit in [0, 1, 9, 22, 45, 70, 90, 110, 130, 150] {
            let calls = Mutex(0)
            var exporter = Exporter(
                tool: tool, jobs: 2, memory: 4 << 20, digests: digests,
                isCancelled: {
                    calls.withLock {
                        $0 += 1
                        return $0 > limit
                    }
                })
            exporter.recordSpacing = (.zero, 1 << 20)
            do {
                _ = try exporter.export(plan, to: target, replacing: false)
            } catch {
                #expect(try FileSystem.kind(of: target) == nil)
            }
            if try FileSystem.kind(of: target) == nil {
                let result = try Exporter(tool: tool, jobs: 2, digests: digests).export(
                    plan, to: target, replacing: false)
                if result.resumedByteCount > 0 { resumed += 1 }
            }
            #expect(try contents(of: target) == expected, "stopped after \(limit) steps")
            #expect(try FileSystem.names(in: directory.path).allSatisfy { !$0.contains("partial") })
            try FileSystem.removeTree(target)
        }
        #expect(resumed > 0)
    }

    @Test func `what an interrupted run left is not used for another plan, nor when that is asked for`()
        throws
    {
        let plan = try plan(ExportOptions(maxShardByteCount: 5_000_000))
        func interrupt() {
            let calls = Mutex(0)
            let exporter = Exporter(
                tool: tool, jobs: 1,
                isCancelled: {
                    calls.withLock {
                        $0 += 1
                        return $0 > 30
                    }
                })
            #expect(throws: ConversionError.self) {
                try exporter.export(plan, to: directory.file("out"), replacing: false)
            }
        }
        interrupt()
        var exporter = Exporter(tool: tool)
        exporter.resuming = false
        let anew = try exporter.export(plan, to: directory.file("out"), replacing: false)
        #expect(anew.resumedByteCount == 0)
        try FileSystem.removeTree(directory.file("out"))
        interrupt()
        let other = try self.plan(ExportOptions(maxShardByteCount: 6_000_000))
        let result = try Exporter(tool: tool).export(other, to: directory.file("out"), replacing: false)
        #expect(result.resumedByteCount == 0)
        #expect(try FileSystem.names(in: directory.path) == ["model.safetensors", "out"])
    }

    @Test(arguments: [0, 7, 50])
    func `a remote source is converted into streams without a copy in between`(failsEvery: Int) throws {
        let contents = try bytes(of: try model())
        let remote = RemoteFile(contents, failsEvery: failsEvery)
        let source = RetryingSource(remote, firstPause: 1)
        let model = try FormatRegistry.open(source: source, name: "model.safetensors")
        #expect(remote.calls < 40)
        let plan = try ExportPlan(
            model: model,
            options: ExportOptions(
                transforms: [.cast(nil, to: .bf16, overflow: .special)], maxShardByteCount: 4_000_000))
        let streams = Mutex<[Stream]>([])
        let manifest = try Exporter(tool: tool, jobs: 2, memory: 8 << 20).stream(plan) { (path, _) in
            let stream = Stream(path)
            streams.withLock { $0.append(stream) }
            return stream
        }
        let local = try self.plan(
            ExportOptions(
                transforms: [.cast(nil, to: .bf16, overflow: .special)], maxShardByteCount: 4_000_000))
        let expected = try Exporter(tool: tool).export(local, to: directory.file("out"), replacing: false)
        #expect(manifest.tensors == expected.manifest.tensors)
        for stream in streams.withLock({ $0 }) where stream.name != Manifest.fileName {
            #expect(try stream.bytes.withLock { $0 } == bytes(of: directory.file("out/" + stream.name)))
        }
        #expect(streams.withLock { $0.last?.name } == Manifest.fileName)
    }

    @Test func `a remote source that keeps failing ends the export with its own words`() throws {
        let contents = try bytes(of: try model())
        let model = try FormatRegistry.open(
            source: MemorySource(name: "m", contents: contents), name: "model.safetensors")
        var tensors: [TensorRecord] = []
        let broken = RetryingSource(RemoteFile(contents, failsEvery: 1), retryLimit: 3, firstPause: 1)
        for tensor in model.checkpoint.tensors {
            guard let extent = tensor.source.extent else { continue }
            tensors.append(
                TensorRecord(
                    name: tensor.name, dtype: tensor.dtype, shape: tensor.shape,
                    source: .extent(
                        Extent(source: broken, offset: extent.offset, byteCount: extent.byteCount))))
        }
        let checkpoint = Checkpoint(format: "safetensors", tensors: tensors, files: [])
        let plan = try ExportPlan(
            model: OpenedModel(checkpoint: checkpoint, directory: nil), options: ExportOptions())
        do {
            _ = try Exporter(tool: tool).export(plan, to: directory.file("out"), replacing: false)
            Issue.record("it went through")
        } catch {
            #expect("\(error)".contains("503 slow down"))
        }
        #expect(try FileSystem.kind(of: directory.file("out")) == nil)
    }

    @Test func `with digests of tensors alone their bytes are proven, and the header is not`() throws {
        _ = try Exporter(tool: tool, digests: .tensors).export(
            try plan(), to: directory.file("out"), replacing: false)
        let report = try ModelVerifier().verify(path: directory.file("out"))
        #expect(report.verdict == .undecided && report.findings.map(\.code) == ["header-not-digested"])
        let file = try OutputFile(resuming: directory.file("out/model.safetensors"))
        let size = try #require(file.existingByteCount)
        let last = try bytes(of: directory.file("out/model.safetensors")).suffix(1).map { $0 ^ 1 }
        try file.write(last.span.bytes, at: size - 1)
        #expect(try ModelVerifier().verify(path: directory.file("out")).verdict == .failed)
    }

    @Test func `without digests the bytes are the same and the manifest has none`() throws {
        let plan = try plan()
        let all = try Exporter(tool: tool).export(plan, to: directory.file("all"), replacing: false)
        let none = try Exporter(tool: tool, digests: []).export(
            plan, to: directory.file("none"), replacing: false)
        #expect(none.manifest.tensors.allSatisfy { $0.sha256 == nil })
        #expect(none.manifest.files.allSatisfy { $0.sha256 == nil })
        #expect(all.manifest.tensors.allSatisfy { $0.sha256 != nil })
        for file in all.manifest.files {
            #expect(
                try bytes(of: directory.file("all/" + file.path))
                    == bytes(of: directory.file("none/" + file.path)))
        }
        let report = try ModelVerifier().verify(path: directory.file("none"))
        #expect(report.verdict == .undecided, "\(report.findings)")
        #expect(try ModelVerifier().verify(path: directory.file("all")).verdict == .verified)
    }

    @Test(arguments: [1 << 20, 7_000_000, 256 << 20])
    func `the items of a plan cover every byte once and may be done in any order, by many, and again`(
        byteCount: Int
    ) throws {
        let plan = try plan(ExportOptions(maxShardByteCount: 9_000_000))
        _ = try Exporter(tool: tool).export(plan, to: directory.file("out"), replacing: false)
        let items = plan.items(byteCount: byteCount)
        #expect(items.reduce(0) { $0 + UInt64($1.range.count) } == plan.byteCount)
        #expect(items.allSatisfy { $0.range.count <= max(byteCount, 1 << 20) })
        try FileSystem.createDirectory(directory.file("parts"))
        var generator = SeededGenerator(seed: UInt64(byteCount))
        let work = Mutex((items + items.prefix(3)).shuffled(using: &generator))
        let failures = Mutex(0)
        let folder = directory.file("parts")
        Workers.run(count: 3) { _ in
            while let item = work.withLock({ $0.popLast() }) {
                do {
                    try plan.write(item, to: OutputFile(resuming: folder + "/" + item.path))
                } catch {
                    failures.withLock { $0 += 1 }
                }
            }
        }
        #expect(failures.withLock { $0 } == 0)
        for name in try FileSystem.names(in: folder) {
            #expect(try bytes(of: folder + "/" + name) == bytes(of: directory.file("out/" + name)))
        }
        #expect(try FileSystem.names(in: folder).count == plan.shards.count + 1)
    }
}
