import StrictJSON
import Testing

@Suite struct JSONParsingTests {
    private func parse(_ text: String, maximumDepth: Int = 128) throws(JSONError) -> JSONValue {
        try JSONValue(parsing: Array(text.utf8), maximumDepth: maximumDepth)
    }

    private func refusal(_ bytes: [UInt8], maximumDepth: Int = 128) -> JSONError? {
        do throws(JSONError) {
            _ = try JSONValue(parsing: bytes, maximumDepth: maximumDepth)
            return nil
        } catch {
            return error
        }
    }

    private func refusal(_ text: String) -> JSONError? { refusal(Array(text.utf8)) }

    @Test(arguments: [
        "null", " true ", "[]", "{}", "[1,2]", #"{"a":{"b":[{}]}}"#, "-0", "0.5e-10", "1E+5", #""\u00e9\n""#,
        "\t[\r\n]", #""\ud83d\ude00""#, "\"\u{7F}\u{2028}\"", #"{"":0}"#, "1e400",
    ])
    func `valid documents are read`(_ text: String) {
        #expect(refusal(text) == nil)
    }

    @Test(
        arguments: [
            ("", .unexpectedEnd, 0), (" ", .unexpectedEnd, 1), ("{", .unexpectedEnd, 1),
            ("[1", .unexpectedEnd, 2),
            (#"{"a""#, .unexpectedEnd, 4), (#""a"#, .unexpectedEnd, 2), (#""\"#, .unexpectedEnd, 2),
            ("-", .unexpectedEnd, 1),
            ("1.", .unexpectedEnd, 2), ("1e", .unexpectedEnd, 2), ("tru", .unexpectedEnd, 3),
            ("[1,]", .unexpectedByte, 3), (#"{"a":1,}"#, .unexpectedByte, 7), ("[,1]", .unexpectedByte, 1),
            ("{a:1}", .unexpectedByte, 1), (#"{"a" 1}"#, .unexpectedByte, 5), ("[1 2]", .unexpectedByte, 3),
            ("[}", .unexpectedByte, 1), ("{]", .unexpectedByte, 1), ("[1}", .unexpectedByte, 2),
            ("'a'", .unexpectedByte, 0),
            ("NaN", .unexpectedByte, 0), ("Infinity", .unexpectedByte, 0), ("nul1", .unexpectedByte, 3),
            ("+1", .unexpectedByte, 0),
            (".5", .unexpectedByte, 0), ("\u{FEFF}{}", .unexpectedByte, 0), ("/**/1", .unexpectedByte, 0),
            ("\u{B}1", .unexpectedByte, 0),
            ("01", .badNumber, 0), ("-01", .badNumber, 0), ("1.e5", .badNumber, 2), ("-a", .badNumber, 1),
            ("1e+x", .badNumber, 3),
            ("\"a\nb\"", .controlCharacter, 2), ("\"0123456789\u{1F}\"", .controlCharacter, 11),
            (#""\q""#, .badEscape, 1), (#""\u12g4""#, .badEscape, 1), (#""\ud800""#, .badEscape, 1),
            (#""\udc00""#, .badEscape, 1), (#""\ud800\u0041""#, .badEscape, 1), (#""\u00""#, .badEscape, 1),
            ("{}{}", .trailingBytes, 2), ("1 2", .trailingBytes, 2), ("[] x", .trailingBytes, 3),
            ("null\0", .trailingBytes, 4),
            (#"{"a":1,"a":2}"#, .duplicateKey, 7), (#"{"\u0061":1,"a":2}"#, .duplicateKey, 12),
        ] as [(String, JSONError.Code, Int)])
    func `invalid documents are refused at the right byte`(
        _ text: String, _ code: JSONError.Code, _ offset: Int
    ) {
        let error = refusal(text)
        #expect(error?.code == code && error?.offset == offset, "\(String(describing: error))")
    }

    @Test(
        arguments: [
            [0xFF], [0x22, 0xC3, 0x22], [0x22, 0xC0, 0x80, 0x22], [0x22, 0xED, 0xA0, 0x80, 0x22],
            [0x22, 0xF4, 0x90, 0x80, 0x80, 0x22],
        ] as [[UInt8]])
    func `documents that are not UTF-8 are refused`(_ bytes: [UInt8]) {
        #expect(refusal(bytes)?.code == .notUTF8)
    }

    @Test func `nesting is limited`() {
        func nested(_ levels: Int, _ open: String, _ inner: String, _ close: String) -> [UInt8] {
            Array(
                (String(repeating: open, count: levels) + inner + String(repeating: close, count: levels))
                    .utf8)
        }
        #expect(refusal(nested(128, "[", "", "]")) == nil)
        #expect(refusal(nested(129, "[", "", "]"))?.code == .nestingTooDeep)
        #expect(refusal(nested(128, #"{"a":"#, "1", "}")) == nil)
        #expect(refusal(nested(129, #"{"a":"#, "1", "}"))?.code == .nestingTooDeep)
        #expect(refusal(nested(512, "[", "", "]"), maximumDepth: .max) == nil)
        #expect(refusal(nested(1_000_000, "[", "", ""), maximumDepth: .max)?.code == .nestingTooDeep)
        #expect(refusal("[1]", maximumDepth: 0)?.code == .nestingTooDeep)
    }

    private func refusal(_ text: String, maximumDepth: Int) -> JSONError? {
        refusal(Array(text.utf8), maximumDepth: maximumDepth)
    }

    @Test func `arrays and objects may be mixed at every level`() throws {
        let value = try parse(#"[{"a":[{"b":{}},[]]},{"c":{"d":[1,{"e":null}]}}]"#)
        let inner = value.elements?[1]["c"]?["d"]?.elements?[1]["e"]
        #expect(inner?.isNull == true)
    }

    @Test func `keys are compared as bytes`() throws {
        let value = try parse("{\"\u{E9}\":1,\"e\u{301}\":2}")
        #expect(value["\u{E9}"]?.int64 == 1)
        #expect(value["e\u{301}"]?.int64 == 2)
    }

    @Test func `a key that occurs twice is found in a large object`() {
        let members = (0..<10_000).map { #""k\#($0)":\#($0)"# }
        #expect(refusal("{" + members.joined(separator: ",") + "}") == nil)
        #expect(refusal("{" + members.joined(separator: ",") + #","k77":0}"#)?.code == .duplicateKey)
    }

    @Test func `numbers are read only as what they are`() throws {
        #expect(try parse("18446744073709551615").uint64 == .max)
        #expect(try parse("18446744073709551616").uint64 == nil)
        #expect(try parse("-9223372036854775808").int64 == .min)
        #expect(try parse("-0").uint64 == nil)
        #expect(try parse("1.0").int64 == nil)
        #expect(try parse("1e2").int64 == nil && parse("1e2").double == 100)
        #expect(try parse("true").int64 == nil && parse("true").bool == true)
        #expect(try parse(#""1""#).int64 == nil && parse(#""1""#).string == "1")
    }

    @Test func `escapes are replaced`() throws {
        let value = try parse(#""\"\\\/\b\f\n\r\tA\u00e9\ud83d\ude00\uFFFF""#)
        #expect(value.string == "\"\\/\u{8}\u{C}\n\r\tA\u{E9}\u{1F600}\u{FFFF}")
    }

    @Test func `every truncation of a document is refused`() {
        let document = Array(#"{"a":[1.5e-3,true,null,"\u00e9\ud83d\ude00é"],"b":{"c":{}}}"#.utf8)
        #expect(refusal(document) == nil)
        for count in document.indices {
            #expect(refusal(Array(document[..<count])) != nil, "cut to \(count)")
        }
    }
}
