import StrictJSON
import Testing

@Suite struct JSONTokenizerTests {
    private func parse(_ text: String) throws -> JSONValue { try JSONValue(parsing: Array(text.utf8)) }

    @Test(arguments: [
        "null", " true ", "[]", "{}", "[1,2]", #"{"a":{"b":[{}]}}"#, "-0", "0.5e-10", "1E+5", #""\u00e9\n""#,
        "\t[\r\n]",
    ])
    func `valid documents are read`(_ text: String) throws {
        _ = try parse(text)
    }
}
