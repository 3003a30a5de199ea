import SafeTensors
import StrictJSON
import TensorCore
import Testing

/// A file that the reference wrote, from `Formats/safetensors/golden.jsonl`.
struct GoldenFile: Sendable, CustomTestStringConvertible {
    let id: String
    let tensors: [(name: TensorName, dtype: DType, shape: [UInt64])]
    let data: [TensorName: [UInt8]]
    let metadata: [(key: String, value: String)]
    let bytes: [UInt8]

    var testDescription: String { id }

    static let all: [GoldenFile] = {
        do {
            let text = try FileSystem.contents(
                of: repositoryFile("Formats/safetensors/golden.jsonl"), limit: 1 << 20)
            return try text.split(separator: UInt8(ascii: "\n")).map { try GoldenFile(Array($0)) }
        } catch {
            fatalError("cannot read the golden files: \(error)")
        }
    }()

    private init(_ line: [UInt8]) throws {
        let value = try JSONValue(parsing: line)
        id = try #require(value["id"]?.string)
        var data: [TensorName: [UInt8]] = [:]
        tensors = try #require(value["tensors"]?.elements).map { tensor in
            let name = TensorName(try #require(tensor["name"]?.string))
            data[name] = decodeBase64(try #require(tensor["base64"]?.string))
            return (
                name, try #require(tensor["dtype"]?.string.flatMap(DType.init(name:))),
                try #require(tensor["shape"]?.elements).compactMap(\.uint64)
            )
        }
        self.data = data
        metadata = try #require(value["metadata"]?.members).map { ($0.key, $0.value.string ?? "") }
        bytes = decodeBase64(try #require(value["base64"]?.string))
    }
}

/// Writes a file with the given contents for each tensor, in pieces of `chunk` bytes.
func writeFile(
    _ path: String, _ layout: SafeTensorsLayout, chunk: Int = .max, contents: (TensorName) -> [UInt8]
) throws {
    var writer = try SafeTensorsWriter(replacing: path, layout: layout)
    for tensor in layout.tensors {
        let bytes = contents(tensor.name)
        for start in stride(from: 0, to: bytes.count, by: min(chunk, max(1, bytes.count))) {
            let part = Array(bytes[start..<min(bytes.count, start + min(chunk, bytes.count))])
            try writer.append(part.span.bytesView, to: tensor.name)
        }
    }
    try writer.commit()
}
