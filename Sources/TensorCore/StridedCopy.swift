/// Copies the elements of an index space from where one set of strides leads to where another does.
///
/// Made once for an arrangement and used for many places. Rows that are contiguous on both sides are copied as
/// they are; where different axes are contiguous, tiles are transposed.
public struct StridedCopy: Sendable {
    /// A dimension of the index space.
    public struct Axis: Sendable {
        /// The number of indices.
        public var count: Int
        /// Elements between neighbours in the source; zero where they are all the same.
        public var sourceStride: Int
        /// Elements between neighbours in the destination.
        public var destinationStride: Int

        /// Makes an axis; strides are not negative.
        public init(count: Int, sourceStride: Int, destinationStride: Int) {
            self.count = count
            self.sourceStride = sourceStride
            self.destinationStride = destinationStride
        }
    }

    /// Bytes that are moved together.
    private var width: Int
    /// How many elements they are.
    private var elementsTogether = 1
    /// The axes, the one with the largest steps in the destination first, but for the last two, which a kernel
    /// walks.
    private var axes: [Axis]
    /// The axes that the kernel walks: the outer one, where there is one, and the inner one.
    private var outer = Axis(count: 1, sourceStride: 0, destinationStride: 0)
    private var inner = Axis(count: 1, sourceStride: 1, destinationStride: 1)
    private let isEmpty: Bool

    /// Prepares to copy elements of `width` bytes along `axes`, given in any order.
    public init(width: Int, axes: [Axis]) {
        self.width = width
        isEmpty = axes.contains { $0.count == 0 }
        var axes = axes.filter { $0.count > 1 }
        axes.sort { ($0.destinationStride, $0.sourceStride) > ($1.destinationStride, $1.sourceStride) }
        self.axes = []
        for axis in axes.reversed() {
            // An axis that goes on where the one inside it ends is one with it.
            if let last = self.axes.last, axis.sourceStride == last.sourceStride * last.count,
                axis.destinationStride == last.destinationStride * last.count
            {
                self.axes[self.axes.count - 1].count *= axis.count
            } else {
                self.axes.append(axis)
            }
        }
        self.axes.reverse()
        joinShortRows()
        if let last = self.axes.popLast() { inner = last }
        // Beside the inner axis, the kernel wants the one whose elements are neighbours in the source.
        let index =
            inner.sourceStride == 1
            ? self.axes.indices.last : self.axes.indices.min { self.axes[$0] < self.axes[$1] }
        if let index { outer = self.axes.remove(at: index) }
    }

    /// Takes short rows that are contiguous on both sides for elements of their size.
    private mutating func joinShortRows() {
        guard let row = axes.last, row.sourceStride == 1, row.destinationStride == 1,
            [2, 4, 8].contains(row.count * width),
            axes.dropLast().allSatisfy({
                $0.sourceStride % row.count == 0 && $0.destinationStride % row.count == 0
            })
        else { return }
        axes.removeLast()
        for index in axes.indices {
            axes[index].sourceStride /= row.count
            axes[index].destinationStride /= row.count
        }
        width *= row.count
        elementsTogether = row.count
    }

    /// Copies all elements.
    ///
    /// - Parameters:
    ///   - source: holds them.
    ///   - sourceStart: the element of `source` at index `[0, 0, …]`.
    ///   - destination: takes them.
    ///   - destinationStart: the element of `destination` where that goes.
    public func copy(
        from source: RawSpan, at sourceStart: Int, to destination: inout MutableRawSpan,
        at destinationStart: Int
    ) {
        if isEmpty { return }
        let single = width / elementsTogether
        walk(0, source, sourceStart * single, &destination, destinationStart * single)
    }

    private func walk(
        _ axis: Int, _ source: RawSpan, _ input: Int, _ destination: inout MutableRawSpan, _ output: Int
    ) {
        guard axis < axes.count else { return plane(source, input, &destination, output) }
        for index in 0..<axes[axis].count {
            walk(
                axis + 1, source, input + index * axes[axis].sourceStride * width, &destination,
                output + index * axes[axis].destinationStride * width)
        }
    }

    /// Copies along the two axes of the kernel.
    private func plane(
        _ source: RawSpan, _ input: Int, _ destination: inout MutableRawSpan, _ output: Int
    ) {
        if inner.sourceStride == 1, inner.destinationStride == 1 {
            for row in 0..<outer.count {
                copyBytes(
                    from: source, at: input + row * outer.sourceStride * width, to: &destination,
                    at: output + row * outer.destinationStride * width, count: inner.count * width)
            }
        } else if outer.sourceStride == 1, inner.destinationStride == 1 {
            Transpose.copy(
                width: width, rows: inner.count, columns: outer.count,
                from: source, .init(offset: input, rowByteCount: inner.sourceStride * width),
                to: &destination, .init(offset: output, rowByteCount: outer.destinationStride * width))
        } else {
            switch width {
            case 1: pick(UInt8.self, source, input, &destination, output)
            case 2: pick(UInt16.self, source, input, &destination, output)
            case 4: pick(UInt32.self, source, input, &destination, output)
            case 8: pick(UInt64.self, source, input, &destination, output)
            default:
                for row in 0..<outer.count {
                    for index in 0..<inner.count {
                        let from = row * outer.sourceStride + index * inner.sourceStride
                        let to = row * outer.destinationStride + index * inner.destinationStride
                        copyBytes(
                            from: source, at: input + from * width, to: &destination,
                            at: output + to * width, count: width)
                    }
                }
            }
        }
    }

    @inline(__always)
    private func pick<T: BitwiseCopyable>(
        _: T.Type, _ source: RawSpan, _ input: Int, _ destination: inout MutableRawSpan, _ output: Int
    ) {
        let size = MemoryLayout<T>.size
        let (inputStep, outputStep) = (inner.sourceStride * size, inner.destinationStride * size)
        for row in 0..<outer.count {
            var from = input + row * outer.sourceStride * size
            var to = output + row * outer.destinationStride * size
            for _ in 0..<inner.count {
                // Bounds are checked by the span; any bits are a value.
                let value = unsafe source.unsafeLoadUnaligned(fromByteOffset: from, as: T.self)
                destination.storeBytes(of: value, toByteOffset: to, as: T.self)
                from += inputStep
                to += outputStep
            }
        }
    }
}

extension StridedCopy.Axis: Comparable {
    /// Orders by the steps in the source, axes that repeat last.
    public static func < (a: Self, b: Self) -> Bool {
        (a.sourceStride == 0 ? Int.max : a.sourceStride) < (b.sourceStride == 0 ? Int.max : b.sourceStride)
    }
}
