import CheckpointFormats
import Checkpoints
import Conversion
import TensorCore
import TestSupport
import Testing

@Suite struct DiffTests {
    static func model(_ tensors: [(name: String, dtype: DType, shape: [UInt64], bytes: [UInt8])])
        -> OpenedModel
    {
        let records = tensors.map { tensor in
            let source = MemorySource(name: tensor.name, contents: tensor.bytes)
            let extent = Extent(source: source, offset: 0, byteCount: UInt64(tensor.bytes.count))
            return TensorRecord(
                name: TensorName(tensor.name), dtype: tensor.dtype, shape: tensor.shape,
                source: .extent(extent))
        }
        return OpenedModel(
            checkpoint: Checkpoint(format: "test", tensors: records, files: []), directory: nil)
    }

    static func floats(_ name: String, _ values: [Float]) -> (String, DType, [UInt64], [UInt8]) {
        (name, .f32, [UInt64(values.count)], values.flatMap { bytes($0.bitPattern) })
    }

    static func bytes<T: FixedWidthInteger>(_ value: T) -> [UInt8] {
        withUnsafeBytes(of: value.littleEndian, Array.init)
    }

    /// The top half of each number, which is the same number where the rest is zero.
    static func halves(_ name: String, _ values: [Float]) -> (String, DType, [UInt64], [UInt8]) {
        (name, .bf16, [UInt64(values.count)], values.flatMap { bytes(UInt16($0.bitPattern >> 16)) })
    }

    @Test func `the order of tensors says nothing`() throws {
        let (x, y) = (Self.floats("x", [1, 2]), Self.floats("y", [3]))
        let diff = try CheckpointDiff(Self.model([x, y]), Self.model([y, x]))
        #expect(diff.isSame && diff.sameCount == 2)
    }

    @Test func `changes are measured and the largest comes first`() throws {
        let a = Self.model([
            Self.floats("x", [1, 2, -4, 0]), Self.floats("y", [1, 1]), Self.floats("a", [5]),
        ])
        let b = Self.model([
            Self.floats("x", [1, 2.5, -4, 0]), Self.floats("y", [1, 3]), Self.floats("b", [5]),
        ])
        let diff = try CheckpointDiff(a, b)
        #expect(!diff.isSame && diff.sameCount == 0)
        #expect(diff.changed.map(\.name) == ["y", "x"])
        #expect(diff.onlyInA.map(\.name) == ["a"] && diff.onlyInB.map(\.name) == ["b"])
        let values = try #require(diff.changed[1].values)
        #expect(values.count == 4 && values.differing == 1)
        #expect(values.largest == 0.5 && values.mean == 0.125 && values.rootMeanSquare == 0.25)
        #expect(values.largestRelative == 0.2)
        #expect(values.relative == (0.25 / 21.0).squareRoot())
    }

    @Test func `numbers of other dtypes are compared by their values`() throws {
        let (a, b) = (Self.model([Self.floats("x", [1, 2, 3])]), Self.model([Self.halves("x", [1, 2, 3])]))
        let diff = try CheckpointDiff(a, b)
        #expect(!diff.isSame && diff.changed.map(\.change) == [.dtype])
        #expect(diff.changed[0].values?.differing == 0)
        var options = CheckpointDiff.Options()
        options.tolerance = 0
        #expect(try CheckpointDiff(a, b, options: options).isSame)
    }

    @Test(arguments: [(0.5, true), (0.49, false)])
    func `a tolerance is the largest distance that counts for nothing`(tolerance: Double, isSame: Bool) throws
    {
        var options = CheckpointDiff.Options()
        options.tolerance = tolerance
        let (a, b) = (Self.model([Self.floats("x", [1, 2])]), Self.model([Self.floats("x", [1, 2.5])]))
        #expect(try CheckpointDiff(a, b, options: options).isSame == isSame)
    }

    @Test func `NaN and infinities are counted, and only unmatched ones are differences`() throws {
        let a = Self.floats("x", [.nan, .infinity, 0, 1, .nan, -.infinity])
        let b = Self.floats("x", [-.nan, .infinity, -0.0, .nan, 1, .infinity])
        var options = CheckpointDiff.Options()
        options.tolerance = .greatestFiniteMagnitude
        let diff = try CheckpointDiff(Self.model([a]), Self.model([b]), options: options)
        let values = try #require(diff.changed.first?.values)
        #expect(values.differing == 3 && values.unmatchedNaNs == 2 && values.largest == .infinity)
        for odd in [values.oddA, values.oddB] { #expect(odd.nans == 2 && odd.infinities == 2) }
        #expect(!diff.isSame)
    }

    @Test func `another shape is a difference whatever the values`() throws {
        var b = Self.floats("x", [1, 2])
        b.2 = [2, 1]
        let diff = try CheckpointDiff(Self.model([Self.floats("x", [1, 2])]), Self.model([b]))
        #expect(diff.changed.map(\.change) == [.shape] && diff.changed[0].values == nil)
    }

    @Test func `quick looks at headers only`() throws {
        var options = CheckpointDiff.Options()
        options.isQuick = true
        let a = Self.model([Self.floats("x", [1]), Self.floats("y", [1])])
        let b = Self.model([Self.floats("x", [2]), Self.halves("y", [1])])
        let diff = try CheckpointDiff(a, b, options: options)
        #expect(diff.sameCount == 1 && diff.changed.map(\.name) == ["y"])
    }

    @Test func `patterns choose names, and one that matches none is an error`() throws {
        let a = Self.model([Self.floats("x", [1]), Self.floats("y", [1]), Self.floats("yy", [1])])
        let b = Self.model([Self.floats("x", [2]), Self.floats("y", [1]), Self.floats("yy", [2])])
        var options = CheckpointDiff.Options()
        options.selection = [try Glob(parsing: "y*")]
        options.exclusion = [try Glob(parsing: "yy")]
        #expect(try CheckpointDiff(a, b, options: options).isSame)
        options.exclusion = [try Glob(parsing: "z")]
        #expect(throws: ConversionError.self) { try CheckpointDiff(a, b, options: options) }
    }

    @Test(arguments: [1, 4])
    func `the last of millions of elements counts, whatever the number of threads`(jobs: Int) throws {
        var generator = SeededGenerator(seed: 3)
        let large = generator.bytes(1_300_001)
        var other = large
        other[1_300_000] ^= 1
        let shape: [UInt64] = [1_300_001]
        var options = CheckpointDiff.Options()
        options.jobs = jobs
        let read = Monitor(0)
        options.progress = { count in read.withLock { $0 += count } }
        let diff = try CheckpointDiff(
            Self.model([("x", .u8, shape, large), ("same", .u8, shape, large)]),
            Self.model([("x", .u8, shape, other), ("same", .u8, shape, large)]), options: options)
        let values = try #require(diff.changed.first?.values)
        #expect(diff.sameCount == 1 && values.differing == 1 && values.largest == 1)
        #expect(values.count == 1_300_001)
        #expect(read.withLock { $0 } == 4 * 1_300_001)
    }

    @Test func `layers are found by their number`() throws {
        let a = Self.model([
            Self.floats("m.0.w", [1, 0]), Self.floats("m.10.w", [1, 0]), Self.floats("n.10.w", [1, 0]),
        ])
        let b = Self.model([
            Self.floats("m.0.w", [1, 0.5]), Self.floats("m.10.w", [1, 3]), Self.floats("n.10.w", [1, 4]),
        ])
        let layers = try CheckpointDiff(a, b).layers
        #expect(layers.map(\.number) == [0, 10])
        #expect(layers.map(\.relative) == [0.5, (12.5).squareRoot()])
    }

    @Test func `a failure to read is an error`() throws {
        let a = Self.model([Self.floats("x", [1])])
        var b = a
        let source = MemorySource(name: "short", contents: [0])
        b.checkpoint.tensors = TensorTable([
            TensorRecord(
                name: "x", dtype: .f32, shape: [1],
                source: .extent(Extent(source: source, offset: 0, byteCount: 4)))
        ])
        #expect(throws: ConversionError.self) { try CheckpointDiff(a, b) }
    }
}
