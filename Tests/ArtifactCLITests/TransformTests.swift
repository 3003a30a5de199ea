import Foundation
import TestSupport
import Testing

@Suite("artifact export with transforms, reshard, cast, cat")
struct TransformTests {
    let directory: TemporaryDirectory
    var out: String { directory.file("out") }

    init() throws { directory = try TemporaryDirectory() }

    private func done(_ arguments: String...) throws {
        let result = try run(Repository.command, arguments)
        try #require(result.exitCode == 0, "\(result.errors)")
    }

    private func read(_ path: String) throws -> [String: [String: Any]] {
        try #require(try Oracle.run("safetensors_digests.py", path).json() as? [String: [String: Any]])
    }

    /// What an export would do, as the kinds of its transforms.
    private func plan(_ arguments: String...) throws -> [String: Any] {
        let result = try run(
            Repository.command, ["export", sample, "-o", out, "--dry-run", "--json"] + arguments)
        try #require(result.exitCode == 0, "\(result.errors)")
        return try result.json()
    }

    private func kinds(_ report: [String: Any]) -> [String] {
        (report["transforms"] as? [[String: Any]] ?? []).map { $0["kind"] as? String ?? "" }
    }

    @Test func `transforms apply in the order of the command line, however they are spelled`() throws {
        let report = try plan(
            "--rename=s/^model\\.//", "--dtype", "bf16", "--drop", "layers.1.*", "--rename", "s/^layers/blk/",
            "--tie", "--select", "blk.*", "--select=norm.*", "--dtype=*norm*=f32", "--untie=blk.0.*")
        #expect(
            kinds(report) == ["rename", "cast", "drop", "rename", "tie", "select", "cast", "untie"])
        let transforms = try #require(report["transforms"] as? [[String: Any]])
        #expect(transforms[5]["patterns"] as? [String] == ["blk.*", "norm.*"])
        #expect(
            kinds(try plan("--drop", "*.norm.*,x", "--allow-unmatched", "--rename", "s/a/b/")) == [
                "drop", "rename",
            ])
        #expect(
            kinds(try plan("--rename", "s/a/b/", "--drop", "x", "--allow-unmatched")) == ["rename", "drop"])
    }

    @Test(.enabled(if: Oracle.isAvailable))
    func `renamed, chosen and cast tensors are what the Python package reads`() throws {
        try done(
            "export", sample, "-o", out, "--dtype", "bf16", "--rename", "s/^model\\.//", "--dtype",
            "norm.*=f32",
            "--drop", "layers.1.*")
        let reference = try ReferenceDigests.model("tiny-llama")
        let tensors = try read(out)
        let expected = reference.tensors.keys.filter { $0 != "lm_head.weight" && !$0.contains("layers.1.") }
        #expect(Set(tensors.keys) == Set(expected.map { $0.replacing(/^model\./, with: "") }))
        for (name, tensor) in tensors {
            let original = "model." + name
            let isNorm = name == "norm.weight"
            #expect(tensor["dtype"] as? String == (isNorm ? "F32" : "BF16"))
            #expect(
                tensor["sha256"] as? String
                    == (isNorm ? reference.tensors[original]?.sha256 : reference.cast["BF16"]?[original]),
                "\(name)")
        }
        #expect(try artifact("verify", out).exitCode == 0)
    }

    @Test(.enabled(if: Oracle.isAvailable))
    func `tensors cast by name to narrow dtypes are what NumPy makes of them`() throws {
        let plain = directory.file("plain")
        try done("export", sample, "-o", plain)
        try done(
            "cast", sample, "*.q_proj.weight=fp8", "*.k_proj.weight=f8_e5m2", "*norm*=i8",
            "*.up_proj.weight=f64",
            "*.down_proj.weight=f4", "*.o_proj.weight=f6_e2m3", "-o", out)
        let counts = try Oracle.run("narrow_casts.py", plain, out).json() as? [String: Int]
        #expect(
            counts == ["F8_E4M3": 3, "F8_E5M2": 3, "I8": 7, "F64": 3, "F4": 3, "F6_E2M3": 3, "F32": 7])
        #expect(try artifact("verify", out).exitCode == 0)
    }

    @Test(.enabled(if: Oracle.isAvailable))
    func `tied names get bytes of their own where that is asked`() throws {
        try done("export", sample, "-o", out, "--untie=lm_head.weight")
        let reference = try ReferenceDigests.model("tiny-llama")
        let tensors = try read(out)
        #expect(Set(tensors.keys) == Set(reference.tensors.keys))
        #expect(
            tensors["lm_head.weight"]?["sha256"] as? String == reference.tensors["lm_head.weight"]?.sha256)
    }

    @Test(.enabled(if: Oracle.isAvailable))
    func `the manifest and the report list transforms in order, as their schemas have it`() throws {
        let result = try artifact(
            "export", sample, "-o", out, "--json", "--rename", "s/q_proj/query/", "--dtype", "bf16", "--drop",
            "*.2.*",
            "--untie")
        try Oracle.run(
            "validate.py", Repository.path("Formats/reports/export.schema.json"),
            try directory.write("report.json", result.output))
        try Oracle.run(
            "validate.py", Repository.path("Formats/manifest/manifest.schema.json"),
            out + "/artifact-manifest.json")
        let manifest = try #require(
            try JSONSerialization.jsonObject(with: Data(try bytes(of: out + "/artifact-manifest.json")))
                as? [String: Any])
        #expect(kinds(manifest) == ["rename", "cast", "drop", "untie", "edit"])
        let rename = try #require((manifest["transforms"] as? [[String: Any]])?.first)
        #expect(rename["expression"] as? String == "s/q_proj/query/" && rename["tensors"] as? Int == 3)
    }

    @Test func `a pattern that fits nothing ends with exit code 2 and makes nothing`() throws {
        let result = try artifact("export", sample, "-o", out, "--drop", "*.q_porj.weight")
        #expect(result.exitCode == 2 && result.errors.contains("q_proj.weight"))
        #expect(!FileManager.default.fileExists(atPath: out))
        let warned = try artifact("export", sample, "-o", out, "--drop", "*.nothing", "--allow-unmatched")
        #expect(warned.exitCode == 0 && warned.errors.contains("pattern-unmatched"))
    }

    @Test(arguments: [
        ["--dtype", "bf17"], ["--rename", "s/(/x/"], ["--drop", "a["], ["--select", ""], ["--tie="],
        ["--overflow", "wrap"], ["--layout", "flat"],
    ])
    func `options that cannot be read are wrong usage`(arguments: [String]) throws {
        let result = try run(Repository.command, ["export", sample, "-o", out] + arguments)
        #expect(result.exitCode == 2 && !result.errors.isEmpty)
    }

    @Test(.enabled(if: Oracle.isAvailable))
    func `reshard changes files and no tensor`() throws {
        let shards = directory.file("shards")
        try done("reshard", sample, "-o", shards, "--max-shard-size", "200KB", "--layout", "balanced")
        let sizes = try FileManager.default.contentsOfDirectory(atPath: shards).filter {
            $0.hasSuffix(".safetensors")
        }.map { try bytes(of: shards + "/" + $0).count }
        #expect(sizes.count == 4 && sizes.min()! * 10 > sizes.max()! * 9)
        try done("reshard", shards, "-o", out)
        let digests = try read(shards).mapValues { $0["sha256"] as? String }
        #expect(try digests == read(out).mapValues { $0["sha256"] as? String })
        #expect(Set(try read(out).values.map { $0["file"] as? String }) == ["model.safetensors"])
    }

    @Test func `cast is an export with a dtype`() throws {
        try done("export", sample, "-o", out, "--dtype", "bf16", "--dtype", "*norm*=f32")
        let cast = directory.file("cast")
        try done("cast", sample, "bf16", "*norm*=f32", "-o", cast)
        #expect(try bytes(of: cast + "/model.safetensors") == bytes(of: out + "/model.safetensors"))
        #expect(try bytes(of: cast + "/config.json") == bytes(of: out + "/config.json"))
        #expect(try artifact("cast", sample, "-o", directory.file("x")).exitCode == 2)
        #expect(
            try artifact("cast", sample, "bf16", "--dtype", "f16", "-o", directory.file("x")).exitCode == 2)
    }

    @Test func `cat joins what was divided`() throws {
        try done("export", sample, "-o", out)
        let (first, second) = (directory.file("first"), directory.file("second"))
        try done("export", sample, "-o", first, "--drop", "*.2.*")
        try done("export", sample, "-o", second, "--select", "*.2.*")
        let joined = directory.file("joined")
        try done("cat", first, second + "/model.safetensors", "-o", joined)
        #expect(try artifact("verify", joined).exitCode == 0)
        func tensors(_ path: String) throws -> [String: String] {
            let report = try artifact("inspect", path, "--digests", "--json").json()
            let list = try #require(report["tensors"] as? [[String: Any]])
            return Dictionary(
                uniqueKeysWithValues: list.map {
                    ($0["name"] as? String ?? "", $0["sha256"] as? String ?? "")
                })
        }
        #expect(try tensors(joined) == tensors(out))
        #expect(try bytes(of: joined + "/tokenizer.json") == bytes(of: out + "/tokenizer.json"))
    }

    @Test func `cat refuses two tensors of one name and says where they are`() throws {
        try done("export", sample, "-o", out, "--select", "model.norm.weight")
        let result = try artifact("cat", out, sample, "-o", directory.file("joined"))
        #expect(result.exitCode == 1 && result.errors.contains("model.norm.weight"))
        #expect(result.errors.contains(out) && result.errors.contains(sample))
    }

    @Test func `cat writes the bytes of a tensor`() throws {
        let file = directory.file("bytes")
        let command = "'\(Repository.command)' cat '\(sample)' --tensor model.norm.weight"
        try #require(try run("/bin/sh", ["-c", command + " > '\(file)'"]).exitCode == 0)
        let report = try artifact("inspect", sample, "--digests", "--json").json()
        let tensor = try #require(
            (report["tensors"] as? [[String: Any]])?.first { $0["name"] as? String == "model.norm.weight" })
        let digest = try run("/usr/bin/sha256sum", [file]).output.prefix(64)
        #expect(String(digest) == tensor["sha256"] as? String)
        try #require(try run("/bin/sh", ["-c", command + " --dtype bf16 > '\(file)'"]).exitCode == 0)
        #expect(try bytes(of: file).count == 128)
        #expect(try artifact("cat", sample, "--tensor", "model.nrom.weight").exitCode == 2)
        #expect(try artifact("cat", sample).exitCode == 2)
    }
}
