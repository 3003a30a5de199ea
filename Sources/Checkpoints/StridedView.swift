internal import TensorCore

/// Elements picked from a storage: element `[i, j, …]` is `storage[elementOffset + i·strides[0] + j·strides[1] + …]`.
///
/// Strides count elements and may be zero (a dimension that repeats), never negative. Every index must be known
/// to lie within the storage before a view is made.
public struct StridedView: Sendable {
    /// The storage.
    public var storage: Extent
    /// Bytes an element takes.
    public var elementByteCount: Int
    /// The element of the storage at index `[0, 0, …]`.
    public var elementOffset: UInt64
    /// The dimensions, outermost first.
    public var shape: [UInt64]
    /// The elements of storage between neighbours in each dimension.
    public var strides: [UInt64]

    /// Makes a view.
    public init(
        storage: Extent, elementByteCount: Int, elementOffset: UInt64, shape: [UInt64], strides: [UInt64]
    ) {
        self.storage = storage
        self.elementByteCount = elementByteCount
        self.elementOffset = elementOffset
        self.shape = shape
        self.strides = strides
    }

    /// The size of the contiguous result, in bytes.
    public var byteCount: UInt64 { shape.reduce(UInt64(elementByteCount), *) }

    /// A source for the view: an extent where the elements already stand in row-major order, else the view.
    public static func source(
        storage: Extent, elementByteCount: Int, elementOffset: UInt64, shape: [UInt64], strides: [UInt64]
    ) -> TensorSource {
        let view = StridedView(
            storage: storage, elementByteCount: elementByteCount, elementOffset: elementOffset,
            shape: shape, strides: strides)
        var expected: UInt64 = 1
        var contiguous = true
        for (dimension, stride) in zip(shape, strides).reversed() where dimension != 1 {
            if stride != expected { contiguous = false }
            expected = expected &* dimension
        }
        if contiguous || shape.contains(0) {
            let start = shape.contains(0) ? 0 : elementOffset * UInt64(elementByteCount)
            return .extent(
                Extent(source: storage.source, offset: storage.offset + start, byteCount: view.byteCount))
        }
        return .strided(view)
    }
}

extension StridedView {
    /// At most this many bytes of storage are read at once.
    private static var windowByteCount: Int { 1 << 20 }

    /// Fills `buffer` with the result's bytes from `offset`, which must be a whole number of elements.
    func read(at offset: UInt64, into buffer: inout MutableRawSpan) throws(IOError) {
        let width = elementByteCount
        guard Int(offset) % width == 0, buffer.byteCount % width == 0 else {
            throw IOError(
                .unreadable, path: storage.source.name, operation: "gather from", offset: offset,
                detail: "the piece splits an element")
        }
        let axes = Self.coalesced(shape: shape, strides: strides)
        let scratch = PageBuffer(capacity: Self.windowByteCount)
        let first = Int(offset) / width
        let end = first + buffer.byteCount / width
        var position = first
        while position < end {
            // The largest box of whole trailing dimensions that starts at `position` and ends by `end`.
            var block = 1
            var axis = axes.count
            while axis > 0, position % (block * axes[axis - 1].count) == 0,
                position + block * axes[axis - 1].count <= end
            {
                axis -= 1
                block *= axes[axis].count
            }
            var box = Box(axes: axes, at: position, wholeFrom: axis)
            if axis > 0 {
                // Several steps along the next dimension, up to its end.
                let along = axes[axis - 1].count
                let steps = min(along - position / block % along, (end - position) / block)
                box.extents[axis - 1] = max(1, steps)
                block *= max(1, steps)
            }
            try gather(box, axes: axes, outputBase: first, scratch: scratch, into: &buffer)
            position += block
        }
    }

    struct Axis { var count: Int, stride: Int }

    /// A rectangle of the result.
    struct Box {
        var starts: [Int]
        var extents: [Int]

        init(axes: [Axis], at position: Int, wholeFrom: Int) {
            starts = Array(repeating: 0, count: axes.count)
            extents = Array(repeating: 1, count: axes.count)
            var rest = position
            for index in axes.indices.reversed() {
                starts[index] = rest % axes[index].count
                rest /= axes[index].count
                if index >= wholeFrom { extents[index] = axes[index].count }
            }
        }
    }

    /// The dimensions with those of one element dropped and neighbours merged where one stride covers both.
    static func coalesced(shape: [UInt64], strides: [UInt64]) -> [Axis] {
        var axes: [Axis] = []
        for (dimension, stride) in zip(shape, strides) where dimension != 1 {
            let axis = Axis(count: Int(dimension), stride: Int(stride))
            if let last = axes.last, last.stride == axis.stride * axis.count {
                axes[axes.count - 1] = Axis(count: last.count * axis.count, stride: axis.stride)
            } else {
                axes.append(axis)
            }
        }
        return axes.isEmpty ? [Axis(count: 1, stride: 1)] : axes
    }

    /// Copies a box: reads the window that holds it, or splits the box where the window would be too large or
    /// mostly other elements.
    private func gather(
        _ box: Box, axes: [Axis], outputBase: Int, scratch: PageBuffer, into buffer: inout MutableRawSpan
    ) throws(IOError) {
        let width = elementByteCount
        var low = Int(elementOffset)
        var reach = 0
        var widest = 0
        var widestReach = -1
        var elements = 1
        for index in axes.indices {
            low += box.starts[index] * axes[index].stride
            let extent = (box.extents[index] - 1) * axes[index].stride
            reach += extent
            elements *= box.extents[index]
            if box.extents[index] > 1, extent > widestReach {
                widest = index
                widestReach = extent
            }
        }
        let windowBytes = (reach + 1) * width
        // A read costs about as much as copying 4 KiB.
        let sparse = windowBytes > 4 * elements * width + 4096
        if elements > 1, windowBytes > Self.windowByteCount || (sparse && widestReach > 0) {
            var lower = box
            var upper = box
            let half = box.extents[widest] / 2
            lower.extents[widest] = half
            upper.starts[widest] += half
            upper.extents[widest] -= half
            try gather(lower, axes: axes, outputBase: outputBase, scratch: scratch, into: &buffer)
            try gather(upper, axes: axes, outputBase: outputBase, scratch: scratch, into: &buffer)
            return
        }
        try scratch.withMutableBytes(count: windowBytes) { (bytes) throws(IOError) in
            try storage.source.read(at: storage.offset + UInt64(low) * UInt64(width), into: &bytes)
        }
        scratch.withBytes(count: windowBytes) { window in
            scatter(window, box: box, axes: axes, outputBase: outputBase, into: &buffer)
        }
    }

    /// Places the elements of a box from the window, whose first element is the box's.
    private func scatter(
        _ window: RawSpan, box: Box, axes: [Axis], outputBase: Int, into buffer: inout MutableRawSpan
    ) {
        let width = elementByteCount
        let last = axes.count - 1
        var outputStrides = Array(repeating: 1, count: axes.count)
        for index in axes.indices.dropLast().reversed() {
            outputStrides[index] = outputStrides[index + 1] * axes[index + 1].count
        }
        var output = -outputBase
        for index in axes.indices { output += box.starts[index] * outputStrides[index] }
        var input = 0
        var odometer = Array(repeating: 0, count: axes.count)
        let run = box.extents[last]
        let step = axes[last].stride
        while true {
            if step == 1 {
                copyBytes(
                    from: window, at: input * width, to: &buffer, at: output * width, count: run * width)
            } else {
                switch width {
                case 1: Self.pick(UInt8.self, window, input, step, &buffer, output, run)
                case 2: Self.pick(UInt16.self, window, input, step, &buffer, output, run)
                case 4: Self.pick(UInt32.self, window, input, step, &buffer, output, run)
                case 8: Self.pick(UInt64.self, window, input, step, &buffer, output, run)
                default:
                    for index in 0..<run {
                        copyBytes(
                            from: window, at: (input + index * step) * width, to: &buffer,
                            at: (output + index) * width, count: width)
                    }
                }
            }
            // The next row of the box.
            var axis = last - 1
            while axis >= 0 {
                odometer[axis] += 1
                input += axes[axis].stride
                output += outputStrides[axis]
                if odometer[axis] < box.extents[axis] { break }
                input -= odometer[axis] * axes[axis].stride
                output -= odometer[axis] * outputStrides[axis]
                odometer[axis] = 0
                axis -= 1
            }
            if axis < 0 { return }
        }
    }

    @inline(__always)
    private static func pick<T: FixedWidthInteger & BitwiseCopyable>(
        _: T.Type, _ window: RawSpan, _ input: Int, _ step: Int, _ buffer: inout MutableRawSpan,
        _ output: Int, _ run: Int
    ) {
        let width = MemoryLayout<T>.size
        for index in 0..<run {
            let value = window.load(littleEndian: T.self, at: (input + index * step) * width)
            buffer.storeBytes(of: value.littleEndian, toByteOffset: (output + index) * width, as: T.self)
        }
    }
}
