import Foundation
import TestSupport
import Testing

/// A part of what `make faults` sweeps in full.
@Suite("Every file operation may fail")
struct FaultTests {
    let directory: TemporaryDirectory
    var model: String { directory.file("model") }
    var out: String { directory.file("out") }
    var whole: String { directory.file("whole") }
    let layer =
        URL(fileURLWithPath: Repository.command).deletingLastPathComponent().path + "/libFaultLayer.so"

    init() throws {
        directory = try TemporaryDirectory()
        try restore()
        try #require(try export(to: whole, faults: "").exitCode == 0)
    }

    private func restore() throws {
        try? FileManager.default.removeItem(atPath: model)
        try FileManager.default.copyItem(atPath: sample, toPath: model)
    }

    private func export(
        to path: String? = nil, faults: String, log: String? = nil, force: Bool = false
    ) throws -> ProcessResult {
        var environment = ["LD_PRELOAD": layer, "FAULTS": faults, "FAULTS_PATH": directory.path]
        environment["FAULTS_LOG"] = log
        return try run(
            Repository.command,
            ["export", model, "-o", path ?? out, "--quiet", "--jobs", "1"]
                + (force ? ["--force"] : []),
            environment: environment)
    }

    /// About `count` numbers of calls of a kind that an export makes, evenly from the first to the last.
    private func numbers(of kind: String, count: Int) throws -> [Int] {
        let log = directory.file("log")
        try #require(try export(faults: "", log: log).exitCode == 0)
        defer {
            for path in [log, out] { try? FileManager.default.removeItem(atPath: path) }
        }
        let lines = String(decoding: try bytes(of: log), as: UTF8.self).split(separator: "\n")
        let calls = lines.count { kind == "*" || $0.hasPrefix(kind + " ") }
        try #require(calls > 0)
        return Array(stride(from: 1, through: calls, by: max(1, calls / count)))
    }

    private func names() throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: directory.path).sorted()
    }

    private func isWhole() -> Bool {
        FileManager.default.contentsEqual(atPath: out, andPath: whole)
    }

    /// Takes the result away, exports again without faults, and leaves nothing but a right result behind.
    private func checkNextRun(_ rule: String) throws {
        try? FileManager.default.removeItem(atPath: out)
        let next = try export(faults: "")
        #expect(next.exitCode == 0 && isWhole(), "after \(rule): \(next.errors)")
        try? FileManager.default.removeItem(atPath: out)
        #expect(try names() == ["model", "whole"], "after \(rule)")
    }

    @Test(.enabled(if: Oracle.isAvailable))
    func `the layer does what its header says`() throws {
        let result = try run(Oracle.python ?? "", [Repository.path("Tests/Faults/layer.py"), layer])
        #expect(result.exitCode == 0, "\(result.errors)")
    }

    @Test(arguments: [
        ("pread", "EIO", "Input/output error"), ("pwrite", "ENOSPC", "No space left on device"),
        ("pwrite", "EIO", "Input/output error"), ("fsync", "EIO", "Input/output error"),
        ("mkdir", "ENOSPC", "No space left on device"), ("rename", "EIO", "Input/output error"),
    ])
    func `a failure ends with 3, names file and cause, and leaves nothing wrong`(
        kind: String, fault: String, cause: String
    ) throws {
        for number in try numbers(of: kind, count: 6) {
            let rule = "\(kind):\(number):\(fault)"
            let result = try export(faults: rule)
            #expect(result.exitCode == 3, "\(rule): \(result.errors)")
            #expect(result.errors.contains(cause) && result.errors.contains(directory.path), "\(rule)")
            // The last sync comes when the result stands.
            #expect(!FileManager.default.fileExists(atPath: out) || kind == "fsync" && isWhole(), "\(rule)")
            try checkNextRun(rule)
        }
    }

    @Test(arguments: ["pread", "pwrite"], ["SHORT", "EINTR"])
    func `short and interrupted transfers are taken up`(kind: String, fault: String) throws {
        for number in try numbers(of: kind, count: 6) {
            let rule = "\(kind):\(number):\(fault)"
            let result = try export(faults: rule)
            #expect(result.exitCode == 0 && isWhole(), "\(rule): \(result.errors)")
            try? FileManager.default.removeItem(atPath: out)
        }
    }

    @Test func `killed before any call an export is absent or whole, and the next one succeeds`() throws {
        for number in try numbers(of: "*", count: 16) {
            let rule = "*:\(number):KILL"
            #expect(try export(faults: rule).exitCode == -9)
            #expect(!FileManager.default.fileExists(atPath: out) || isWhole(), "\(rule)")
            try checkNextRun(rule)
        }
    }

    @Test func `killed when it has taken an older export's place, what it replaced is not gone on with`()
        throws
    {
        let config = model + "/config.json"
        let contents = try bytes(of: config)
        // Of the same size, as the weights are that come from further training.
        let older = String(decoding: contents, as: UTF8.self).replacingOccurrences(of: "llama", with: "lamma")
        try #require(older.utf8.count == contents.count && !older.utf8.elementsEqual(contents))
        try Data(older.utf8).write(to: URL(fileURLWithPath: config))
        try #require(try export(faults: "").exitCode == 0 && !isWhole())
        try Data(contents).write(to: URL(fileURLWithPath: config))
        let killed = try export(faults: "rename:2:KILLAFTER", force: true)
        #expect(killed.exitCode == -9 && isWhole(), "\(killed.errors)")
        let next = try export(faults: "", force: true)
        #expect(next.exitCode == 0 && isWhole(), "\(next.errors)")
        #expect(try names() == ["model", "out", "whole"])
    }

    @Test(arguments: ["TRUNCATE", "APPEND", "REWRITE"])
    func `a source that changes while it is read is refused by name`(change: String) throws {
        let numbers = try numbers(of: "pread", count: 8)
        for number in numbers.dropFirst() {
            let result = try export(faults: "pread:\(number):\(change)")
            #expect([1, 3].contains(result.exitCode), "pread:\(number):\(change)")
            #expect(result.errors.contains(model + "/"), "\(result.errors)")
            #expect(try names() == ["model", "whole"])
            try restore()
        }
    }

    @Test(.enabled("needs the right to mount", { FullDisk.isAvailable }))
    func `a disk that is full ends an export with 3 and nothing but what the next run goes on with`() throws {
        for kilobytes in [256, 704] {
            let disk = try FullDisk(at: directory.file("disk"), kilobytes: kilobytes)
            let result = try export(to: disk.path + "/out", faults: "")
            #expect(result.exitCode == 3 && result.errors.contains("free"), "\(result.errors)")
            let left = try FileManager.default.contentsOfDirectory(atPath: disk.path)
            #expect(left.count <= 1 && left.allSatisfy { $0.hasPrefix(".out.partial-") }, "\(left)")
        }
    }
}

/// A small file system in memory, unmounted when the object goes away.
private final class FullDisk {
    let path: String

    static let isAvailable: Bool = {
        guard geteuid() == 0, let directory = try? TemporaryDirectory() else { return false }
        return (try? FullDisk(at: directory.file("disk"), kilobytes: 64)) != nil
    }()

    init(at path: String, kilobytes: Int) throws {
        self.path = path
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        let result = try run("/bin/mount", ["-t", "tmpfs", "-o", "size=\(kilobytes)k", "tmpfs", path])
        guard result.exitCode == 0 else { throw CocoaError(.fileWriteUnknown) }
    }

    deinit { _ = try? run("/bin/umount", [path]) }
}
