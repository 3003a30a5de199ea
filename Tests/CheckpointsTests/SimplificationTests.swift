import Checkpoints
import TensorCore
import Testing

@Suite struct SimplificationTests {
    let source = RecordingSource(contents: (0..<4096).map { UInt8(truncatingIfNeeded: $0) })

    func stored(_ dtype: DType, _ shape: [UInt64], at offset: UInt64 = 0) throws -> TensorExpression {
        try TensorExpression(
            dtype: dtype, shape: shape,
            source: .extent(
                Extent(source: source, offset: offset, byteCount: dtype.byteCount(of: shape) ?? 0)))
    }

    @Test func `rows of a stored tensor are an extent`() throws {
        let rows = try stored(.f32, [8, 4], at: 16).sliced(axis: 0, 2..<5)
        #expect(rows.source.extent?.offset == 48)
        #expect(rows.source.extent?.byteCount == 48)
    }

    @Test func `a view of a view is one view of the storage, and an extent where it is contiguous again`()
        throws
    {
        let tensor = try stored(.bf16, [4, 3, 8])
        let turned = try tensor.permuted([2, 0, 1]).sliced(axis: 0, 1..<5).permuted([1, 2, 0])
        guard case .strided(let view) = turned.source else {
            Issue.record("\(turned.source)")
            return
        }
        #expect(view.storage.extent?.byteCount == tensor.byteCount)
        #expect(view.elementOffset == 1)
        #expect(view.strides == [24, 8, 1])
        let back = try tensor.permuted([2, 1, 0]).permuted([2, 1, 0]).sliced(axis: 0, 1..<2)
        #expect(back.source.extent?.offset == 48)
    }

    @Test func `a reshaped view is a view of the storage where strides allow it`() throws {
        let split = try stored(.f32, [6, 8]).transposed().reshaped(to: [4, 2, 6]).permuted([2, 0, 1])
        #expect(split.source.extent != nil)
        // A transposed matrix as a vector has no strides: the view is taken of the transposed one.
        let flat = try stored(.f32, [6, 8]).transposed().reshaped(to: [48]).sliced(axis: 0, 1..<40)
        guard case .strided(let view) = flat.source, case .strided = view.storage else {
            Issue.record("\(flat.source)")
            return
        }
    }

    @Test func `neighbouring extents are joined, others are not`() throws {
        let (a, b) = (try stored(.u8, [2, 4], at: 8), try stored(.u8, [3, 4], at: 16))
        let joined = try TensorExpression.concatenated([a, b], axis: 0)
        #expect(joined.shape == [5, 4])
        #expect(joined.source.extent?.offset == 8)
        #expect(joined.source.extent?.byteCount == 20)
        #expect(try TensorExpression.concatenated([b, a], axis: 0).source.extent == nil)
        let apart = try stored(.u8, [2, 4], at: 17)
        #expect(try TensorExpression.concatenated([a, apart], axis: 0).source.extent == nil)
        // Another source of the same name is another source.
        let other = try TensorExpression(
            dtype: .u8, shape: [3, 4],
            source: .extent(
                Extent(source: RecordingSource(contents: source.contents), offset: 16, byteCount: 12)))
        #expect(try TensorExpression.concatenated([a, other], axis: 0).source.extent == nil)
    }

    @Test func `nested concatenations are one, and a slice of one takes the parts it touches`() throws {
        let parts = try (0..<4).map { try stored(.f16, [3, 2], at: 100 * $0) }
        let left = try TensorExpression.concatenated(Array(parts[..<2]), axis: 1)
        let all = try TensorExpression.concatenated([left, parts[2], parts[3]], axis: 1)
        guard case .concatenated(let node) = all.source else {
            Issue.record("\(all.source)")
            return
        }
        #expect(node.parts.count == 4)
        let middle = try all.sliced(axis: 1, 3..<6)
        guard case .concatenated(let node) = middle.source else {
            Issue.record("\(middle.source)")
            return
        }
        #expect(node.parts.map { $0.shape[1] } == [1, 2])
        #expect(try all.sliced(axis: 1, 4..<6).source.extent?.offset == 200)
    }

    @Test func `a cast stands below a view and above an extent, and to the same dtype it is nothing`() throws
    {
        let tensor = try stored(.f32, [8, 4])
        guard case .cast(let inner, _, _, _) = try tensor.cast(to: .bf16).sliced(axis: 0, 1..<3).source
        else { throw Unexpected() }
        #expect(inner.extent?.offset == 16)
        #expect(inner.extent?.byteCount == 32)
        for turned in [try tensor.transposed().cast(to: .bf16), try tensor.cast(to: .bf16).transposed()] {
            guard case .strided(let view) = turned.source, case .cast = view.storage else {
                throw Unexpected()
            }
        }
        #expect(try tensor.cast(to: .f32).source.extent != nil)
    }

    @Test func `a low-rank update of F32 that is cast is one that rounds once`() throws {
        let update = try TensorExpression.lowRankUpdated(
            stored(.f32, [4, 6]), b: stored(.f32, [4, 2]), a: stored(.f32, [2, 6]), scale: 1)
        guard case .lowRank(let node) = try update.cast(to: .bf16).transposed().source else {
            throw Unexpected()
        }
        #expect(node.dtype == .bf16)
        #expect(node.shape == [6, 4])
    }

    struct Unexpected: Error {}

    @Test func `a slice or a permutation of dequantised blocks is dequantised from the blocks it touches`()
        throws
    {
        let whole = try TensorExpression.blockDequantised(
            stored(.f8E4M3, [10, 12]), scales: stored(.f32, [3, 3]), block: [4, 5], dtype: .bf16)
        let part = try whole.sliced([5..<9, 3..<10]).transposed()
        guard case .blockDequantised(let node) = part.source else { throw Unexpected() }
        #expect(node.scales.shape == [2, 2])
        #expect(node.values.shape == [7, 4])
        #expect(node.origin == [3, 1])
    }

    // MARK: - What is refused

    @Test func `shapes that do not fit are refused, whatever the numbers`() throws {
        let huge = UInt64.max
        #expect(throws: ExpressionError.self) {
            try TensorExpression(dtype: .f32, shape: [huge, huge], source: source(of: 16))
        }
        #expect(throws: ExpressionError.self) {
            try TensorExpression(dtype: .f64, shape: [1 << 62], source: source(of: 16))
        }
        #expect(throws: ExpressionError.self) {
            try TensorExpression(dtype: .f4, shape: [3], source: source(of: 1))
        }
        #expect(throws: ExpressionError.self) {
            try TensorExpression(dtype: .u8, shape: [3], source: source(of: 4))
        }
        #expect(throws: ExpressionError.self) {
            try TensorExpression.filled(with: [0], dtype: .u8, shape: [1 << 32, 1 << 32])
        }
        let matrix = try stored(.f32, [4, 6])
        #expect(throws: ExpressionError.self) { try matrix.sliced([0..<4, 0..<huge]) }
        #expect(throws: ExpressionError.self) { try matrix.sliced([0..<4]) }
        #expect(throws: ExpressionError.self) { try matrix.sliced(axis: 2, 0..<1) }
        #expect(throws: ExpressionError.self) { try matrix.sliced(axis: -1, 0..<1) }
        #expect(throws: ExpressionError.self) { try matrix.permuted([0, 0]) }
        #expect(throws: ExpressionError.self) { try matrix.permuted([0, 2]) }
        #expect(throws: ExpressionError.self) { try matrix.reshaped(to: [25]) }
        #expect(throws: ExpressionError.self) { try matrix.reshaped(to: [huge, 24]) }
        #expect(throws: ExpressionError.self) { try stored(.c64, [2]).cast(to: .f32) }
        #expect(throws: ExpressionError.self) { try TensorExpression.concatenated([], axis: 0) }
        #expect(throws: ExpressionError.self) {
            try TensorExpression.concatenated([matrix, stored(.f32, [4, 5])], axis: 0)
        }
        #expect(throws: ExpressionError.self) {
            try TensorExpression.concatenated([matrix, stored(.i32, [4, 6])], axis: 0)
        }
        let empty = try TensorExpression(dtype: .u8, shape: [0, huge - 1], source: source(of: 0))
        #expect(throws: ExpressionError.self) { try TensorExpression.concatenated([empty, empty], axis: 1) }
    }

    @Test func `factors and scales that do not fit are refused`() throws {
        let matrix = try stored(.f32, [4, 6])
        #expect(throws: ExpressionError.self) {
            try TensorExpression.lowRankUpdated(
                matrix, b: stored(.f32, [6, 2]), a: stored(.f32, [2, 4]), scale: 1)
        }
        #expect(throws: ExpressionError.self) {
            try TensorExpression.lowRankUpdated(
                matrix, b: stored(.f32, [4, 2]), a: stored(.f32, [2, 6]), scale: 1, dtype: .i32)
        }
        let scales = try stored(.f32, [2, 2])
        for block in [[2, 3], [3, 0], [3], [UInt64.max, 3]] as [[UInt64]] where block != [2, 3] {
            #expect(throws: ExpressionError.self, "\(block)") {
                try TensorExpression.blockDequantised(matrix, scales: scales, block: block, dtype: .f32)
            }
        }
    }

    private func source(of byteCount: UInt64) -> TensorSource {
        .extent(Extent(source: source, offset: 0, byteCount: byteCount))
    }

    @Test func `a tensor without elements goes through every operation`() throws {
        let empty = try TensorExpression(dtype: .f32, shape: [3, 0, 1 << 40], source: source(of: 0))
        let result = try TensorExpression.concatenated(
            [
                empty.permuted([2, 0, 1]).sliced(axis: 0, 0..<7).cast(to: .bf16),
                .filled(with: 1, dtype: .bf16, shape: [7, 3, 2]),
            ], axis: 2)
        #expect(result.shape == [7, 3, 2])
        #expect(result.byteCount == 84)
        #expect(try ExpressionTests.read(result) == (0..<42).flatMap { _ in [0x80, 0x3F] as [UInt8] })
        #expect(empty.source.extents.isEmpty)
    }

    @Test func `a read beyond the end is an error`() throws {
        let tensor = try stored(.f32, [4, 6]).transposed()
        #expect(throws: IOError.self) { try ExpressionTests.read(tensor.source, at: 90, count: 7) }
        #expect(throws: IOError.self) { try ExpressionTests.read(tensor.source, at: 97, count: 0) }
        #expect(try ExpressionTests.read(tensor.source, at: 96, count: 0).isEmpty)
    }

    // MARK: - How often the source is read

    private func readCount(
        _ count: Int, cost: Int = 8192, _ body: (TensorExpression) throws -> TensorExpression,
        shape: [UInt64] = [1024, 1024]
    ) throws {
        let source = RecordingSource(contents: [UInt8](repeating: 1, count: 4 << 20), readCost: cost)
        let expression = try body(
            TensorExpression(
                dtype: .f32, shape: shape,
                source: .extent(Extent(source: source, offset: 0, byteCount: 4 << 20))))
        _ = try ExpressionTests.read(expression)
        #expect(source.reads.count <= count, "\(source.reads.count) reads")
    }

    @Test func `few reads do the work where the storage is near together`() throws {
        // A transposed matrix of 4 MiB in windows of 1 MiB, and in one read where reads are dear.
        try readCount(8) { try $0.transposed() }
        try readCount(1, cost: 1 << 20) { try $0.transposed() }
        // 64 KiB of every row.
        try readCount(1024) { try $0.sliced(axis: 1, 0..<16) }
        try readCount(6) { try $0.sliced(axis: 1, 100..<1000) }
        // Many rows of a narrow part are read together.
        try readCount(64, { try .concatenated([$0, $0], axis: 1) }, shape: [1 << 18, 4])
        try readCount(1, cost: 1 << 20) { try $0.cast(to: .bf16) }
    }
}
