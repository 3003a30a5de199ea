import StrictJSON
import TensorCore
import TestSupport
import Testing

@testable import Integrity

@Suite("The manifest")
struct ManifestTests {
    static let digest = SHA256Digest.of(Array("x".utf8).raw)
    static let sample = Manifest(
        tool: "artifact", toolVersion: "1", source: .init(format: "pytorch", root: "model", files: []),
        transforms: [.init(kind: "cast", parameters: [.init("dtype", .string("BF16"))])],
        files: [.init(path: "model.safetensors", role: "weights", byteCount: 12, sha256: digest)],
        tensors: [
            .init(
                name: "e\u{301}\n", dtype: .bf16, sourceDType: .f32, shape: [0, .max],
                file: "model.safetensors",
                offset: 12, byteCount: 0, sha256: digest)
        ],
        ties: [.init(name: "b", kept: "e\u{301}\n")], skipped: [.init(name: "x", reason: "y")])

    @Test func `a manifest reads back as it was written`() throws {
        let bytes = Self.sample.encoded()
        let back = try Manifest(decoding: bytes)
        #expect(back.tensors == Self.sample.tensors && back.files == Self.sample.files)
        #expect(back.ties == Self.sample.ties && back.skipped == Self.sample.skipped)
        #expect(back.encoded() == bytes)
    }

    private func edited(_ find: String, _ replacement: String) -> [UInt8] {
        Array(String(decoding: Self.sample.encoded(), as: UTF8.self).replacing(find, with: replacement).utf8)
    }

    @Test(arguments: [
        ("artifact.manifest/v1", "artifact.manifest/v9", "schema"),
        ("\"path\":\"model.safetensors\"", "\"path\":\"../model.safetensors\"", "leaves the directory"),
        ("\"file\":\"model.safetensors\"", "\"file\":\"other.safetensors\"", "not listed"),
        ("\"size\":12", "\"size\":-1", "size"), ("\"size\":12", "\"size\":1.5", "size"),
        ("\"BF16\",\"source_dtype\"", "\"bf16\",\"source_dtype\"", "dtype"),
        ("\"sha256\":\"2d", "\"sha256\":\"zz", "64 hexadecimal digits"),
        ("\"ties\"", "\"tied\"", "ties"), ("{\n  \"schema\"", "[{\n  \"schema\"", "JSON"),
    ])
    func `a manifest that is not right is refused with the place`(
        find: String, replacement: String, word: String
    ) {
        let error = #expect(throws: ManifestError.self) {
            try Manifest(decoding: edited(find, replacement))
        }
        #expect(error?.description.contains(word) == true, "\(String(describing: error))")
    }

    @Test func `a file listed twice is refused`() {
        var manifest = Self.sample
        manifest.files.append(manifest.files[0])
        #expect(throws: ManifestError.self) { try Manifest(decoding: manifest.encoded()) }
    }
}
