import Checkpoints
import CheckpointFormats
import TensorCore
import Testing

@testable import Conversion

@Suite("Transforms")
struct TransformTests {
    /// A checkpoint of tensors of two elements each; those of the same number are one storage.
    private func checkpoint(_ tensors: [(name: TensorName, dtype: DType, storage: Int)]) -> Checkpoint {
        let storage = MemorySource(name: "m.bin", contents: [UInt8](repeating: 1, count: 16 * tensors.count))
        let records = tensors.map { tensor in
            let size = UInt64(tensor.dtype.bitWidth / 4)
            let extent = Extent(source: storage, offset: UInt64(16 * tensor.storage), byteCount: size)
            return TensorRecord(name: tensor.name, dtype: tensor.dtype, shape: [2], source: .extent(extent))
        }
        return Checkpoint(
            format: "test", tensors: records, files: [SourceFile(path: "m.bin", source: storage)])
    }

    private func floats(_ names: TensorName...) -> Checkpoint {
        checkpoint(names.enumerated().map { ($0.element, .f32, $0.offset) })
    }

    private func names(_ checkpoint: Checkpoint) -> [String] { checkpoint.tensors.map(\.name.string) }

    private func plan(
        _ checkpoint: Checkpoint, _ transforms: [Transform], allowsUnmatched: Bool = false
    ) throws -> ExportPlan {
        try ExportPlan(
            model: OpenedModel(checkpoint: checkpoint, directory: nil),
            options: ExportOptions(transforms: transforms, allowsUnmatched: allowsUnmatched))
    }

    private func message(_ checkpoint: Checkpoint, _ transforms: [Transform]) -> String {
        do {
            _ = try checkpoint.applying(transforms)
            return ""
        } catch { return error.description }
    }

    @Test func `transforms see the names that those before them left`() throws {
        let source = floats("model.a", "model.b", "head")
        let renamed = try source.applying([.rename(parsing: "s/^model\\.//"), .drop(parsing: "a")])
        #expect(names(renamed) == ["b", "head"])
        #expect(message(source, [try .drop(parsing: "a"), try .rename(parsing: "s/^model\\.//")]) != "")
    }

    @Test func `a selection keeps what any of its patterns matches, in the order of the source`() throws {
        let both = try #require(try Transform.select(parsing: "c").joined(with: .select(parsing: "a")))
        #expect(names(try floats("a", "b", "c").applying([both])) == ["a", "c"])
        #expect(try Transform.select(parsing: "c").joined(with: .drop(parsing: "a")) == nil)
    }

    @Test func `a cast of all converts floats only, one by name whatever can be`() throws {
        let source = checkpoint([("a", .f32, 0), ("b", .f64, 1), ("c", .i64, 2), ("d", .bf16, 3)])
        let cast = try source.applying([.cast(parsing: "bf16")])
        #expect(cast.tensors.map(\.dtype) == [.bf16, .bf16, .i64, .bf16])
        #expect(cast.tensors.map(\.byteCount) == [4, 4, 16, 4])
        let named = try source.applying([.cast(parsing: "[ab]=f16")])
        #expect(named.tensors.map(\.dtype) == [.f16, .f16, .i64, .bf16])
    }

    @Test func `of several casts of a tensor the last counts, and it is converted once`() throws {
        let source = floats("norm", "w")
        let cast = try source.applying([.cast(parsing: "bf16"), .cast(parsing: "norm=float32")])
        #expect(cast.tensors.map(\.dtype) == [.f32, .bf16])
        #expect(cast.tensors[0].source.extent != nil)
        let other = try source.applying([.cast(parsing: "norm=f64"), .cast(parsing: "half")])
        #expect(other.tensors.map(\.dtype) == [.f16, .f16])
        guard case .cast(.extent, let from, _, _) = other.tensors[0].source else {
            Issue.record("converted twice")
            return
        }
        #expect(from == .f32)
    }

    @Test(
        arguments: DType.allCases.filter { $0 != .c64 })
    func `every dtype but complex can be named`(dtype: DType) throws {
        let source = floats("a")
        let wide = TensorRecord(
            name: "a", dtype: .f32, shape: [4],
            source: .extent(
                Extent(
                    source: MemorySource(name: "m", contents: [UInt8](repeating: 0, count: 16)), offset: 0,
                    byteCount: 16)))
        var model = source
        model.tensors = TensorTable([wide])
        let cast = try model.applying([.cast(parsing: "a=\(dtype.name)")])
        #expect(cast.tensors[0].dtype == dtype && cast.tensors[0].byteCount == dtype.byteCount(of: [4]))
    }

    @Test(
        arguments: [
            ("bf16", .bf16), ("BF16", .bf16), ("bfloat16", .bf16), ("torch.float16", .f16), ("half", .f16),
            ("fp16", .f16), ("fp32", .f32), ("float", .f32), ("fp8", .f8E4M3), ("f8_e4m3", .f8E4M3),
            ("float8_e4m3fn", .f8E4M3), ("float8_e5m2", .f8E5M2), ("int8", .i8), ("bool", .bool),
        ] as [(String, DType)])
    func `dtypes have the names that people use`(spelling: String, dtype: DType) {
        #expect(DType(spelling: spelling) == dtype)
    }

    @Test(
        arguments: [("bf17", 1), ("*.w=bf17", 5), ("fp8", 1), ("=bf16", 1), ("a[=bf16", 2), ("i64", 1)]
            as [(String, Int)])
    func `a cast that cannot be read is refused at its character`(text: String, position: Int) {
        #expect(throws: PatternError.self) { try Transform.cast(parsing: text) }
        do { _ = try Transform.cast(parsing: text) } catch { #expect(error.position == position) }
    }

    @Test func `two tensors cannot get one name`() throws {
        let text = message(floats("l.0.w", "l.1.w"), [try .rename(parsing: "s/[0-9]/x/")])
        #expect(text.contains("l.0.w and l.1.w") && text.contains("l.x.w"))
        let onto = message(floats("a", "b"), [try .rename(parsing: "s/a/b/")])
        #expect(onto.contains("a and b") || onto.contains("b and a"))
        let swapped = try floats("a", "b").applying([
            .rename(parsing: "s/^a$/t/"), .rename(parsing: "s/^b$/a/"), .rename(parsing: "s/^t$/b/"),
        ])
        #expect(names(swapped) == ["b", "a"])
    }

    @Test(arguments: ["s/.*//", "s/.*/__metadata__/"])
    func `a name that no tensor can have is refused`(expression: String) throws {
        #expect(message(floats("a"), [try .rename(parsing: expression)]).contains("the tensor a"))
    }

    @Test func `a pattern that matches nothing is an error that says what is near`() throws {
        let source = floats("model.norm.weight", "model.embed.weight")
        #expect(message(source, [try .drop(parsing: "*.nrom.weight")]).contains("near: model.norm.weight"))
        #expect(message(source, [try .cast(parsing: "x=bf16")]).contains("no tensor's name matches"))
        #expect(message(source, [try .rename(parsing: "s/q/r/")]).contains("no tensor's name matches"))
        #expect(message(source, [.select([try Glob(parsing: "*"), try Glob(parsing: "zz")])]).contains("zz"))
    }

    @Test func `where that is allowed it is a warning`() throws {
        let plan = try plan(floats("a"), [.drop(parsing: "b")], allowsUnmatched: true)
        #expect(plan.checkpoint.warnings.map(\.code) == ["pattern-unmatched"])
        #expect(plan.shards[0].tensors.count == 1 && plan.effects[0].tensorCount == 0)
    }

    @Test func `an export without tensors is refused`() throws {
        #expect(message(floats("a", "b"), [try .drop(parsing: "*")]).contains("no tensor is left"))
    }

    @Test func `a name whose twin is left out keeps its bytes`() throws {
        let source = checkpoint([("embed", .f32, 0), ("lm_head.weight", .f32, 0), ("w", .f32, 1)])
        let plan = try plan(source, [.drop(parsing: "embed")])
        #expect(plan.shards[0].tensors.map(\.tensor.name).sorted() == ["lm_head.weight", "w"])
        #expect(plan.ties.isEmpty)
    }

    @Test func `names of one storage that are converted differently are both written`() throws {
        let source = checkpoint([("a", .f32, 0), ("b", .f32, 0)])
        #expect(try plan(source, [.cast(parsing: "bf16")]).ties.map(\.dropped) == ["b"])
        let mixed = try plan(source, [.cast(parsing: "bf16"), .cast(parsing: "b=f32")])
        #expect(mixed.ties.isEmpty && mixed.shards[0].tensors.count == 2)
    }

    @Test func `ties follow renames, and heads are known by their new names`() throws {
        let source = checkpoint([("a.out", .f32, 0), ("z.emb", .f32, 0)])
        let plan = try plan(source, [.rename(parsing: "s/a.out/lm_head.weight/")])
        #expect(plan.ties.map(\.kept) == ["z.emb"])
    }

    @Test func `each transform says how many tensors it concerned`() throws {
        let source = checkpoint([("m.a", .f32, 0), ("m.b", .f32, 0), ("c", .f32, 1), ("d", .i32, 2)])
        let plan = try plan(
            source,
            [
                .cast(parsing: "bf16"), .rename(parsing: "s/^m\\.//"), .cast(parsing: "c=f32"),
                .drop(parsing: "d"),
                .untie(parsing: "b"),
            ])
        #expect(plan.effects.map(\.tensorCount) == [2, 2, 0, 1, 1])
        #expect(plan.effects[1].examples.map(\.after) == ["a", "b"])
        #expect(plan.untied == ["b"] && plan.untiedByConfig.isEmpty)
    }

    @Test func `elements that would not fill whole bytes are refused`() throws {
        var source = floats("a")
        source.tensors = TensorTable([
            TensorRecord(
                name: "a", dtype: .i8, shape: [3],
                source: .extent(
                    Extent(source: MemorySource(name: "m", contents: [1, 2, 3]), offset: 0, byteCount: 3)))
        ])
        #expect(message(source, [try .cast(parsing: "a=f4")]).contains("whole bytes"))
    }

    @Test func `100,000 names are renamed, chosen and cast`() throws {
        let source = checkpoint((0..<100_000).map { (TensorName("model.layers.\($0).w"), .f32, 0) })
        let result = try source.applying([
            .rename(parsing: "s/^model\\.layers\\.([0-9]+)/blk.\\1/"), .drop(parsing: "*.{1,2}?.w"),
            .cast(parsing: "blk.*=bf16"),
        ])
        #expect(result.tensors.count == 99_980)
        #expect(result.tensors[0].name == "blk.0.w" && result.tensors[0].dtype == .bf16)
    }

    @Test func `balanced shards are of nearly one size`() throws {
        let source = floats("a", "b", "c", "d", "e")
        func counts(_ layout: ExportLayout) throws -> [Int] {
            try ExportPlan(
                model: OpenedModel(checkpoint: source, directory: nil),
                options: ExportOptions(layout: layout, maxShardByteCount: 32)
            ).shards.map(\.tensors.count)
        }
        #expect(try counts(.hub) == [4, 1])
        #expect([[3, 2], [2, 3]].contains(try counts(.balanced)))
    }
}
