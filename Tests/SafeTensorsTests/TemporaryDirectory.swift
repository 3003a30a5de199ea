import TensorCore

/// A directory that is removed with all that is in it when the object goes away.
final class TemporaryDirectory {
    let path: String

    init() throws {
        path = "/tmp/safetensors-tests-" + String(UInt64.random(in: .min ... .max), radix: 16)
        try FileSystem.createDirectory(path)
    }

    deinit { try? FileSystem.removeTree(path) }

    func file(_ name: String) -> String { Path.join(path, name) }

    var names: [String] { get throws { try FileSystem.names(in: path) } }
}
