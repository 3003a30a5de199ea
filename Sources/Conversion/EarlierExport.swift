internal import Integrity
internal import TensorCore

/// Tells a directory that an export made from one that holds someone's own files.
enum EarlierExport {
    /// True where the directory has a readable manifest and nothing that the manifest does not list.
    static func isComplete(at path: String) -> Bool {
        guard
            let bytes = try? FileSystem.contents(of: Path.join(path, Manifest.fileName), limit: 1 << 30),
            let manifest = try? Manifest(decoding: bytes), let names = try? FileSystem.names(in: path)
        else { return false }
        let listed = Set(manifest.files.map { ByteKey($0.path) } + [ByteKey(Manifest.fileName)])
        return names.allSatisfy { listed.contains(ByteKey($0)) }
    }
}
