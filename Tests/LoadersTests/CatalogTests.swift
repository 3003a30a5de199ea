import Foundation
import TestSupport
import Testing

@testable import Loaders

@Suite("Rule files")
struct CatalogTests {
    private func rules(_ text: String) throws -> LoaderProfile {
        try LoaderProfile(parsing: Array(text.utf8), file: "mine.json")
    }

    private func profile(_ members: String, rule: String = "") -> String {
        #"{"schema":"artifact.loader/v1","loader":"mine","title":"t","tested":"1","# + members
            + #""rules":[\#(rule)]}"#
    }

    private func rule(test: String) -> String {
        #"{"id":"r","test":\#(test),"verdict":"refuses","reason":"a","fix":"b","evidence":"read","#
            + #""source":{"repository":"x/y","version":"1"}}"#
    }

    @Test(.enabled(if: Oracle.isAvailable))
    func `what is built in is what Formats holds`() throws {
        let directory = try TemporaryDirectory()
        let result = try run(
            try #require(Oracle.python),
            [Repository.path("scripts/embed-loaders"), directory.file("x.swift")])
        #expect(result.exitCode == 0, "\(result.errors)")
        let built = try bytes(of: Repository.path("Sources/Loaders/EmbeddedProfiles.swift"))
        #expect(try bytes(of: directory.file("x.swift")) == built, "run: scripts/embed-loaders")
    }

    @Test(.enabled(if: Oracle.isAvailable))
    func `the files of Formats satisfy their schema`() throws {
        let schema = Repository.path("Formats/loaders/loader.schema.json")
        for (file, _) in EmbeddedProfiles.all {
            try Oracle.run("validate.py", schema, Repository.path("Formats/loaders/" + file))
        }
    }

    @Test func `a name stands for all versions and an id for one`() throws {
        let catalog = try LoaderCatalog()
        #expect(catalog.profiles(named: "transformers").map(\.id) == ["transformers@4", "transformers@5"])
        #expect(catalog.profiles(named: "transformers@5").map(\.id) == ["transformers@5"])
        #expect(catalog.profiles(named: "nothing").isEmpty)
        #expect(catalog.profiles.map(\.id) == catalog.profiles.map(\.id).sorted())
    }

    @Test func `a loader has the rules of its base but for those that it replaces`() throws {
        var catalog = try LoaderCatalog()
        let own = rule(test: #"{"kind":"dtype","dtypes":["F32"]}"#).replacing(
            #""id":"r""#, with: #""id":"dtype""#)
        try catalog.add([try rules(profile(#""extends":"safetensors","#, rule: own))])
        let mine = try #require(catalog.profiles(named: "mine").first)
        let found = catalog.rules(of: mine)
        #expect(found.filter { $0.id == "dtype" }.count == 1 && found.contains { $0.id == "f4-rows" })
        #expect(catalog.reads(of: mine).pattern == "*.safetensors")
    }

    @Test func `a loader whose base is not known is refused`() throws {
        var catalog = try LoaderCatalog()
        let mine = try rules(profile(#""extends":"nothing","#))
        #expect(throws: LoaderRulesError.self) { try catalog.add([mine]) }
        let chained = try rules(profile(#""extends":"vllm","#))
        #expect(throws: LoaderRulesError.self) { try catalog.add([chained]) }
    }

    @Test(arguments: [
        (#"{"kind":"no-such-test"}"#, "no-such-test"), (#"{"kind":"dtype","dtypes":["F31"]}"#, "F31"),
        (#"{"kind":"dtype"}"#, "dtypes is missing"), (#"{"kind":"header-bytes","over":-1}"#, "over is not"),
        (#"{"kind":"index-absent","x":1}"#, "no member \"x\""),
        (#"{"kind":"fault","codes":[1]}"#, "codes is not"),
        (#"[]"#, "not an object"),
    ])
    func `a rule with a test that does not exist is refused with its place`(test: String, message: String) {
        let error = #expect(throws: LoaderRulesError.self) { try rules(profile("", rule: rule(test: test))) }
        #expect(error?.description.contains(message) == true, "\(String(describing: error))")
        #expect(error?.description.hasPrefix("mine.json: rules[0]") == true)
    }

    @Test(arguments: [
        "", "[]", "{}", #"{"schema":"artifact.loader/v2"}"#, #"{"schema":"artifact.loader/v1","loader":"x"}"#,
        "\u{FEFF}{}",
    ])
    func `a document that is no profile is refused`(text: String) {
        #expect(throws: LoaderRulesError.self) { try rules(text) }
    }

    @Test(arguments: [
        #"{"kind":"name","empty":true}"#, #"{"kind":"name","longerThan":3}"#,
        #"{"kind":"name","prefixes":["ab"]}"#,
        #"{"kind":"name","parts":["bc"]}"#, #"{"kind":"name","control":true}"#,
        #"{"kind":"tensor-count","over":1}"#,
        #"{"kind":"metadata-format","allowed":["pt"],"absent":true}"#,
        #"{"kind":"oddity","codes":["emptyName"]}"#,
        #"{"kind":"index-absent"}"#, #"{"kind":"file-present","pattern":"a*.safetensors"}"#,
    ])
    func `each further test is met by a model that has what it names, and not by one without`(test: String)
        throws
    {
        func verdict(_ header: String) throws -> LoaderVerdict {
            let directory = try TemporaryDirectory()
            let count = header.utf8.count
            let prefix = (0..<8).map { UInt8(truncatingIfNeeded: count >> (8 * $0)) }
            let isBare = header.contains("pt")
            try directory.write(isBare ? "z.safetensors" : "a.safetensors", prefix + Array(header.utf8))
            if !isBare { try directory.write("b.safetensors", [2, 0, 0, 0, 0, 0, 0, 0] + Array("{}".utf8)) }
            var catalog = try LoaderCatalog()
            try catalog.add([try rules(profile("", rule: rule(test: test)))])
            let mine = try #require(catalog.profiles(named: "mine").first)
            return try LoaderJudge(try ModelFiles(path: directory.path), catalog: catalog).report(on: mine)
                .verdict
        }
        let entry = #"{"dtype":"U8","shape":[0],"data_offsets":[0,0]}"#
        #expect(try verdict(#"{"":\#(entry),"abcd":\#(entry),"\u0001":\#(entry)}"#) == .refuses)
        #expect(try verdict(#"{"__metadata__":{"format":"pt"},"x":\#(entry)}"#) == .loads)
    }
}
