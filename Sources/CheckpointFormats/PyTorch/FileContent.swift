/// What a file is, by its first bytes.
enum FileContent: Equatable {
    /// A zip archive, which PyTorch files are since version 1.6.
    case zip
    /// The pickles that PyTorch wrote before.
    case legacyPyTorch
    /// The tar archive that PyTorch 0.1 wrote.
    case tar
    /// Some other pickle.
    case pickle
    /// Something that has nothing to do with PyTorch, in words.
    case other(String)
    case unknown

    /// The bytes of the pickled magic number that old PyTorch files begin with, in any protocol; nil for other files.
    static func legacyMagicByteCount(_ bytes: [UInt8]) -> Int? {
        guard bytes.count >= 2, bytes[0] == 0x80, 2...5 ~= bytes[1] else { return nil }
        // From protocol 4 on there may be a frame around it.
        let start = bytes.count > 2 && bytes[2] == 0x95 ? 11 : 2
        let magic: [UInt8] = [
            0x8A, 0x0A, 0x6C, 0xFC, 0x9C, 0x46, 0xF9, 0x20, 0x6A, 0xA8, 0x50, 0x19, 0x2E,
        ]
        return bytes.dropFirst(start).starts(with: magic) ? start + magic.count : nil
    }

    private static let signatures: [(bytes: [UInt8], description: String)] = [
        ([0x1F, 0x8B], "a gzip file: decompress it first"),
        (Array("BZh".utf8), "a bzip2 file: decompress it first"),
        ([0xFD, 0x37, 0x7A, 0x58, 0x5A], "an xz file: decompress it first"),
        ([0x28, 0xB5, 0x2F, 0xFD], "a zstd file: decompress it first"),
        ([0x37, 0x7A, 0xBC, 0xAF, 0x27, 0x1C], "a 7z archive, which PyTorch cannot load either"),
        (Array("GGUF".utf8), "a GGUF file: rename it to .gguf"),
        (Array("version https://git-lfs".utf8), "a Git LFS pointer: fetch the real file with `git lfs pull`"),
        (Array("<!DOCTYPE".utf8), "a web page: the download failed"),
        (Array("<!doctype".utf8), "a web page: the download failed"),
        (Array("<html".utf8), "a web page: the download failed"),
        (Array("<?xml".utf8), "an XML document: the download failed"),
        (Array("Entry not found".utf8), "an error message: the download failed"),
        (Array("{".utf8), "JSON text"),
        ([0x7F, 0x45, 0x4C, 0x46], "a program"),
    ]

    init(_ bytes: [UInt8]) {
        if bytes.starts(with: [0x50, 0x4B, 3, 4]) || bytes.starts(with: [0x50, 0x4B, 5, 6]) {
            self = .zip
        } else if Self.legacyMagicByteCount(bytes) != nil {
            self = .legacyPyTorch
        } else if let known = Self.signatures.first(where: { bytes.starts(with: $0.bytes) }) {
            self = .other(known.description)
        } else if bytes.count >= 262, bytes[257..<262].elementsEqual("ustar".utf8) {
            self = .tar
        } else if bytes.count >= 9, bytes[8] == 0x7B, bytes[3...7].allSatisfy({ $0 == 0 }) {
            self = .other("a SafeTensors file: rename it to .safetensors")
        } else if bytes.count >= 2, bytes[0] == 0x80, bytes[1] <= 5 {
            self = .pickle
        } else {
            self = .unknown
        }
    }

    /// Whether PyTorch, and nobody else, writes files that begin so.
    static func isPyTorch(_ bytes: [UInt8]) -> Bool {
        legacyMagicByteCount(bytes) != nil || isLegacyTar(bytes)
            || firstMember(of: bytes).map(isPyTorchMember) == true
    }

    /// Whether a tar archive begins with a member that PyTorch 0.1 wrote.
    private static func isLegacyTar(_ bytes: [UInt8]) -> Bool {
        guard bytes.count >= 262, bytes[257..<262].elementsEqual("ustar".utf8) else { return false }
        let name = bytes[..<100].prefix { $0 != 0 }
        return ["sys_info", "pickle", "tensors", "storages"].contains { name.elementsEqual($0.utf8) }
    }

    /// The name in the header that a zip archive begins with.
    private static func firstMember(of bytes: [UInt8]) -> ArraySlice<UInt8>? {
        guard bytes.starts(with: [0x50, 0x4B, 3, 4]), bytes.count >= 30 else { return nil }
        let count = Int(bytes[26]) | Int(bytes[27]) << 8
        return bytes[30...].prefix(count)
    }

    /// Whether a name is one that PyTorch begins its archives with: `NAME/data.pkl`, or `NAME/data/0` in TorchScript.
    private static func isPyTorchMember(_ name: ArraySlice<UInt8>) -> Bool {
        guard let slash = name.firstIndex(of: 0x2F), slash > name.startIndex else { return false }
        let rest = name[(slash + 1)...]
        return rest.elementsEqual("data.pkl".utf8)
            || (rest.starts(with: "data/".utf8) && rest.dropFirst(5).allSatisfy { 0x30...0x39 ~= $0 })
    }
}
