import TensorCore
import Testing

@Suite("Names and paths")
struct PathTests {
    @Test(arguments: ["model.safetensors", "a/b.json", "ünïcode.txt", "..hidden", "a..b"])
    func `a name that stays in its directory is safe`(name: String) { #expect(Path.isSafeRelative(name)) }

    @Test(arguments: [
        "", "/etc/passwd", "../x", "a/../b", "a//b", "./a", "a/", "C:\\x", "c:x", "a\\b", "a\u{0}b", "a\nb",
    ])
    func `a name that could leave its directory is not safe`(name: String) {
        #expect(!Path.isSafeRelative(name))
    }

    @Test func `a path splits into parent and name`() {
        #expect(Path.parent(of: "a/b/") == "a" && Path.name(of: "a/b/") == "b")
        #expect(Path.parent(of: "/a") == "/" && Path.parent(of: "a") == ".")
        #expect(Path.join("a/", "b") == "a/b" && Path.join(".", "b") == "b")
    }

    @Test func `names are compared as bytes, so two spellings of one character are two names`() {
        #expect("\u{E9}" == "e\u{301}")
        #expect(TensorName("\u{E9}") != TensorName("e\u{301}"))
        #expect(Set([TensorName("\u{E9}"), TensorName("e\u{301}")]).count == 2)
    }

    @Test func `names sort by their bytes`() {
        let names = ["b", "B", "a10", "a2", "é", "z", "😀", "\u{FFFF}"].map { TensorName($0) }.sorted()
        #expect(names.map(\.string) == ["B", "a10", "a2", "b", "z", "é", "\u{FFFF}", "😀"])
    }

    @Test func `control characters of a name are escaped for display`() {
        #expect(TensorName("a\u{1B}[31m\n\u{202E}b").description == "a\\u{1b}[31m\\n\\u{202e}b")
    }

    @Test func `sizes of shapes are checked for overflow, left to right`() {
        #expect(DType.f32.byteCount(of: [2, 3]) == 24)
        #expect(DType.f32.byteCount(of: []) == 4)
        #expect(DType.f4.byteCount(of: [3]) == nil)
        #expect(DType.f32.byteCount(of: [0, .max, .max]) == 0)
        #expect(DType.f32.byteCount(of: [.max, .max, 0]) == nil)
    }
}
