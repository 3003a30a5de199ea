import SafeTensors
import StrictJSON
import TensorCore
import Testing

@Suite struct ShardIndexTests {
    private func index(_ text: String, fileExtension: String = "safetensors") throws(SafeTensorsError)
        -> ShardIndex
    {
        try ShardIndex(parsing: Array(text.utf8), fileExtension: fileExtension)
    }

    private func code(_ text: String) -> SafeTensorsError.Code? {
        do throws(SafeTensorsError) {
            _ = try index(text)
            return nil
        } catch {
            return error.code
        }
    }

    @Test func `an index keeps its order and its metadata`() throws {
        let index = try index(
            #"{"metadata":{"total_size":12,"x":[1]},"weight_map":{"b":"m-2.safetensors","a":"m-1.safetensors","c":"m-2.safetensors"}}"#
        )
        #expect(index.entries.map(\.tensor) == ["b", "a", "c"])
        #expect(index.files == ["m-2.safetensors", "m-1.safetensors"])
        #expect(index.totalSize == 12)
        #expect(index.metadata.map(\.key) == ["total_size", "x"])
        #expect(index.warnings.isEmpty)
    }

    @Test(arguments: [
        "../x.safetensors", "/abs/x.safetensors", #"C:\\x.safetensors"#, "a/../x.safetensors", "", ".",
        "a//x.safetensors",
        #"a\u0000.safetensors"#,
    ])
    func `a path that may leave the directory is refused`(_ path: String) {
        #expect(code(#"{"metadata":{},"weight_map":{"a":"\#(path)"}}"#) == .unsafePath)
    }

    @Test(arguments: ["x.bin", "x.SAFETENSORS", ".safetensors", "sub/.safetensors", "safetensors"])
    func `a shard of another kind is refused`(_ path: String) {
        #expect(code(#"{"metadata":{},"weight_map":{"a":"\#(path)"}}"#) == .wrongExtension)
    }

    @Test(arguments: [
        "[]", "{}", #"{"weight_map":[]}"#, #"{"weight_map":{"a":1}}"#, #"{"weight_map":{"a":null}}"#, "{",
        #"{"metadata":[],"weight_map":{}}"#,
        #"{"metadata":{},"weight_map":{"a":"x.safetensors","a":"y.safetensors"}}"#,
    ])
    func `an index of the wrong shape is refused`(_ text: String) {
        #expect(code(text) == .badIndex)
    }

    @Test func `an index without metadata is accepted with a warning`() throws {
        let index = try index(#"{"weight_map":{"a":"sub/x.safetensors"}}"#)
        #expect(index.warnings.count(of: .indexWithoutMetadata) == 1)
        #expect(index.totalSize == nil)
    }

    @Test func `an index of PyTorch files can be asked for`() throws {
        #expect(
            try index(#"{"metadata":{},"weight_map":{"a":"x.bin"}}"#, fileExtension: "bin").files == ["x.bin"]
        )
    }

    @Test func `names that differ in bytes only are different tensors`() throws {
        let index = try index(
            #"{"metadata":{},"weight_map":{"\u00e9":"x.safetensors","e\u0301":"y.safetensors"}}"#)
        #expect(index.entries.count == 2 && index.entries[0].tensor != index.entries[1].tensor)
    }

    // The expected bytes are those of Python 3.11:
    // json.dumps({"metadata": {"total_size": 20, "total_parameters": 5}, "weight_map": {
    //   "b": "m-00002-of-00002.safetensors", "\xe9\U0001F600": "m-00001-of-00002.safetensors"}},
    //   indent=2, sort_keys=True) + "\n"
    @Test func `an index is written as transformers writes it`() {
        let index = ShardIndex(
            entries: [
                ShardIndex.Entry(tensor: "é\u{1F600}", file: "m-00001-of-00002.safetensors"),
                ShardIndex.Entry(tensor: "b", file: "m-00002-of-00002.safetensors"),
            ], totalSize: 20, totalParameters: 5)
        let expected = #"""
            {
              "metadata": {
                "total_parameters": 5,
                "total_size": 20
              },
              "weight_map": {
                "b": "m-00002-of-00002.safetensors",
                "\u00e9\ud83d\ude00": "m-00001-of-00002.safetensors"
              }
            }

            """#
        #expect(String(decoding: index.serialized(), as: UTF8.self) == expected)
    }
}
