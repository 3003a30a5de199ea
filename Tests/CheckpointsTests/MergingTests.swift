import Checkpoints
import TensorCore
import Testing

@Suite("Joining shards") struct MergingTests {
    static func part(_ file: String, _ names: [String]) -> (file: String, checkpoint: Checkpoint) {
        let source = MemorySource(name: file, contents: [1, 2, 3, 4])
        let tensors = names.map { name in
            TensorRecord(
                name: TensorName(name), dtype: .f32, shape: [],
                source: .extent(Extent(source: source, offset: 0, byteCount: 4)))
        }
        return (
            file,
            Checkpoint(format: "pytorch", tensors: tensors, files: [SourceFile(path: file, source: source)])
        )
    }

    @Test func `shards that the index describes are one table`() throws {
        let merged = try Checkpoint.merging(
            [Self.part("1.bin", ["a", "b"]), Self.part("2.bin", ["c"])],
            weightMap: [("a", "1.bin"), ("b", "1.bin"), ("c", "2.bin")], directory: "d")
        #expect(merged.tensors.map(\.name) == ["a", "b", "c"])
        #expect(merged.files.map(\.path) == ["1.bin", "2.bin"])
        #expect(merged.warnings.isEmpty)
    }

    @Test func `a tensor that the index does not list is kept with a warning`() throws {
        let merged = try Checkpoint.merging(
            [Self.part("1.bin", ["a", "b"])], weightMap: [("a", "1.bin")], directory: "d")
        #expect(merged.tensors.count == 2)
        #expect(merged.warnings.map(\.code) == ["tensor-not-indexed"])
    }

    @Test(
        arguments: [
            ([("a", "1.bin"), ("x", "1.bin")], ["a"], ["c"], "tensor-missing"),
            ([("a", "2.bin")], ["a"], ["c"], "tensor-missing"),
            ([("a", "1.bin")], ["a"], ["a"], "duplicate-across-shards"),
        ] as [([(String, String)], [String], [String], String)])
    func `an index that does not fit its shards is refused`(
        map: [(String, String)], first: [String], second: [String], code: String
    ) throws {
        let error = try #require(throws: CheckpointError.self) {
            try Checkpoint.merging(
                [Self.part("1.bin", first), Self.part("2.bin", second)],
                weightMap: map.map { (TensorName($0.0), $0.1) }, directory: "d")
        }
        #expect(error.code == code)
    }
}
