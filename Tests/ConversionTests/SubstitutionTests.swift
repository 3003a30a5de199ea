import Foundation
import TensorCore
import TestSupport
import Testing

@testable import Conversion

@Suite("Renaming")
struct SubstitutionTests {
    private func replaced(_ expression: String, _ name: String) throws -> String? {
        try Substitution(parsing: expression).replace(in: TensorName(name))?.string
    }

    @Test(
        arguments: [
            ("s/^model\\.//", "model.norm.weight", "norm.weight"), ("s|a.b|a/b|", "xa.by", "xa/by"),
            ("s/[0-9]+/<&>/", "layers.12.w3", "layers.<12>.w3"),
            ("s/[0-9]+/<&>/g", "layers.12.w3", "layers.<12>.w<3>"),
            ("s/(q|k|v)_proj\\.(.*)/\\2.\\1/", "attn.k_proj.weight", "attn.weight.k"),
            ("s/WEIGHT/w/i", "a.weight", "a.w"), ("s/a\\/b/c/", "a/b", "c"), ("s,a\\,b,c,", "a,b", "c"),
            ("s/x/\\&\\\\/", "x", "&\\"), ("s/x/a\\/b/", "x", "a/b"), ("s/(a)|b/[\\1]/g", "ab", "[a][]"),
            ("s/^/pre./", "w", "pre.w"), ("s/$/.w/", "a", "a.w"), ("s/x*/-/g", "abc", "-a-b-c-"),
            ("s/é/e/", "café", "cafe"), ("s/a{2,3}/b/", "aaaa", "ba"), ("s/a+?/b/", "aaa", "baa"),
            ("s/(?:ab)+/x/", "ababc", "xc"), ("s/\\d\\D\\w\\W/x/", "1aa.", "x"),
            ("s/[\\d_]+/x/", "a_1", "ax"),
            ("s#/#.#g", "a/b/c", "a.b.c"), ("s/a|ab/x/", "ab", "xb"), ("s/[^.]+\\.//", "a.b.c", "b.c"),
        ] as [(String, String, String)])
    func `names change as with sed`(expression: String, name: String, expected: String) throws {
        #expect(try replaced(expression, name) == expected)
    }

    @Test func `a name without a match is left alone`() throws {
        #expect(try replaced("s/x/y/", "abc") == nil)
    }

    @Test func `one spelling of a character does not match another`() throws {
        #expect(try replaced("s/caf\u{E9}/x/", "cafe\u{301}") == nil)
        #expect(try replaced("s/e/x/", "cafe\u{301}") == "cafx\u{301}")
    }

    @Test func `bytes that are no UTF-8 stay as they are`() throws {
        let name = TensorName(utf8: [0x61, 0xFF, 0x62])
        #expect(try Substitution(parsing: "s/b/c/").replace(in: name)?.utf8 == [0x61, 0xFF, 0x63])
    }

    @Test(
        arguments: [
            ("", 1), ("y/a/b/", 1), ("s", 1), ("sxaxbx", 2), ("s/a/b", 5), ("s/a", 3), ("s/a/b/x", 7),
            ("s//b/", 3),
            ("s/(a/b/", 3), ("s/a)/b/", 4), ("s/[a/b/", 3), ("s/*a/b/", 3), ("s/a**/b/", 5),
            ("s/a{3,1}/b/", 4),
            ("s/a{2000}/b/", 4), ("s/a/\\1/", 5), ("s/(a)/\\2/", 7), ("s/\\1/b/", 3), ("s/\\q/b/", 3),
            ("s/(?=a)/b/", 3), ("s/a/\\n/", 5), ("s/^*/b/", 3),
        ] as [(String, Int)])
    func `an expression that cannot be read is refused at its character`(expression: String, position: Int) {
        let error = #expect(throws: PatternError.self) { try Substitution(parsing: expression) }
        #expect(error?.position == position, "\(error?.description ?? "")")
    }

    @Test(arguments: [
        "s/(a*)*b/x/", "s/(a|a)*b/x/", "s/(a|aa)+$b/x/", "s/(.*)*(.*)*(.*)*b/x/", "s/((a{0,50}){0,50})b/x/",
        "s/(a?){200}a{200}b/x/", "s/^(([a-z])+.)+[A-Z]([a-z])+$/x/",
    ])
    func `a pattern that takes others for ever ends at once`(expression: String) throws {
        #expect(try replaced(expression, String(repeating: "a", count: 2000)) == nil)
    }

    @Test func `a pattern that would fill the memory is refused`() {
        #expect(throws: PatternError.self) { try Substitution(parsing: "s/((a{1000}){1000}){1000}/x/") }
        let deep = String(repeating: "(", count: 10_000) + String(repeating: ")", count: 10_000)
        #expect(throws: PatternError.self) { try Substitution(parsing: "s/\(deep)/x/") }
    }

    @Test(.enabled(if: Oracle.isAvailable))
    func `what patterns match is what Python's re matches`() throws {
        var generator = SeededGenerator(seed: 11)
        func pattern(_ depth: Int) -> String {
            let atoms = ["a", "b", ".", "[ab]", "[^a]", "c", "\\.", "\\w"]
            switch Int.random(in: 0..<10, using: &generator) {
            case 0..<4: return atoms.randomElement(using: &generator)!
            case 4 where depth > 0: return "(" + pattern(depth - 1) + "|" + pattern(depth - 1) + ")"
            case 5, 6:
                return atoms.randomElement(using: &generator)!
                    + ["*", "+", "?", "{2}", "{1,2}", "*?", "+?"].randomElement(using: &generator)!
            case 7 where depth > 0: return "(" + pattern(depth - 1) + ")"
            default: return depth > 0 ? pattern(depth - 1) + pattern(depth - 1) : "a"
            }
        }
        var cases: [[String]] = []
        for _ in 0..<3000 {
            let name = String(
                (0..<Int.random(in: 0...9, using: &generator)).map { _ in
                    "aabbc.A".randomElement(using: &generator)!
                })
            let flags = ["", "g", "i", "gi"].randomElement(using: &generator)!
            cases.append([pattern(4), "<&>", flags, name])
        }
        let directory = try TestSupport.TemporaryDirectory()
        let file = try directory.write("cases.json", [UInt8](try JSONEncoder().encode(cases)))
        let output = try Oracle.run("substitute.py", file).output
        let expected = try JSONDecoder().decode([String].self, from: Data(output.utf8))
        for (parts, expected) in zip(cases, expected) {
            let result = try replaced("s/\(parts[0])/\(parts[1])/\(parts[2])", parts[3]) ?? parts[3]
            #expect(result == expected, "\(parts)")
        }
    }
}
