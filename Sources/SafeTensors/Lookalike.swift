/// What a file that is not SafeTensors seems to be, from its first bytes.
enum Lookalike {
    /// Bytes that ``hint(_:)`` needs at most.
    static let prefixByteCount = 64

    private static let signatures: [(prefix: [UInt8], hint: String)] = [
        (
            Array("version https://git-lfs".utf8),
            "this is a Git LFS pointer, not the file: fetch it with git lfs pull"
        ),
        (Array("PK\u{3}\u{4}".utf8), "this is a zip archive, as PyTorch writes"),
        (Array("GGUF".utf8), "this is a GGUF file"),
        ([0x89, 0x48, 0x44, 0x46], "this is an HDF5 file"),
        ([0x93, 0x4E, 0x55, 0x4D, 0x50, 0x59], "this is a NumPy array"),
        ([0x1F, 0x8B], "this is a gzip archive"),
        ([0x28, 0xB5, 0x2F, 0xFD], "this is a Zstandard archive"),
        (Array("{\"".utf8), "this is JSON text"),
    ]

    /// A phrase that says what the file seems to be, or nil.
    static func hint(_ prefix: [UInt8]) -> String? {
        if let match = signatures.first(where: { prefix.starts(with: $0.prefix) }) { return match.hint }
        // A pickle names its protocol first.
        if prefix.count > 2, prefix[0] == 0x80, (2...5).contains(prefix[1]) {
            return "this is a Python pickle"
        }
        let text = prefix.map { $0 | 0x20 }
        if text.starts(with: "<!doctype".utf8.map { $0 | 0x20 }) || text.starts(with: "<html".utf8) {
            return "this is an HTML page, as servers send in place of a file"
        }
        return nil
    }
}
