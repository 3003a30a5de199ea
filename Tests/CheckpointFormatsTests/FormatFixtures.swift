import CheckpointFormats
import Checkpoints
import Foundation
import StrictJSON
import TensorCore

/// The files under `Tests/Fixtures/formats` and what they hold, as their own programs say.
enum FormatFixtures {
    static let directory = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .appending(path: "Fixtures/formats").path

    static func path(_ name: String) -> String { directory + "/" + name }

    static func bytes(_ name: String) throws -> [UInt8] {
        try FileSystem.contents(of: path(name), limit: 64 << 20)
    }

    /// The cases of some lists by name.
    static func cases(_ lists: [String]) -> [String: JSONValue] {
        var result: [String: JSONValue] = [:]
        for list in lists {
            guard let bytes = try? bytes(list), let members = (try? JSONValue(parsing: bytes))?.members else {
                fatalError("the list of fixtures \(list)")
            }
            for member in members { result[member.key] = member.value }
        }
        return result
    }

    /// The tensors that a case expects, as text that can be compared.
    static func tensors(of value: JSONValue?) -> [String: String]? {
        guard let members = value?["tensors"]?.members else { return nil }
        return Dictionary(
            uniqueKeysWithValues: members.map { member in
                let shape = member.value["shape"]?.elements?.map { $0.text } ?? []
                return (
                    member.key,
                    "\(member.value["dtype"]?.string ?? "") [\(shape.joined(separator: ", "))] "
                        + (member.value["sha256"]?.string ?? "")
                )
            })
    }

    /// The tensors of a checkpoint, as the same text.
    static func tensors(of checkpoint: Checkpoint, piece: Int = 1 << 20) throws -> [String: String] {
        Dictionary(
            uniqueKeysWithValues: try checkpoint.tensors.map { tensor in
                (
                    tensor.name.string,
                    "\(tensor.dtype.name) \(tensor.shape) \(try tensor.digest(piece: piece))"
                )
            })
    }
}

extension JSONValue {
    /// The value as JSON with sorted keys.
    var text: String { String(decoding: serialized(sortKeys: true), as: UTF8.self) }
}

extension FormatRegistry {
    /// Opens bytes as a file of this name.
    static func open(
        _ bytes: [UInt8], name: String, options: ReadOptions = ReadOptions()
    ) throws(CheckpointError) -> Checkpoint {
        try open(source: MemorySource(name: name, contents: bytes), name: name, options: options).checkpoint
    }
}
