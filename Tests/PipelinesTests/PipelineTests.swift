import Testing

@testable import Pipelines

@Suite("Pipeline files")
struct PipelineTests {
    /// A value as text that shows its structure.
    private func shown(_ node: YAMLNode) -> String {
        switch node.value {
        case .empty: "-"
        case .scalar(let text, let isPlain): isPlain ? text : "'\(text)'"
        case .sequence(let items): "[" + items.map(shown).joined(separator: ",") + "]"
        case .mapping(let entries):
            "{" + entries.map { "\($0.key):\(shown($0.value))" }.joined(separator: ",") + "}"
        }
    }

    private func read(_ text: String) throws -> YAMLNode { try YAMLReader.read(Array(text.utf8)) }

    @Test(
        arguments: [
            ("", "-"), ("# only a comment\n", "-"), ("a", "a"), ("---\na\n", "a"), ("a: b", "{a:b}"),
            ("a: b # c\nd: 'e # f'\n", "{a:b,d:'e # f'}"), ("a:\n  b: c\n  d: e\nf: g", "{a:{b:c,d:e},f:g}"),
            ("- a\n- b", "[a,b]"), ("a:\n- b\n- c\nd: e", "{a:[b,c],d:e}"), ("a:\n  - b\n  - c", "{a:[b,c]}"),
            ("- a: b\n  c: d\n- e", "[{a:b,c:d},e]"), ("- - a\n  - b\n- c", "[[a,b],c]"),
            ("-\n  a: b", "[{a:b}]"), ("- a:\n    b: c\n", "[{a:{b:c}}]"), ("a:\nb:", "{a:-,b:-}"),
            ("[a, b , 'c']", "[a,b,'c']"), ("{a: b, c: [d, {e: f}]}", "{a:b,c:[d,{e:f}]}"),
            ("a: [b,\n  c, # d\n  e\n]", "{a:[b,c,e]}"), ("{\"a\":\"b\",\"c\":[1]}", "{a:'b',c:[1]}"),
            ("a: \"b\\n\\u00e9\\\"\"", "{a:'b\né\"'}"), ("a: 'it''s'", "{a:'it's'}"),
            ("'a b': c", "{a b:c}"), ("index audit: {path: x}", "{index audit:{path:x}}"),
            ("a: b:c", "{a:b:c}"), ("a: s/x#y/z/", "{a:s/x#y/z/}"),
            ("a: no\nb: 1.10\nc: null", "{a:no,b:1.10,c:null}"),
            ("a: b\r\nc: d\r\n", "{a:b,c:d}"), ("\u{FEFF}a: b", "{a:b}"), ("a:   \n\n\n  # x\n  b", "{a:b}"),
            ("a: []\nb: {}", "{a:[],b:{}}"), ("a: ${b}/c", "{a:${b}/c}"), ("a: -1", "{a:-1}"),
        ] as [(String, String)])
    func `what configuration is written in is read`(text: String, expected: String) throws {
        #expect(shown(try read(text)) == expected)
    }

    @Test(
        arguments: [
            ("a: *b", 1, 4, "alias"), ("a: &b c", 1, 4, "anchor"), ("a: !b c", 1, 4, "tag"),
            ("a: |\n  b", 1, 4, "several lines"), ("a: b: c", 1, 5, "quotes"), ("a: b\na: c", 2, 1, "twice"),
            ("a: b\n  c: d", 2, 3, "indented"), ("a:\n    b: c\n  d: e", 3, 3, "indent"),
            ("a: 'b", 1, 4, "closed"),
            ("a: [b", 1, 4, "closed"), ("a: [b c: d]", 1, 8, "comma"), ("a: {b}", 1, 6, "colon"),
            ("\ta: b", 1, 1, "tab"), ("a: b\n\tc: d", 2, 1, "tab"), ("a: b\rc: d", 1, 5, "control"),
            ("a: [b]]", 1, 7, "does not belong"), ("a: \"\\q\"", 1, 6, "escape"),
            ("a: \"\\ud800\"", 1, 6, "escape"),
            ("a: b\n...\n", 2, 1, "key"), ("a: b\n- c", 2, 1, "list item"), ("{a: b, a: c}", 1, 8, "twice"),
            ("a: @b", 1, 4, "reserved"), ("é: [b", 1, 4, "closed"), ("a: , b", 1, 4, "comma"),
            ("? a\n: b", 1, 1, "key"),
        ] as [(String, Int, Int, String)])
    func `what else YAML has is refused at its place`(text: String, line: Int, column: Int, word: String) {
        let error = #expect(throws: PipelineError.self) { try read(text) }
        #expect(error?.place == TextPlace(line: line, column: column), "\(error?.description ?? "")")
        #expect(error?.message.contains(word) == true, "\(error?.description ?? "")")
    }

    @Test func `hostile documents are refused and end`() {
        for text in [
            String(repeating: "[", count: 100_000), String(repeating: "- ", count: 50_000),
            String(repeating: "{a: ", count: 100_000), String(repeating: "a", count: 2 << 20), "a: \u{0}",
        ] {
            #expect(throws: PipelineError.self) { try read(text) }
        }
        #expect(throws: PipelineError.self) { try YAMLReader.read([0x61, 0xFF]) }
    }

    private func pipeline(
        _ text: String, _ variables: [String: String] = [:], environment: [String: String] = [:]
    ) throws -> Pipeline {
        try Pipeline(parsing: Array(text.utf8), variables: variables, environment: { environment[$0] })
    }

    @Test func `steps have their arguments in order, as a mapping or a list of mappings`() throws {
        let steps = try pipeline(
            """
            - export: {source: a, drop: [b, c]}
            - verify
            - export:
              - rename: s/a/b/
              - drop: d
              - rename: s/b/c/
            """
        ).steps
        #expect(steps.map(\.command) == ["export", "verify", "export"])
        #expect(steps[0].arguments.map(\.name) == ["source", "drop"])
        #expect(steps[0].arguments[1].values.map(\.text) == ["b", "c"])
        #expect(steps[1].arguments.isEmpty)
        #expect(steps[2].arguments.map(\.name) == ["rename", "drop", "rename"])
        #expect(steps[2].place == TextPlace(line: 3, column: 3))
    }

    @Test func `variables are replaced, by the file, the caller and the environment`() throws {
        let text = """
            vars: {model: m, out: "${model}-out", need: }
            steps:
            - export: {source: "${env.HOME}/${model}", output: "${out}", root: "$${x}${need}$"}
            """
        let values = try pipeline(text, ["model": "q", "need": "n"], environment: ["HOME": "/h"]).steps[0]
            .arguments
        #expect(values.map(\.values[0].text) == ["/h/q", "q-out", "${x}n$"])
    }

    @Test(
        arguments: [
            ("steps: []", 1, 8), ("vars: {a: b}", 1, 1), ("step: []", 1, 1), ("- a: {b: ${c}}", 1, 10),
            ("- a: {b: '${env.NO}'}", 1, 10), ("- a: {b: '${c'}", 1, 10), ("- a: b", 1, 6),
            ("- a: {b: {c: d}}", 1, 10), ("- a:\n  b: c", 2, 3), ("- [a]", 1, 3), ("- a: {b: }", 1, 10),
            ("vars: {a: }\nsteps:\n- b: {c: '${a}'}", 3, 10), ("vars: {a b: c}\nsteps: [d]", 1, 8),
            ("x", 1, 1),
        ] as [(String, Int, Int)])
    func `a pipeline that makes no sense is refused at its place`(text: String, line: Int, column: Int) {
        let error = #expect(throws: PipelineError.self) { try pipeline(text) }
        #expect(error?.place == TextPlace(line: line, column: column), "\(error?.description ?? "")")
    }

    @Test func `a value for a variable that the file does not declare is refused`() {
        #expect(throws: PipelineError.self) { try pipeline("- a", ["b": "c"]) }
    }
}
