import SafeTensors
import StrictJSON
import TensorCore
import Testing

/// What an edit does to the text of a header, seen through files.
@Suite struct MetadataEditTests {
    private let directory: TemporaryDirectory
    private var path: String { directory.file("m.safetensors") }

    init() throws { directory = try TemporaryDirectory() }

    private static let entry = #""a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}"#

    /// The header's text after an edit, without its padding, or the code with which it is refused.
    private func edited(
        _ header: String, set: [(key: String, value: String)] = [], unset: [String] = []
    ) throws -> String {
        try? FileSystem.removeTree(path)
        let data: [UInt8] = header.contains("dtype") ? [5, 6] : []
        try FileSystem.create(path, contents: fileBytes(header, data: data))
        do throws(SafeTensorsError) {
            let edit = try MetadataEdit(set: set, unset: unset)
            try SafeTensorsMetadataEditor(path: path).apply(edit)
        } catch {
            return error.code.rawValue
        }
        let bytes = try FileSystem.contents(of: path, limit: 1 << 20)
        let reader = try SafeTensorsReader(opening: path)
        #expect(bytes.suffix(data.count) == data[...] && reader.header.count == (data.isEmpty ? 0 : 1))
        var text = String(decoding: bytes[8..<Int(reader.header.dataOffset)], as: UTF8.self)
        while text.last == " " { text.removeLast() }
        #expect(try directory.names == ["m.safetensors"])
        return text
    }

    @Test(arguments: [
        ("{\(entry)}", "{\"__metadata__\":{\"k\":\"v\"},\(entry)}"),
        ("{}", #"{"__metadata__":{"k":"v"}}"#),
        (#"{"__metadata__":null}"#, #"{"__metadata__":{"k":"v"}}"#),
        (#"{"__metadata__":{}}"#, #"{"__metadata__":{"k":"v"}}"#),
        ("{\"__metadata__\": {\"k\" : \"old\"} , \(entry)}", "{\"__metadata__\": {\"k\":\"v\"} , \(entry)}"),
        (
            "{\(entry),\"__metadata__\":{\"z\":\"1\"}}",
            "{\(entry),\"__metadata__\":{\"k\":\"v\",\"z\":\"1\"}}"
        ),
        (#"{"__metadata__":{"a":"1","z":"2"}}"#, #"{"__metadata__":{"a":"1","k":"v","z":"2"}}"#),
        (#"{"__metadata__":{"z":"\u0031","\u006b":"2"}}"#, #"{"__metadata__":{"z":"\u0031","k":"v"}}"#),
    ])
    func `a value is set and every other byte stays`(header: String, expected: String) throws {
        #expect(try edited(header, set: [("k", "v")]) == expected)
    }

    @Test(arguments: [
        ("{\"__metadata__\":{\"k\":\"v\"},\(entry)}", "{\(entry)}"),
        ("{\"__metadata__\" : {\"k\":\"v\"} , \(entry)}", "{\(entry)}"),
        ("{\(entry) , \"__metadata__\":{\"k\":\"v\"}}", "{\(entry)}"),
        (#"{"__metadata__":{"k":"v"}}"#, "{}"),
        (#"{"__metadata__":{"a":"1", "k":"v", "z":"\/"}}"#, #"{"__metadata__":{"a":"1","z":"\/"}}"#),
    ])
    func `a key is removed, and the metadata with the last`(header: String, expected: String) throws {
        #expect(try edited(header, unset: ["k"]) == expected)
    }

    @Test func `unknown fields, spellings and nested values of entries stay`() throws {
        let odd =
            #"{ "\u0061" : {"x":[1,{"__metadata__":{"k":"no"}}],"shape":[2], "data_offsets":[0, 2],"dtype":"U8"}"#
        #expect(
            try edited(odd + #" , "__metadata__":{"k":"1"} }"#, set: [("k", "\"\n\\é")])
                == odd + #" , "__metadata__":{"k":"\"\n\\é"} }"#)
    }

    @Test func `an edit that changes nothing leaves the file alone`() throws {
        let header = #"{"__metadata__":{"k" : "\u0076"}}"#
        #expect(try edited(header, set: [("k", "v")]) == header)
    }

    @Test func `keys that differ in bytes only are different`() throws {
        #expect(
            try edited("{\"__metadata__\":{\"é\":\"1\"}}", set: [("e\u{301}", "2")])
                == "{\"__metadata__\":{\"e\u{301}\":\"2\",\"é\":\"1\"}}")
    }

    @Test func `a key given twice, a key that is not there and a file that is refused change nothing`() throws
    {
        #expect(try edited("{}", set: [("k", "1"), ("k", "2")]) == "duplicateName")
        #expect(try edited("{}", set: [("k", "1")], unset: ["k"]) == "duplicateName")
        #expect(try edited("{}", unset: ["k"]) == "unknownKey")
        #expect(try edited(#"{"__metadata__":{"k":"1","k":"2"}}"#, set: [("k", "1")]) == "duplicateKey")
        #expect(try edited("{", set: [("k", "1")]) == "headerNotJSON")
    }

    @Test(arguments: ConformanceCase.all.filter { $0.expected.hasPrefix("accept") })
    func `every accepted case takes an edit, keeps its tensors, and is as before when it is undone`(
        _ item: ConformanceCase
    ) throws {
        try FileSystem.create(path, contents: item.bytes)
        // From memory: a reader that has the file open sees the change.
        let before = try SafeTensorsReader(item.source)
        let editor = try SafeTensorsMetadataEditor(path: path)
        try editor.apply(MetadataEdit(set: [("\u{1}new", "é\n")]))
        let after = try SafeTensorsReader(opening: path)
        #expect(after.header.map(\.name) == before.header.map(\.name))
        for (a, b) in zip(after.header, before.header) where b.byteCount < 1 << 20 {
            #expect(a.dtype == b.dtype && a.shape == b.shape && a.dataOffsets == b.dataOffsets)
            #expect(try after.bytes(of: a) == before.bytes(of: b))
        }
        #expect(after.header.metadata.count == before.header.metadata.count + 1)
        try editor.apply(MetadataEdit(unset: ["\u{1}new"]))
        let undone = try SafeTensorsReader(opening: path).header.metadata
        #expect(undone.map(\.key) == before.header.metadata.map(\.key))
        #expect(undone.map(\.value) == before.header.metadata.map(\.value))
    }

    @Test(arguments: 0..<16 as Range<UInt64>)
    func `random edits give what a dictionary would, and keep the tensors`(_ seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let keys = ["a", "b", "format", "é", "\"", "k\n", ""]
        var model: [String: String] = [:]
        let layout = try SafeTensorsLayout(
            tensors: [("t", .u8, [100]), ("u", .f32, [3])], metadata: [])
        try writeFile(path, layout) { Array(repeating: 9, count: $0 == "t" ? 100 : 12) }
        for _ in 0..<8 {
            let key = keys.randomElement(using: &random) ?? ""
            if model[key] != nil, Bool.random(using: &random) {
                model[key] = nil
                try SafeTensorsMetadataEditor(path: path).apply(MetadataEdit(unset: [key]))
            } else {
                let value = String(repeating: "x\"", count: Int.random(in: 0...3000, using: &random))
                model[key] = value
                try SafeTensorsMetadataEditor(path: path).apply(MetadataEdit(set: [(key, value)]))
            }
            let reader = try SafeTensorsReader(opening: path)
            let metadata = reader.header.metadata
            #expect(Dictionary(uniqueKeysWithValues: metadata.map { ($0.key, $0.value) }) == model)
            #expect(
                metadata.map { Array($0.key.utf8) }
                    == model.keys.map { Array($0.utf8) }.sorted {
                        $0.lexicographicallyPrecedes($1)
                    })
            #expect(reader.header.map(\.dataOffsets) == layout.tensors.map(\.dataOffsets))
            #expect(reader.header.map(\.name) == layout.tensors.map(\.name))
        }
    }
}
