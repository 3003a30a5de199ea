import Checkpoints
import TensorCore
import TestSupport
import Testing

@Suite struct ExpressionTests {
    static func read(_ source: TensorSource, at offset: Int, count: Int) throws -> [UInt8] {
        var buffer = [UInt8](repeating: 0xAA, count: count)
        var span = buffer.mutableSpan
        var raw = MutableRawSpan(_elements: &span)
        try source.read(at: UInt64(offset), into: &raw)
        return buffer
    }

    static func read(_ expression: TensorExpression) throws -> [UInt8] {
        try read(expression.source, at: 0, count: Int(expression.byteCount))
    }

    @Test func `an expression is what its operations make of the elements, whole and in any pieces`() throws {
        var random = SeededRandom(seed: 11)
        for _ in 0..<1000 {
            let tree = try ExpressionTree(depth: .random(in: 0...7, using: &random), using: &random)
            let expected = try #require(tree.plain.bytes)
            #expect(tree.lazy.shape == tree.plain.shape.map(UInt64.init))
            #expect(tree.lazy.dtype == tree.plain.dtype)
            #expect(tree.lazy.byteCount == UInt64(expected.count))
            let whole = try Self.read(tree.lazy)
            try #require(whole == expected, "\(tree.text)\n\(tree.lazy.source)")
            // Pieces that take no notice of elements.
            var start = 0
            while start < expected.count {
                let end = min(expected.count, start + .random(in: 1...100, using: &random))
                let piece = try Self.read(tree.lazy.source, at: start, count: end - start)
                try #require(piece == Array(expected[start..<end]), "\(start)..<\(end) of \(tree.text)")
                start = end
            }
        }
    }

    @Test func `an expression reads nothing outside the extents that it names`() throws {
        var random = SeededRandom(seed: 12)
        for _ in 0..<500 {
            let tree = try ExpressionTree(depth: .random(in: 1...6, using: &random), using: &random)
            _ = try Self.read(tree.lazy)
            var named: [ObjectIdentifier: (source: RecordingSource, extents: [Extent])] = [:]
            for extent in tree.lazy.source.extents {
                let source = try #require(extent.source as? RecordingSource)
                named[ObjectIdentifier(source), default: (source, [])].extents.append(extent)
            }
            for (source, extents) in named.values {
                for read in source.reads {
                    let isNamed = extents.contains {
                        $0.offset <= read.lowerBound && read.upperBound <= $0.offset + $0.byteCount
                    }
                    try #require(isNamed, "\(read) of \(tree.text)")
                }
            }
        }
    }

    @Test func `threads that read at once do not disturb each other`() throws {
        var random = SeededRandom(seed: 13)
        for _ in 0..<40 {
            let tree = try ExpressionTree(depth: 6, using: &random)
            let expected = try #require(tree.plain.bytes)
            let wrong = Monitor(0)
            let lazy = tree.lazy
            Workers.run(count: 4) { thread in
                var random = SeededRandom(seed: UInt64(thread))
                for _ in 0..<20 where !expected.isEmpty {
                    let start = Int.random(in: 0..<expected.count, using: &random)
                    let end = Int.random(in: start...expected.count, using: &random)
                    let piece = try? Self.read(lazy.source, at: start, count: end - start)
                    if piece != Array(expected[start..<end]) { wrong.withLock { $0 += 1 } }
                }
            }
            #expect(wrong.withLock { $0 } == 0, "\(tree.text)")
        }
    }

    @Test(arguments: [
        [1000, 1000], [3, 70_001, 5], [40, 50, 30, 20], [7, 1 << 17], [600, 2, 900], [11, 13, 17, 19, 23],
    ])
    func `tensors larger than the scratch memory are permuted`(shape: [Int]) throws {
        var random = SeededRandom(seed: 15)
        let count = shape.reduce(1, *)
        let contents = (0..<2 * count).map { UInt8(truncatingIfNeeded: $0 &* 0x9E37_79B9 >> 16) }
        for cost in [64, 8192, 1 << 20] {
            let source = RecordingSource(contents: contents, readCost: cost)
            let order = shape.indices.shuffled(using: &random)
            let lazy = try TensorExpression(
                dtype: .u16, shape: shape.map(UInt64.init),
                source: .extent(Extent(source: source, offset: 0, byteCount: UInt64(2 * count)))
            ).permuted(order)
            var strides = shape
            for axis in shape.indices { strides[axis] = shape[(axis + 1)...].reduce(1, *) }
            var start = Int.random(in: 0..<1000, using: &random)
            while start < 2 * count {
                let end = min(2 * count, start + .random(in: 1...2 * count, using: &random))
                let piece = try Self.read(lazy.source, at: start, count: end - start)
                for index in stride(from: 0, to: piece.count, by: 37) {
                    var rest = (start + index) / 2
                    var element = 0
                    for axis in order.reversed() {
                        element += rest % shape[axis] * strides[axis]
                        rest /= shape[axis]
                    }
                    let expected = source.contents[2 * element + (start + index) % 2]
                    if piece[index] != expected {
                        throw WrongElement(index: start + index, order: order, cost: cost)
                    }
                }
                start = end
            }
        }
    }

    struct WrongElement: Error { let index: Int, order: [Int], cost: Int }

    @Test(arguments: [(5, 600, 1100), (2500, 3, 1), (3, 1, 300_001), (1, 300, 40)])
    func `updates larger than a block of the kernel are summed in order`(rows: Int, rank: Int, columns: Int)
        throws
    {
        var random = SeededRandom(seed: 16)
        let base = try ExpressionTree(leaf: .bf16, shape: [rows, columns], using: &random)
        let b = try ExpressionTree(leaf: .f16, shape: [rows, rank], using: &random)
        let a = try ExpressionTree(leaf: .bf16, shape: [rank, columns], using: &random)
        let lazy = try TensorExpression.lowRankUpdated(
            base.lazy, b: b.lazy, a: a.lazy, scale: 0.7, dtype: .f32)
        let whole = try Self.read(lazy)
        let (left, right, values) = (b.plain.values, a.plain.values, base.plain.values)
        for position in stride(from: 0, to: rows * columns, by: 61) {
            var sum: Float = 0
            for index in 0..<rank {
                sum.addProduct(
                    left[position / columns * rank + index], right[index * columns + position % columns])
            }
            let update = 0.7 * sum
            let expected = (values[position] + update).bitPattern
            let found = whole[4 * position..<4 * position + 4].reversed().reduce(0) { $0 << 8 | UInt32($1) }
            if found != expected { throw WrongElement(index: position, order: [], cost: 0) }
        }
        // The same from any place on.
        for _ in 0..<3 {
            let start = Int.random(in: 0..<whole.count, using: &random)
            let end = min(whole.count, start + .random(in: 1...40_000, using: &random))
            #expect(try Self.read(lazy.source, at: start, count: end - start) == Array(whole[start..<end]))
        }
    }

    @Test(.enabled(if: Oracle.isAvailable))
    func `expressions are what NumPy makes of the same operations`() throws {
        var random = SeededRandom(seed: 14)
        let directory = try TemporaryDirectory()
        var lines: [String] = []
        for _ in 0..<800 {
            let tree = try ExpressionTree(
                depth: .random(in: 1...6, using: &random), dtypes: PlainTensor.floats,
                casts: PlainTensor.floats, using: &random)
            let hex = try Self.read(tree.lazy).map { String($0 >> 4, radix: 16) + String($0 & 15, radix: 16) }
            lines.append(
                #"{"tree":\#(tree.text),"dtype":"\#(tree.lazy.dtype.name)","shape":\#(tree.lazy.shape),"#
                    + #""hex":"\#(hex.joined())"}"#)
        }
        try directory.write("cases", lines.joined(separator: "\n"))
        try Oracle.run("expressions.py", directory.file("cases"))
    }
}
