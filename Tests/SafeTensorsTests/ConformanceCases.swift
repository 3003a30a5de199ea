import SafeTensors
import StrictJSON
import TensorCore
import Testing

/// One case of `Formats/safetensors/cases.jsonl`.
struct ConformanceCase: Sendable, CustomTestStringConvertible {
    let id: String
    /// `accept`, `accept+warn:CODE` or `reject:CODE`.
    let expected: String
    /// `OK` or the variant of the reference's error.
    let reference: String
    let bytes: [UInt8]

    var testDescription: String { id }
    var source: MemorySource { MemorySource(name: id, contents: bytes) }

    static let all: [ConformanceCase] = {
        do {
            return try load()
        } catch {
            fatalError("cannot read the cases: \(error)")
        }
    }()

    private static func load() throws -> [ConformanceCase] {
        let text = try FileSystem.contents(
            of: repositoryFile("Formats/safetensors/cases.jsonl"), limit: 1 << 20)
        return try text.split(separator: UInt8(ascii: "\n")).map { line in
            let value = try JSONValue(parsing: Array(line))
            let id = try #require(value["id"]?.string)
            let bytes = value["base64"]?.string.map(decodeBase64) ?? deepNesting
            return ConformanceCase(
                id: id, expected: try #require(value["expect"]?.string),
                reference: try #require(value["reference"]?.string), bytes: bytes)
        }
    }

    /// The one case that is too long to store: an unknown field nested 100,000 arrays deep.
    private static var deepNesting: [UInt8] {
        let open = Array(#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"x":"#.utf8)
        let header =
            open + Array(repeating: UInt8(ascii: "["), count: 100_000)
            + Array(repeating: UInt8(ascii: "]"), count: 100_000) + Array("}}".utf8)
        return fileBytes(header: header, data: [0, 0, 0x80, 0x3F])
    }
}
