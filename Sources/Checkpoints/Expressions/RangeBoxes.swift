/// A part of an index space that is a rectangle in as many dimensions.
struct IndexBox: Equatable {
    var starts: [Int]
    var counts: [Int]

    /// The indices that are in both, or nil where none are.
    func intersection(_ other: IndexBox) -> IndexBox? {
        var result = self
        for axis in starts.indices {
            let start = max(starts[axis], other.starts[axis])
            let end = min(starts[axis] + counts[axis], other.starts[axis] + other.counts[axis])
            if start >= end { return nil }
            result.starts[axis] = start
            result.counts[axis] = end - start
        }
        return result
    }

    /// Grows to hold the other box too.
    mutating func extend(over other: IndexBox) {
        for axis in starts.indices {
            let end = max(starts[axis] + counts[axis], other.starts[axis] + other.counts[axis])
            starts[axis] = min(starts[axis], other.starts[axis])
            counts[axis] = end - starts[axis]
        }
    }
}

/// Cuts ranges of elements in row-major order into rectangles.
struct RangeBoxes {
    /// The dimensions of the index space, outermost first; none is zero.
    let counts: [Int]
    /// The elements in one step along each dimension.
    private let blocks: [Int]

    init(counts: [Int]) {
        self.counts = counts
        var blocks = [Int](repeating: 1, count: counts.count)
        for axis in counts.indices.dropLast().reversed() {
            blocks[axis] = blocks[axis + 1] * counts[axis + 1]
        }
        self.blocks = blocks
    }

    /// A rectangle that is read as one, and those in it that are wanted.
    struct Group {
        var hull: IndexBox
        var parts: [IndexBox]
    }

    /// The rectangles that make up a range, together in hulls of at most twice the elements that are wanted.
    ///
    /// A few columns of a stored matrix and the ends of those beside them are so fetched together.
    func groups(_ range: Range<Int>) -> [Group] {
        var result: [Group] = []
        group(range, axis: 0, prefix: [], into: &result)
        return result
    }

    private func group(_ range: Range<Int>, axis: Int, prefix: [Int], into result: inout [Group]) {
        guard axis < counts.count else {
            let box = IndexBox(starts: prefix, counts: prefix.map { _ in 1 })
            return result.append(Group(hull: box, parts: [box]))
        }
        let block = blocks[axis]
        let (first, last) = (range.lowerBound / block, (range.upperBound - 1) / block)
        if first == last {
            let rest = range.lowerBound - first * block..<range.upperBound - first * block
            return group(rest, axis: axis + 1, prefix: prefix + [first], into: &result)
        }
        // Twice the range is beyond no integer: the range is that of a buffer.
        if (last - first + 1) * block <= 2 * range.count {
            var parts: [IndexBox] = []
            boxes(range, axis: axis, prefix: prefix, into: &parts)
            return result.append(
                Group(hull: box(prefix, first..<last + 1, axis: axis), parts: parts))
        }
        let cut = (first + 1) * block
        group(range.lowerBound..<cut, axis: axis, prefix: prefix, into: &result)
        group(cut..<range.upperBound, axis: axis, prefix: prefix, into: &result)
    }

    /// The rectangles that make up a range exactly.
    private func boxes(_ range: Range<Int>, axis: Int, prefix: [Int], into result: inout [IndexBox]) {
        if range.isEmpty { return }
        guard axis < counts.count else {
            return result.append(IndexBox(starts: prefix, counts: prefix.map { _ in 1 }))
        }
        let block = blocks[axis]
        let first = (range.lowerBound + block - 1) / block
        let last = range.upperBound / block
        if first > last {
            let rest = range.lowerBound - last * block..<range.upperBound - last * block
            return boxes(rest, axis: axis + 1, prefix: prefix + [last], into: &result)
        }
        if range.lowerBound < first * block {
            let rest = range.lowerBound - (first - 1) * block..<block
            boxes(rest, axis: axis + 1, prefix: prefix + [first - 1], into: &result)
        }
        if first < last { result.append(box(prefix, first..<last, axis: axis)) }
        boxes(0..<range.upperBound - last * block, axis: axis + 1, prefix: prefix + [last], into: &result)
    }

    private func box(_ prefix: [Int], _ range: Range<Int>, axis: Int) -> IndexBox {
        let inner = counts.dropFirst(axis + 1)
        return IndexBox(
            starts: prefix + [range.lowerBound] + inner.map { _ in 0 },
            counts: prefix.map { _ in 1 } + [range.count] + inner)
    }
}
