import Foundation
import TestSupport
import Testing

@Suite("artifact diff")
struct DiffTests {
    private func fixture(_ name: String) -> String { Repository.path("Tests/Fixtures/formats/" + name) }

    /// The two checkpoints that the oracle makes, and what differs in them.
    private func pair() throws -> (
        directory: TemporaryDirectory, a: String, b: String, expected: [String: Any]
    ) {
        let directory = try TemporaryDirectory()
        try Oracle.run("differences.py", directory.path)
        let json = try JSONSerialization.jsonObject(
            with: Data(contentsOf: URL(filePath: directory.file("expected.json"))))
        return (
            directory, directory.file("a.safetensors"), directory.file("b.safetensors"),
            try #require(json as? [String: Any])
        )
    }

    @Test(.enabled(if: Oracle.isAvailable), arguments: [1, 3])
    func `every number of a comparison is NumPy's`(jobs: Int) throws {
        let (directory, a, b, expected) = try pair()
        defer { _ = directory }
        let result = try artifact("diff", a, b, "--json", "-j", "\(jobs)")
        #expect(result.exitCode == 1)
        let json = try result.json()
        let wanted = try #require(expected["tensors"] as? [String: [String: Any]])
        let found = try #require(json["tensors"] as? [[String: Any]])
        #expect(Set(found.compactMap { $0["name"] as? String }) == Set(wanted.keys))
        #expect(json["same_tensor_count"] as? Int == expected["same"] as? Int)
        for tensor in found {
            let name = try #require(tensor["name"] as? String)
            let want = try #require(wanted[name])
            #expect(tensor["change"] as? String == want["change"] as? String, "\(name)")
            guard let numbers = want["values"] as? [String: Any] else {
                #expect(tensor["values"] is NSNull)
                continue
            }
            let values = try #require(tensor["values"] as? [String: Any])
            for (key, number) in numbers {
                guard let number = number as? Double else {
                    #expect(values[key] is NSNull, "\(name) \(key)")
                    continue
                }
                let own = try #require(values[key] as? Double, "\(name) \(key)")
                #expect(abs(own - number) <= 1e-9 * abs(number), "\(name) \(key): \(own), not \(number)")
            }
        }
    }

    @Test(.enabled(if: Oracle.isAvailable))
    func `reports satisfy their schema, and the largest differences come first`() throws {
        let (directory, a, b, _) = try pair()
        let schema = Repository.path("Formats/reports/diff.schema.json")
        for options in [[], ["--quick"], ["--digests"]] {
            let result = try TestSupport.run(Repository.command, ["diff", a, b, "--json"] + options)
            try Oracle.run("validate.py", schema, try directory.write("report.json", result.output))
            let tensors = try #require(try result.json()["tensors"] as? [[String: Any]])
            #expect(tensors[0]["change"] as? String == "only-in-first")
            #expect(tensors[1]["change"] as? String == "only-in-second")
            #expect(tensors[2]["change"] as? String == "shape")
            if options.isEmpty {
                let sizes = tensors[5...].compactMap {
                    ($0["values"] as? [String: Any])?["relative"] as? Double
                }
                #expect(sizes == sizes.sorted(by: >) && sizes.count > 10)
            }
        }
    }

    @Test(.enabled(if: Oracle.isAvailable))
    func `digests are those that inspect gives`() throws {
        let (directory, a, b, _) = try pair()
        defer { _ = directory }
        let diff = try artifact("diff", a, b, "--json", "--digests", "--select", "layers.*").json()
        let tensors = try #require(diff["tensors"] as? [[String: Any]])
        #expect(tensors.count == 13)
        for (path, side) in [(a, "first"), (b, "second")] {
            let inspected = try artifact("inspect", path, "--json", "--digests").json()
            let rows = try #require(inspected["tensors"] as? [[String: Any]])
            for tensor in tensors {
                let own = (tensor[side] as? [String: Any])?["sha256"] as? String
                let row = rows.first { $0["name"] as? String == tensor["name"] as? String }
                #expect(own != nil && own == row?["sha256"] as? String)
            }
        }
    }

    @Test(.enabled(if: Oracle.isAvailable))
    func `a tolerance, other dtypes and a choice of names decide what counts`() throws {
        let (directory, a, b, _) = try pair()
        defer { _ = directory }
        func exit(_ options: String...) throws -> Int32 {
            try TestSupport.run(Repository.command, ["diff", a, b] + options).exitCode
        }
        #expect(try exit("--select", "same.*") == 0)
        #expect(try exit("--select", "layers.0.*") == 1)
        #expect(try exit("--select", "layers.0.*", "--tolerance", "3.0001") == 0)
        #expect(try exit("--select", "layers.0.*", "--tolerance", "2.9") == 1)
        #expect(try exit("--select", "cast.exact") == 1)
        #expect(try exit("--select", "cast.exact", "--ignore-dtype") == 0)
        #expect(try exit("--select", "cast.*", "--ignore-dtype") == 1)
        #expect(try exit("--select", "cast.*", "--ignore-dtype", "--tolerance", "0.1") == 0)
        #expect(try exit("--select", "cast.*", "--tolerance", "0.1") == 1)
        #expect(try exit("--select", "odd", "--tolerance", "1000") == 1)
        #expect(try exit("--select", "zero.*", "--drop", "*.from", "--drop", "*.sign") == 0)
        #expect(try exit("--quick", "--select", "layers.*") == 0)
        #expect(try exit("--quick", "--select", "cast.*") == 1)
        #expect(try exit("--rename", "s/^first$/second/", "--select", "second") == 0)
        #expect(try exit("--tolerance", "-1") == 2)
        #expect(try exit("--select", "[") == 2)
    }

    @Test func `formats do not matter, only tensors do`() throws {
        let zarr = fixture("orbax/wide_zarr")
        #expect(try artifact("diff", zarr, fixture("orbax/wide_ocdbt")).exitCode == 0)
        #expect(try artifact("diff", zarr, fixture("orbax/wide_zarr3")).exitCode == 0)
        let state = fixture("flax/train_state.msgpack")
        #expect(
            try artifact("diff", state, state, "--root", "params", "--second-root", "ema_params").exitCode
                == 0)
        #expect(
            try artifact("diff", state, state, "--root", "params", "--second-root", "opt_state").exitCode
                == 1)
    }

    @Test func `files beside the weights are compared by what they say`() throws {
        let directory = try TemporaryDirectory()
        for name in ["a", "b"] {
            try FileManager.default.copyItem(atPath: sample, toPath: directory.file(name))
        }
        let (a, b) = (directory.file("a"), directory.file("b"))
        #expect(try artifact("diff", a, b).exitCode == 0)
        let config = directory.file("b/config.json")
        let text = String(decoding: try bytes(of: config), as: UTF8.self)
        // The same values in another layout.
        try directory.write("b/config.json", " " + text)
        #expect(try artifact("diff", a, b).exitCode == 0)
        var json = try #require(
            try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any])
        json["vocab_size"] = 7
        json["new"] = ["x": 1]
        try directory.write("b/config.json", [UInt8](JSONSerialization.data(withJSONObject: json)))
        try directory.write("b/extra.txt", "hello")
        let result = try artifact("diff", a, b, "--json", "--quick")
        #expect(result.exitCode == 1)
        let files = try #require(try result.json()["files"] as? [[String: Any]])
        #expect(files.map { $0["name"] as? String } == ["config.json", "extra.txt"])
        let values = try #require(files[0]["values"] as? [[String: Any]])
        #expect(values.map { $0["path"] as? String } == ["vocab_size", "new"])
        #expect(values[0]["second"] as? Int == 7 && values[1]["first"] == nil)
        #expect(try artifact("diff", a, b).output.contains("vocab_size"))
    }

    @Test func `a checkpoint that is bad or not there is an error of its own`() throws {
        let bad = try artifact("diff", sample, fixture("orbax/bad_crc"), "--json")
        let error = try #require(try bad.json()["error"] as? [String: Any])
        #expect(bad.exitCode == 1 && error["code"] as? String == "crc-mismatch")
        #expect(try artifact("diff", sample, "/nowhere").exitCode == 3)
    }
}
