import CheckpointFormats
import Checkpoints
import Foundation
import StrictJSON
import TensorCore

/// Distributed checkpoints under `Tests/Fixtures/formats` and what PyTorch and DeepSpeed say that they hold.
enum DistributedFixtures {
    static let directory = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .appending(path: "Fixtures/formats").path

    private static func document(_ name: String) -> JSONValue {
        do {
            let bytes = try FileSystem.contents(of: directory + "/" + name, limit: 16 << 20)
            return try JSONValue(parsing: bytes)
        } catch { fatalError("\(name): \(error)") }
    }

    /// What is expected by path.
    static let cases: [String: JSONValue] = {
        var cases: [String: JSONValue] = [:]
        for name in ["expected-dcp.json", "expected-deepspeed.json", "expected-distributed.json"] {
            for member in document(name)["cases"]?.members ?? [] { cases[member.key] = member.value }
        }
        return cases
    }()

    /// Changed metadata of `dcp/grid` and the errors that should come of it.
    static let edited: [String: JSONValue] = Dictionary(
        (document("expected-dcp.json")["edited"]?.members ?? []).map { ($0.key, $0.value) }
    ) { first, _ in first }

    static let names = cases.keys.sorted()

    static func path(_ name: String) -> String { directory + "/" + name }

    static func read(
        _ path: String, _ change: (inout ReadOptions) -> Void = { _ in }
    ) throws(CheckpointError) -> Checkpoint {
        var options = ReadOptions()
        change(&options)
        return try FormatRegistry.open(path: path, options: options).checkpoint
    }

    /// A copy of a fixture that a test changes.
    static func withCopy<R>(of name: String, _ body: (String) throws -> R) throws -> R {
        let copy = FileManager.default.temporaryDirectory.appending(path: "artifact-\(UUID().uuidString)")
            .path
        try FileManager.default.copyItem(atPath: path(name), toPath: copy)
        defer { try? FileManager.default.removeItem(atPath: copy) }
        return try body(copy)
    }

    /// Changes the bytes of a file.
    static func change(_ path: String, _ body: (inout [UInt8]) -> Void) throws {
        var bytes = try FileSystem.contents(of: path, limit: 16 << 20)
        body(&bytes)
        try Data(bytes).write(to: URL(filePath: path))
    }
}
