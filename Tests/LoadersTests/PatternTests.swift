import Testing

@testable import Loaders

@Suite struct PatternTests {
    @Test(arguments: [
        ("*.safetensors", "a.safetensors", true), ("*.safetensors", ".safetensors", true),
        ("*.safetensors", "a.safetensors.x", false), ("model*.safetensors", "model.safetensors", true),
        ("model*.safetensors", "mode.safetensors", false), ("a*b*c", "a-b-b-c", true),
        ("a*b*c", "acb", false),
        ("ab*ba", "aba", false), ("exact", "exact", true), ("exact", "exactly", false), ("*", "", true),
        ("**", "x", true), ("a*a", "a", false),
    ])
    func `a star stands for any characters`(pattern: String, name: String, matches: Bool) {
        #expect(Pattern(pattern).matches(name) == matches)
    }
}
