internal import Integrity
internal import TensorCore

/// Tells a directory that an export made, and nobody has touched since, from one that holds someone's own files.
enum EarlierExport {
    /// True where the directory holds exactly the files of its manifest, each with its digest.
    ///
    /// Reads every byte: what may be deleted is decided by contents, not by names.
    static func isUntouched(at path: String, jobs: Int, isCancelled: @escaping @Sendable () -> Bool) -> Bool {
        guard
            let bytes = try? FileSystem.contents(of: Path.join(path, Manifest.fileName), limit: 1 << 30),
            let manifest = try? Manifest(decoding: bytes), let names = try? FileSystem.names(in: path)
        else { return false }
        let listed = Set(manifest.files.map { ByteKey($0.path) } + [ByteKey(Manifest.fileName)])
        let areFiles = names.allSatisfy { name in
            listed.contains(ByteKey(name))
                && (try? FileSystem.kind(of: Path.join(path, name), followingLinks: false)) == .file
        }
        guard areFiles else { return false }
        let verifier = DirectoryVerifier(jobs: jobs, isCancelled: isCancelled)
        return (try? verifier.verify(directory: path))?.verdict == .verified
    }
}
