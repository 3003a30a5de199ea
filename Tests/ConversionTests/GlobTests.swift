import TensorCore
import Testing

@testable import Conversion

@Suite("Patterns for names")
struct GlobTests {
    @Test(
        arguments: [
            ("*", "", true), ("*", "any.thing/at all", true), ("a*c", "abc", true), ("a*c", "a.b.c", true),
            ("a*c", "ac", true), ("a*c", "acd", false), ("*.weight", "model.norm.weight", true),
            ("*.weight", "weight", false), ("a?c", "abc", true), ("a?c", "a.c", true), ("a?c", "ac", false),
            ("layers.[0-9].w", "layers.7.w", true), ("layers.[0-9].w", "layers.12.w", false),
            ("layers.[!0-9].w", "layers.x.w", true), ("layers.[^0-9].w", "layers.7.w", false),
            ("[]a]", "]", true), ("[a-]", "-", true), ("{q,k,v}_proj", "k_proj", true),
            ("{q,k,v}_proj", "o_proj", false), ("a{,.bias}", "a", true), ("a{,.bias}", "a.bias", true),
            ("{a{1,2},b}*", "a2x", true), ("\\*", "*", true), ("\\*", "x", false), ("a\\{b", "a{b", true),
            ("a,b}", "a,b}", true), ("**", "x", true), ("é", "é", true), ("?", "é", true),
            ("[à-ï]", "é", true),
            ("A", "a", false), ("a.b", "axb", false), ("a(b)+$", "a(b)+$", true),
        ] as [(String, String, Bool)])
    func `a glob matches whole names`(pattern: String, name: String, expected: Bool) throws {
        #expect(try Glob(parsing: pattern).matches(TensorName(name)) == expected)
    }

    @Test func `two spellings of one character are two names`() throws {
        let glob = try Glob(parsing: "caf\u{E9}")
        #expect(glob.matches("caf\u{E9}") && !glob.matches("cafe\u{301}"))
        #expect(try Glob(parsing: "cafe?").matches("cafe\u{301}"))
    }

    @Test func `a name that is no UTF-8 is matched byte by byte`() throws {
        let name = TensorName(utf8: [0x61, 0xFF, 0xC3, 0x62])
        #expect(try Glob(parsing: "a??b").matches(name))
        #expect(try !Glob(parsing: "a?b").matches(name))
    }

    @Test(
        arguments: [
            ("", 1), ("a[bc", 2), ("a{b,c", 2), ("x\\", 2), ("[z-a]", 2), ("[[:digit:]]", 2), ("a{b{c}", 2),
        ] as [(String, Int)])
    func `a glob that cannot be read is refused at its character`(pattern: String, position: Int) {
        let error = #expect(throws: PatternError.self) { try Glob(parsing: pattern) }
        #expect(error?.position == position)
    }

    @Test func `hostile globs are refused or end quickly`() throws {
        let name = TensorName(String(repeating: "a", count: 2000))
        #expect(try !Glob(parsing: String(repeating: "*a", count: 100) + "b").matches(name))
        #expect(try !Glob(parsing: String(repeating: "{a*,*a}", count: 50) + "b").matches(name))
        #expect(throws: PatternError.self) { try Glob(parsing: String(repeating: "{", count: 10_000)) }
        #expect(throws: PatternError.self) { try Glob(parsing: String(repeating: "{a,b}", count: 50_000)) }
    }

    @Test func `the names that a glob nearly matches are found`() throws {
        let names: [TensorName] = [
            "model.norm.weight", "model.layers.0.self_attn.q_proj.weight",
            "model.layers.1.self_attn.q_proj.weight", "lm_head.weight",
        ]
        let near = NearMisses.names(near: try Glob(parsing: "*.q_porj.weight"), among: names)
        #expect(near == ["model.layers.0.self_attn.q_proj.weight"])
        #expect(NearMisses.names(near: try Glob(parsing: "vision_tower.*"), among: names).isEmpty)
    }
}
