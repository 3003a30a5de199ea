import StrictJSON
import Testing

@Suite struct JSONEditTests {
    private func edit(
        _ document: String, keys: Set<String> = ["torch_dtype", "dtype"], to new: String? = "float16"
    ) throws -> (text: String, count: Int) {
        let result = try JSONEdit.replacingStringValues(in: Array(document.utf8), keys: keys) { _ in new }
        return (String(decoding: result.bytes, as: UTF8.self), result.count)
    }

    @Test func `only the string values of the keys change`() throws {
        let document = """
            {
              "a" : 1.50, "torch_dtype":   "bfloat16" ,
            \t"nested": [ {"dtype":"float32", "x":"dtype"}, "dtype" ],
              "dtype": null, "other": {"dtype": ["bfloat16"]}
            }

            """
        let (text, count) = try edit(document)
        #expect(
            text
                == document.replacing("\"bfloat16\" ,", "\"float16\" ,")
                .replacing("\"dtype\":\"float32\"", "\"dtype\":\"float16\""))
        #expect(count == 2)
    }

    @Test func `the old text is passed decoded and the new one escaped`() throws {
        var seen: [String] = []
        let result = try JSONEdit.replacingStringValues(
            in: Array(#"{"\u0064type":"a\n\u00e9"}"#.utf8), keys: ["dtype"]
        ) { old in
            seen.append(old)
            return "x\"y"
        }
        #expect(seen == ["a\n\u{E9}"])
        #expect(String(decoding: result.bytes, as: UTF8.self) == #"{"\u0064type":"x\"y"}"#)
    }

    @Test func `a document without the keys stays as it is`() throws {
        let (text, count) = try edit(#" {"a": [1, 2]} "#)
        #expect(text == #" {"a": [1, 2]} "# && count == 0)
        #expect(try edit(#"{"dtype":"f"}"#, to: nil).text == #"{"dtype":"f"}"#)
    }

    @Test func `a document that is not JSON is refused`() {
        #expect(throws: JSONError.self) { try edit(#"{"dtype":"a""#) }
    }
}

extension String {
    fileprivate func replacing(_ old: String, _ new: String) -> String {
        let parts = self.split(separator: old, omittingEmptySubsequences: false)
        return parts.joined(separator: new)
    }
}
