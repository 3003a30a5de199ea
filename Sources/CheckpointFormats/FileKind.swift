internal import Checkpoints
internal import TensorCore

/// What a file that no format recognises really is.
enum FileKind {
    /// Beginnings of files that people take for weights.
    private static let known: [(head: [UInt8], code: String, what: String)] = [
        ([0x1F, 0x8B], "gzip", "a gzip file: unpack it first"),
        ([0x28, 0xB5, 0x2F, 0xFD], "zstd", "a zstd file: unpack it first"),
        ([0x37, 0x7A, 0xBC, 0xAF], "7z", "a 7z archive: unpack it first"),
    ]

    /// The error for a file that begins with `head`.
    static func refusal(head: [UInt8], file: String) -> CheckpointError {
        if head.isEmpty { return CheckpointError(.malformed, "empty-file", "the file is empty", file: file) }
        if head.starts(with: Array("version https://git-lfs".utf8)) {
            return CheckpointError(
                .malformed, "git-lfs-pointer",
                "this is a Git LFS pointer, not the weights: fetch them with `git lfs pull`", file: file)
        }
        if head.first == 0x3C {
            return CheckpointError(
                .malformed, "html", "this is an HTML or XML page, perhaps the error of a failed download",
                file: file)
        }
        for kind in known where head.starts(with: kind.head) {
            return CheckpointError(.unsupported, kind.code, "this is \(kind.what)", file: file)
        }
        return CheckpointError(
            .malformed, "unknown-format", "this is no weights file that artifact knows", file: file)
    }
}
