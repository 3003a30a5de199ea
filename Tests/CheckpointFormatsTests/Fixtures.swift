import CheckpointFormats
import Checkpoints
import Foundation
import TensorCore

/// The PyTorch files under `Tests/Fixtures/pytorch` and what they hold, as PyTorch itself says.
enum Fixtures {
    static let directory = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .appending(path: "Fixtures/pytorch").path

    struct Tensor: Decodable {
        var dtype: String
        var shape: [UInt64]
        var sha256: String
        var nbytes: UInt64
    }

    struct Case: Decodable {
        var tensors: [String: Tensor]?
        var error: String?
        var subtree: String?
        var tied: [[String]]?
        var `class`: String?
        var skippedTensors: Int?
    }

    static let cases: [String: Case] = {
        do {
            var cases: [String: Case] = [:]
            for file in ["expected.json", "more.json"] {
                let data = try Data(contentsOf: URL(filePath: directory + "/" + file))
                cases.merge(try JSONDecoder().decode([String: Case].self, from: data)) { first, _ in first }
            }
            return cases
        } catch { fatalError("the list of fixtures: \(error)") }
    }()

    static let names = cases.keys.sorted()

    static func path(_ name: String) -> String { directory + "/" + name }

    static func bytes(_ name: String) throws -> [UInt8] {
        try FileSystem.contents(of: path(name), limit: 16 << 20)
    }

    /// The result of reading bytes as a file of this name.
    static func read(_ bytes: [UInt8], root: String? = nil) throws(CheckpointError) -> Checkpoint {
        try PyTorchReader.read(
            MemorySource(name: "memory", contents: bytes), displayName: "memory",
            options: ReadOptions(root: root))
    }
}

extension TensorSource {
    /// All bytes, read in pieces of about `piece` bytes.
    func contents(piece: Int = 1 << 20, width: Int) throws -> [UInt8] {
        var result: [UInt8] = []
        var done: UInt64 = 0
        let step = max(width, piece / width * width)
        while done < byteCount {
            let count = Int(min(UInt64(step), byteCount - done))
            var buffer = [UInt8](repeating: 0xAA, count: count)
            var span = buffer.mutableSpan
            var raw = MutableRawSpan(_elements: &span)
            try read(at: done, into: &raw)
            result += buffer
            done += UInt64(count)
        }
        return result
    }
}

extension TensorRecord {
    func digest(piece: Int = 1 << 20) throws -> String {
        var hash = SHA256()
        hash.update(try source.contents(piece: piece, width: dtype.byteWidth ?? 1))
        return hash.finish()
    }
}
