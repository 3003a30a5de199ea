import Foundation
import TestSupport
import Testing

@Suite("artifact verify")
struct VerifyTests {
    let directory: TemporaryDirectory
    var out: String { directory.file("out") }

    init() throws {
        directory = try TemporaryDirectory()
        let result = try artifact("export", sample, "-o", directory.file("out"), "--max-shard-size", "200KB")
        try #require(result.exitCode == 0, "\(result.errors)")
    }

    private func change(_ name: String, _ body: (inout [UInt8]) throws -> Void) throws {
        var contents = try bytes(of: out + "/" + name)
        try body(&contents)
        try Data(contents).write(to: URL(fileURLWithPath: out + "/" + name))
    }

    /// The findings of severity `error` as `code file tensor`.
    private func findings(code: Int32 = 1, path: String? = nil) throws -> [String] {
        let result = try artifact("verify", path ?? out, "--json")
        #expect(result.exitCode == code, "\(result.output)")
        let list = try #require(try result.json()["findings"] as? [[String: Any]])
        return list.filter { $0["severity"] as? String == "error" }.map { finding in
            ["code", "file", "tensor"].compactMap { finding[$0] as? String }.joined(separator: " ")
        }.sorted()
    }

    /// Where a tensor's bytes are, by the manifest.
    private func place(of tensor: String) throws -> (file: String, offset: Int, count: Int) {
        let data = Data(try bytes(of: out + "/artifact-manifest.json"))
        let manifest = try #require(try JSONSerialization.jsonObject(with: data) as? [String: Any])
        let tensors = try #require(manifest["tensors"] as? [[String: Any]])
        let entry = try #require(tensors.first { $0["name"] as? String == tensor })
        return (
            try #require(entry["file"] as? String), try #require(entry["offset"] as? Int),
            try #require(entry["nbytes"] as? Int)
        )
    }

    @Test func `an untouched export is verified`() throws {
        let result = try artifact("verify", out)
        #expect(result.exitCode == 0 && result.output.contains("verified"))
        #expect(try findings(code: 0).isEmpty)
    }

    @Test(arguments: ["model.norm.weight", "model.layers.1.mlp.up_proj.weight", "model.embed_tokens.weight"])
    func `a flipped bit is reported with its file and its tensor`(tensor: String) throws {
        let place = try place(of: tensor)
        for at in [place.offset, place.offset + place.count - 1] {
            try change(place.file) { $0[at] ^= 0x10 }
            #expect(
                try findings() == ["file-altered \(place.file)", "tensor-altered \(place.file) \(tensor)"])
            let text = try artifact("verify", out).output
            #expect(text.contains(place.file) && text.contains("tensor \(tensor)"))
            try change(place.file) { $0[at] ^= 0x10 }
        }
        #expect(try artifact("verify", out).exitCode == 0)
    }

    @Test func `a truncated file is reported with the tensors that it lost`() throws {
        let place = try place(of: "model.norm.weight")
        try change(place.file) { $0.removeLast() }
        let found = try findings()
        #expect(found.contains("file-truncated \(place.file)"))
        #expect(found.contains { $0.hasPrefix("tensor-truncated \(place.file)") })
    }

    @Test func `a longer file is reported`() throws {
        let place = try place(of: "model.norm.weight")
        try change(place.file) { $0.append(0) }
        #expect(try findings() == ["file-longer \(place.file)", "trailingBytes \(place.file)"])
    }

    @Test func `a missing shard is reported`() throws {
        let place = try place(of: "model.norm.weight")
        try FileManager.default.removeItem(atPath: out + "/" + place.file)
        #expect(
            try findings() == [
                "file-missing \(place.file)", "shardMissing model.safetensors.index.json",
            ])
    }

    @Test func `a missing side file is reported`() throws {
        try FileManager.default.removeItem(atPath: out + "/tokenizer.json")
        #expect(try findings() == ["file-missing tokenizer.json"])
    }

    @Test(arguments: ["extra.py", "sub/deep.bin", "z.safetensors.tmp", ".hidden"])
    func `a file that the manifest does not list is reported`(name: String) throws {
        try FileManager.default.createDirectory(atPath: out + "/sub", withIntermediateDirectories: true)
        try directory.write("out/" + name, "x")
        #expect(try findings() == ["file-extra \(name)"])
    }

    @Test func `an altered config is reported`() throws {
        try change("config.json") { $0[20] ^= 1 }
        #expect(try findings() == ["file-altered config.json"])
    }

    @Test func `two shards with their names exchanged are reported`() throws {
        let names = ["model-00001-of-00004.safetensors", "model-00002-of-00004.safetensors"]
        let contents = try names.map { try bytes(of: out + "/" + $0) }
        try Data(contents[0]).write(to: URL(fileURLWithPath: out + "/" + names[1]))
        try Data(contents[1]).write(to: URL(fileURLWithPath: out + "/" + names[0]))
        let found = try findings()
        #expect(found.contains { $0.hasPrefix("tensor-missing \(names[0])") })
        #expect(found.contains { $0.hasPrefix("tensor-extra \(names[1])") })
    }

    @Test func `an index that sends a tensor to another file is reported`() throws {
        try change("model.safetensors.index.json") { contents in
            let text = String(decoding: contents, as: UTF8.self)
            let place = try place(of: "model.norm.weight")
            let line = "\"model.norm.weight\": \"\(place.file)\""
            contents = Array(
                text.replacing(line, with: "\"model.norm.weight\": \"model-00001-of-00004.safetensors\"").utf8
            )
        }
        let found = try findings()
        #expect(found.contains("tensorMissing model.safetensors.index.json model.norm.weight"))
        #expect(found.contains("file-altered model.safetensors.index.json"))
    }

    @Test func `a damaged header is told from damaged tensors`() throws {
        try change("model-00002-of-00004.safetensors") { contents in
            // One digit of an offset.
            let text = contents[8..<2000]
            let at = try #require(text.indices.first { contents[$0] == UInt8(ascii: "[") })
            contents[at + 1] = contents[at + 1] == 0x31 ? 0x32 : 0x31
        }
        let found = try findings()
        #expect(found.contains("file-altered model-00002-of-00004.safetensors"))
        #expect(!found.contains { $0.hasPrefix("tensor-altered") })
    }

    @Test(arguments: ["{", "[]", "{\"schema\": \"artifact.manifest/v1\"}"])
    func `a manifest that is not one is reported, never taken for verified`(text: String) throws {
        try directory.write("out/artifact-manifest.json", text)
        #expect(try findings() == ["manifest-invalid artifact-manifest.json"])
    }

    @Test func `without a manifest sound files are undecided, and their structure can be checked alone`()
        throws
    {
        try FileManager.default.removeItem(atPath: out + "/artifact-manifest.json")
        #expect(try findings(code: 4).isEmpty)
        #expect(try artifact("verify", out, "--structure").exitCode == 0)
    }

    @Test func `one file of an export is verified against the manifest beside it`() throws {
        let file = out + "/model-00001-of-00004.safetensors"
        #expect(try findings(code: 0, path: file).isEmpty)
        try change("model-00001-of-00004.safetensors") { $0[$0.count - 1] ^= 1 }
        #expect(try findings(code: 1, path: file).count == 2)
    }

    @Test func `a FIFO and a link to nowhere are reported without waiting`() throws {
        try FileManager.default.removeItem(atPath: out + "/tokenizer.json")
        mkfifo(out + "/tokenizer.json", 0o600)
        #expect(try findings() == ["not-a-regular-file tokenizer.json"])
        unlink(out + "/tokenizer.json")
        symlink("nowhere", out + "/tokenizer.json")
        let result = try artifact("verify", out)
        #expect(result.exitCode != 0 && result.output.contains("tokenizer.json"))
    }

    @Test func `a checkpoint with checksums of its own is verified by them`() throws {
        #expect(try artifact("verify", sample).exitCode == 0)
    }
}

/// Findings of an adversary.
@Suite("Verification cannot be talked round")
struct VerifyAdversaryTests {
    let directory: TemporaryDirectory
    var out: String { directory.file("out") }

    init() throws {
        directory = try TemporaryDirectory()
        try #require(try artifact("export", sample, "-o", directory.file("out")).exitCode == 0)
    }

    private func editManifest(_ find: String, _ replacement: String) throws {
        let path = out + "/artifact-manifest.json"
        let text = String(decoding: try bytes(of: path), as: UTF8.self)
        let edited = try text.replacing(Regex(find), with: replacement, maxReplacements: 1)
        try #require(edited != text)
        try Data(edited.utf8).write(to: URL(fileURLWithPath: path))
    }

    @Test func `a manifest whose tensor digest is false is not verified, though its file digest is true`()
        throws
    {
        try editManifest(
            #""nbytes": 131072,\n +"sha256": "[0-9a-f]{8}"#, "\"nbytes\": 131072, \"sha256\": \"00000000")
        let result = try artifact("verify", out)
        #expect(result.exitCode == 1 && result.output.contains("manifest-inconsistent"))
    }

    @Test func `offsets near the end of 64 bits are refused and do not trap`() throws {
        try editManifest(#""offset": \d+"#, "\"offset\": 18446744073709551615")
        var contents = try bytes(of: out + "/model.safetensors")
        contents[9] = 0x21
        try Data(contents).write(to: URL(fileURLWithPath: out + "/model.safetensors"))
        for option in ["--json", "--structure"] {
            #expect(try artifact("verify", out, option).exitCode == 1)
        }
    }

    @Test(arguments: ["config.json", "tokenizer.json", "model.safetensors"])
    func `any one file of an export is verified by the manifest beside it`(name: String) throws {
        #expect(try artifact("verify", out + "/" + name).exitCode == 0)
        var contents = try bytes(of: out + "/" + name)
        contents[contents.count - 2] ^= 1
        try Data(contents).write(to: URL(fileURLWithPath: out + "/" + name))
        #expect(try artifact("verify", out + "/" + name).exitCode == 1)
    }

    @Test func `an export whose files are all links is verified through them`() throws {
        let linked = directory.file("linked")
        try FileManager.default.createDirectory(atPath: linked, withIntermediateDirectories: true)
        for name in try FileManager.default.contentsOfDirectory(atPath: out) {
            symlink(out + "/" + name, linked + "/" + name)
        }
        #expect(try artifact("verify", linked).exitCode == 0)
    }
}
