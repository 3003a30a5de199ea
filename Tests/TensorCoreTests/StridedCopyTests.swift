import TensorCore
import TestSupport
import Testing

@Suite struct StridedCopyTests {
    @Test(arguments: [1, 2, 3, 4, 8, 16])
    func `elements go where the strides lead, whatever the axes`(width: Int) {
        var random = SeededGenerator(seed: UInt64(width))
        for _ in 0..<300 {
            // Contiguous arrays of random order on both sides, at times with gaps or repetition in the source.
            let counts = (0..<Int.random(in: 0...4, using: &random)).map { _ in
                Int.random(in: 0...40, using: &random) == 0 ? 0 : Int.random(in: 1...19, using: &random)
            }
            func strides(gap: Int) -> [Int] {
                var result = counts
                var next = gap
                for axis in counts.indices.shuffled(using: &random) {
                    result[axis] = next
                    next *= max(1, counts[axis])
                }
                return result
            }
            var from = strides(gap: Int.random(in: 1...2, using: &random))
            let to = strides(gap: 1)
            if let axis = counts.indices.randomElement(using: &random), Bool.random(using: &random) {
                from[axis] = 0
            }
            let total = counts.reduce(1, *)
            guard total < 20_000 else { continue }
            let lead = Int.random(in: 0...3, using: &random)
            let reach = zip(counts, from).reduce(lead + 1) { $0 + max(0, $1.0 - 1) * $1.1 }
            let source = random.bytes(reach * width)
            var expected = [UInt8](repeating: 7, count: (total + lead) * width)
            for position in 0..<total {
                var (rest, input, output) = (position, lead, lead)
                for axis in counts.indices {
                    input += rest % counts[axis] * from[axis]
                    output += rest % counts[axis] * to[axis]
                    rest /= counts[axis]
                }
                for byte in 0..<width { expected[output * width + byte] = source[input * width + byte] }
            }
            let axes = counts.indices.map {
                StridedCopy.Axis(count: counts[$0], sourceStride: from[$0], destinationStride: to[$0])
            }
            var result = [UInt8](repeating: 7, count: expected.count)
            var span = result.mutableSpan
            var raw = MutableRawSpan(_elements: &span)
            StridedCopy(width: width, axes: axes.shuffled(using: &random)).copy(
                from: RawSpan(_elements: source.span), at: lead, to: &raw, at: lead)
            #expect(result == expected, "\(axes)")
        }
    }

    @Test(arguments: [1, 2, 4, 8])
    func `a large matrix is transposed, edges and all`(width: Int) {
        var random = SeededGenerator(seed: 1)
        let (rows, columns) = (531, 77)
        let source = random.bytes(rows * columns * width)
        var result = [UInt8](repeating: 0, count: source.count)
        var span = result.mutableSpan
        var raw = MutableRawSpan(_elements: &span)
        let axes: [StridedCopy.Axis] = [
            .init(count: columns, sourceStride: 1, destinationStride: rows),
            .init(count: rows, sourceStride: columns, destinationStride: 1),
        ]
        StridedCopy(width: width, axes: axes).copy(
            from: RawSpan(_elements: source.span), at: 0, to: &raw, at: 0)
        var wrong = 0
        for row in 0..<rows {
            for column in 0..<columns {
                for byte in 0..<width
                where result[(column * rows + row) * width + byte]
                    != source[(row * columns + column) * width + byte]
                {
                    wrong += 1
                }
            }
        }
        #expect(wrong == 0)
    }

    @Test func `a product is the same whatever the blocks, and in ascending order`() {
        var random = SeededGenerator(seed: 2)
        let (rows, depth, columns) = (11, 37, 29)
        let left = (0..<rows * depth).map { _ in Float.random(in: -1...1, using: &random) }
        let right = (0..<depth * columns).map { _ in Float.random(in: -1...1, using: &random) }
        var panels = [Float](repeating: .nan, count: LowRank.packedCount(depth: depth, columns: columns))
        var packed = panels.mutableSpan
        for row in 0..<depth {
            LowRank.pack(
                right.span.extracting(row * columns..<(row + 1) * columns), index: row, depth: depth,
                into: &packed)
        }
        var expected = [Float](repeating: 0, count: rows * columns)
        for row in 0..<rows {
            for column in 0..<columns {
                for index in 0..<depth {
                    expected[row * columns + column].addProduct(
                        left[row * depth + index], right[index * columns + column])
                }
            }
        }
        let cuts = [(0, 0), (1, 3), (4, 8), (7, 13), (11, 29)]
        for (level, (split, cut)) in KernelLevel.allCases.filter(\.isAvailable).flatMap({ level in
            cuts.map { (level, $0) }
        }) {
            var sums = [Float](repeating: 0, count: rows * columns)
            for rowRange in [0..<split, split..<rows] {
                for columnRange in [0..<cut, cut..<columns] {
                    var span = sums.mutableSpan
                    LowRank.accumulate(
                        left.span, panels.span, depth: depth,
                        part: .init(rows: rowRange, columns: columnRange, origin: 0, rowStride: columns),
                        level: level, to: &span)
                }
            }
            #expect(sums == expected, "\(level) \(split) \(cut)")
        }
    }

    @Test func `patterns repeat from their phase, and bytes turn within elements`() {
        var buffer = [UInt8](repeating: 0, count: 11)
        var span = buffer.mutableSpan
        var raw = MutableRawSpan(_elements: &span)
        ElementBits.fill(&raw, with: ([1, 2, 3] as [UInt8]).span, phase: 2)
        #expect(buffer == [3, 1, 2, 3, 1, 2, 3, 1, 2, 3, 1])
        for width in [2, 3, 4, 8] {
            var bytes = (0..<UInt8(2 * width)).map { $0 }
            var span = bytes.mutableSpan
            var raw = MutableRawSpan(_elements: &span)
            ElementBits.reverseBytes(of: &raw, width: width)
            let half = UInt8(width)
            #expect(bytes == (0..<half).reversed() + (half..<2 * half).reversed())
        }
    }
}
