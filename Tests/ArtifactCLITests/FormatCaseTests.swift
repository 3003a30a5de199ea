import Foundation
import TestSupport
import Testing

/// The cases of Tests/Fixtures/formats/expected.json: what each file holds, or why it is refused.
@Suite("every case of every format")
struct FormatCaseTests {
    struct Tensor: Decodable {
        let dtype: String
        let shape: [UInt64]
        let nbytes: UInt64
        let sha256: String
    }

    struct Case: Decodable {
        var tensors: [String: Tensor]?
        var error: String?
        var warn: String?
        var subtree: String?
        var tied: [[String]]?
        var base: String?
    }

    static let cases: [String: Case] = {
        let text = (try? bytes(of: Repository.path("Tests/Fixtures/formats/expected.json"))) ?? []
        return (try? JSONDecoder().decode([String: Case].self, from: Data(text))) ?? [:]
    }()

    private static func names(_ isWanted: (Case) -> Bool) -> [String] {
        cases.filter { isWanted($0.value) }.keys.sorted()
    }

    /// The file of a case; those of PyTorch stand with its other fixtures.
    private func path(_ name: String) -> String {
        let path = Repository.path("Tests/Fixtures/formats/" + name)
        return FileManager.default.fileExists(atPath: path)
            ? path : Repository.path("Tests/Fixtures/pytorch/" + name)
    }

    @Test func `all 43 cases are there`() {
        #expect(Self.cases.count == 43)
        for name in Self.cases.keys { #expect(FileManager.default.fileExists(atPath: path(name)), "\(name)") }
    }

    @Test(arguments: names { $0.tensors != nil && $0.base == nil })
    func `has the names, dtypes, shapes and bytes that are expected`(name: String) throws {
        let expected = try #require(Self.cases[name])
        let result = try artifact("inspect", path(name), "--json", "--digests")
        #expect(result.exitCode == 0, "\(result.errors)")
        let json = try result.json()
        try compare(json, expected, name)
        #expect(json["root"] as? String == expected.subtree)
        let warnings = (json["warnings"] as? [[String: Any]] ?? []).compactMap { $0["code"] as? String }
        if let warning = expected.warn { #expect(warnings.contains(warning)) }
        if let tied = expected.tied { #expect(json["tied"] as? [[String]] == tied) }
    }

    private func compare(_ json: [String: Any], _ expected: Case, _ name: String) throws {
        let tensors = try #require(json["tensors"] as? [[String: Any]])
        let wanted = try #require(expected.tensors)
        #expect(Set(tensors.compactMap { $0["name"] as? String }) == Set(wanted.keys))
        for tensor in tensors {
            let want = try #require(wanted[tensor["name"] as? String ?? ""])
            #expect(tensor["dtype"] as? String == want.dtype)
            #expect((tensor["shape"] as? [Any])?.count == want.shape.count)
            #expect((tensor["shape"] as? [NSNumber])?.map(\.uint64Value) == want.shape)
            #expect((tensor["nbytes"] as? NSNumber)?.uint64Value == want.nbytes)
            #expect(tensor["sha256"] as? String == want.sha256, "\(name): \(tensor["name"] ?? "")")
        }
    }

    @Test(arguments: names { $0.tensors != nil && $0.base == nil })
    func `exports to SafeTensors that hold the same bytes and verify`(name: String) throws {
        let directory = try TemporaryDirectory()
        let exported = try artifact(
            "export", path(name), "--untie", "--allow-unmatched", "-o", directory.file("out"))
        #expect(exported.exitCode == 0, "\(exported.errors)")
        #expect(try artifact("verify", directory.file("out")).exitCode == 0)
        let json = try artifact("inspect", directory.file("out"), "--json", "--digests").json()
        try compare(json, try #require(Self.cases[name]), name)
    }

    @Test(arguments: names { $0.base != nil })
    func `merges into its base with the bytes that are expected`(name: String) throws {
        let expected = try #require(Self.cases[name])
        let directory = try TemporaryDirectory()
        let exported = try artifact(
            "export", path(try #require(expected.base)), "--merge", path(name), "-o", directory.file("out"))
        #expect(exported.exitCode == 0, "\(exported.errors)")
        let json = try artifact("inspect", directory.file("out"), "--json", "--digests").json()
        try compare(json, expected, name)
    }

    @Test(arguments: names { $0.error != nil })
    func `is refused by code, and nothing is left behind`(name: String) throws {
        let code = try #require(Self.cases[name]?.error).prefix { $0 != " " && $0 != "," }
        let result = try artifact("inspect", path(name), "--json")
        let error = try #require(try result.json()["error"] as? [String: Any])
        let actual = try #require(error["code"] as? String)
        #expect(actual == code)
        #expect(result.exitCode == (error["class"] as? String == "unsupported" ? 3 : 1))
        if name.hasPrefix("mal/") { #expect(error["class"] as? String == "unsafe") }
        let directory = try TemporaryDirectory()
        let exported = try artifact("export", path(name), "-o", directory.file("out"))
        #expect(exported.exitCode == result.exitCode)
        #expect(try FileManager.default.contentsOfDirectory(atPath: directory.path).isEmpty)
    }
}
