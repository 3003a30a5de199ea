import StrictJSON
import Testing

/// The expected bytes are those of Python 3.11: `json.dumps(json.loads(source), ...)` with the arguments that
/// stand above each.
@Suite struct JSONSerializingTests {
    private let source = #"""
        {"b": [1, 2.5, true, false, null, [], {}], "a": {"\u00e9": "\u00e9\u2028\u007f\ud83d\ude00\"\\/\b\f\n\r\t\u0001\u001f", "nested": [[1], [{"k": "v"}]]}, "Z": "", "\u00e9": 1, "e\u0301": 2, "\ud83d\ude00": 3, "\uffff": 4, "empty": {}, "list": []}
        """#

    private func text(_ bytes: [UInt8]) -> String { String(decoding: bytes, as: UTF8.self) }

    // indent=2, sort_keys=True
    @Test func `output that is indented and sorted and ASCII is Python's`() throws {
        let value = try JSONValue(parsing: Array(source.utf8))
        let expected = #"""
            {
              "Z": "",
              "a": {
                "nested": [
                  [
                    1
                  ],
                  [
                    {
                      "k": "v"
                    }
                  ]
                ],
                "\u00e9": "\u00e9\u2028\u007f\ud83d\ude00\"\\/\b\f\n\r\t\u0001\u001f"
              },
              "b": [
                1,
                2.5,
                true,
                false,
                null,
                [],
                {}
              ],
              "empty": {},
              "e\u0301": 2,
              "list": [],
              "\u00e9": 1,
              "\uffff": 4,
              "\ud83d\ude00": 3
            }
            """#
        #expect(Array(expected.utf8) == value.serialized(indent: 2, asciiOnly: true, sortKeys: true))
    }

    // indent=4, ensure_ascii=False
    @Test func `output that is indented by four and in order and UTF-8 is Python's`() throws {
        let value = try JSONValue(parsing: Array(source.utf8))
        let expected = #"""
            {
                "b": [
                    1,
                    2.5,
                    true,
                    false,
                    null,
                    [],
                    {}
                ],
                "a": {
                    "\#u{E9}": "\#u{E9}\#u{2028}\#u{7F}\#u{1F600}\"\\/\b\f\n\r\t\u0001\u001f",
                    "nested": [
                        [
                            1
                        ],
                        [
                            {
                                "k": "v"
                            }
                        ]
                    ]
                },
                "Z": "",
                "\#u{E9}": 1,
                "e\#u{301}": 2,
                "\#u{1F600}": 3,
                "\#u{FFFF}": 4,
                "empty": {},
                "list": []
            }
            """#
        #expect(Array(expected.utf8) == value.serialized(indent: 4))
    }

    // separators=(",", ":"), sort_keys=True, ensure_ascii=False
    @Test func `output that is compact and sorted and UTF-8 is Python's`() throws {
        let value = try JSONValue(parsing: Array(source.utf8))
        let expected = #"""
            {"Z":"","a":{"nested":[[1],[{"k":"v"}]],"\#u{E9}":"\#u{E9}\#u{2028}\#u{7F}\#u{1F600}\"\\/\b\f\n\r\t\u0001\u001f"},"b":[1,2.5,true,false,null,[],{}],"empty":{},"e\#u{301}":2,"list":[],"\#u{E9}":1,"\#u{FFFF}":4,"\#u{1F600}":3}
            """#
        #expect(Array(expected.utf8) == value.serialized(sortKeys: true))
    }

    // separators=(",", ":")
    @Test func `output that is compact and in order and ASCII is Python's`() throws {
        let value = try JSONValue(parsing: Array(source.utf8))
        let expected = #"""
            {"b":[1,2.5,true,false,null,[],{}],"a":{"\u00e9":"\u00e9\u2028\u007f\ud83d\ude00\"\\/\b\f\n\r\t\u0001\u001f","nested":[[1],[{"k":"v"}]]},"Z":"","\u00e9":1,"e\u0301":2,"\ud83d\ude00":3,"\uffff":4,"empty":{},"list":[]}
            """#
        #expect(Array(expected.utf8) == value.serialized(asciiOnly: true))
    }

    @Test func `numbers keep their spelling and members their order`() throws {
        let document = #"{"b":1.50,"a":-0,"c":1E+5,"d":123456789012345678901234567890}"#
        #expect(text(try JSONValue(parsing: Array(document.utf8)).serialized()) == document)
    }

    @Test func `integers of any width are spelt out`() {
        let value = JSONValue.array([.integer(UInt64.max), .integer(Int64.min), .integer(0 as UInt8)])
        #expect(text(value.serialized()) == "[18446744073709551615,-9223372036854775808,0]")
    }
}
