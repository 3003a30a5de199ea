internal import TensorCore

extension StridedView {
    /// Fills `buffer` with the result's bytes from `offset`; both are whole numbers of elements.
    func read(at offset: UInt64, into buffer: inout MutableRawSpan) throws(IOError) {
        let axes = Self.coalesced(shape: shape, strides: strides)
        let first = Int(offset) / elementByteCount
        let range = first..<first + buffer.byteCount / elementByteCount
        let cost = storage.readCost
        for group in RangeBoxes(counts: axes.map(\.count)).groups(range) {
            let gather = Gather(view: self, axes: axes, group: group, outputStart: first, readCost: cost)
            try gather.run(into: &buffer)
        }
    }

    /// The bytes from which on a read is worth its cost.
    private static var efficientReadByteCount: Int { 2048 }

    /// The size of the smallest piece that is fetched in such reads.
    var efficientByteCount: Int {
        let axes = Self.coalesced(shape: shape, strides: strides)
        var inner = [Int](repeating: elementByteCount, count: axes.count)
        for index in axes.indices.dropLast().reversed() {
            inner[index] = inner[index + 1] * axes[index + 1].count
        }
        var result = 0
        var reach = 1
        for index in axes.indices.sorted(by: { axes[$0].stride < axes[$1].stride })
        where axes[index].stride > 0 {
            let axis = axes[index]
            guard reach * elementByteCount < Self.efficientReadByteCount, axis.stride <= reach else { break }
            let wanted = (Self.efficientReadByteCount / elementByteCount + reach - 1) / reach
            let (bytes, overflow) = inner[index].multipliedReportingOverflow(by: min(axis.count, wanted))
            result = overflow ? .max : max(result, bytes)
            reach *= min(axis.count, wanted)
        }
        return result
    }
}

/// The copy of some rectangles of a view, which are fetched together.
private struct Gather {
    private let storage: TensorSource
    private let width: Int
    private let elementOffset: Int
    private let group: RangeBoxes.Group
    private let plan: GatherPlan
    /// The element of the result where the buffer begins.
    private let outputStart: Int

    init(
        view: StridedView, axes: [StridedView.Axis], group: RangeBoxes.Group, outputStart: Int, readCost: Int
    ) {
        storage = view.storage
        width = view.elementByteCount
        elementOffset = Int(view.elementOffset)
        self.group = group
        self.outputStart = outputStart
        var planned = axes.map { GatherPlan.Axis(count: 1, stride: $0.stride, outputStride: 1) }
        for index in axes.indices.reversed() {
            planned[index].count = group.hull.counts[index]
            guard index + 1 < axes.count else { continue }
            planned[index].outputStride = planned[index + 1].outputStride * axes[index + 1].count
        }
        plan = GatherPlan(planned, width: view.elementByteCount, readCost: readCost)
    }

    func run(into buffer: inout MutableRawSpan) throws(IOError) {
        if plan.directAxis != nil || plan.axes.isEmpty {
            for part in group.parts { try copyRows(part, plan.order[...], into: &buffer) }
            return
        }
        let scratch = PageBuffer(capacity: plan.scratchElementCount * width)
        try walk(group.hull, plan.order[...], scratch, into: &buffer)
    }

    /// Reads the rows of `box` to where they belong.
    private func copyRows(
        _ box: IndexBox, _ order: ArraySlice<Int>, into buffer: inout MutableRawSpan
    ) throws(IOError) {
        if let axis = order.first {
            if axis == plan.directAxis { return try copyRows(box, order.dropFirst(), into: &buffer) }
            let start = box.starts[axis]
            for index in 0..<box.counts[axis] {
                var row = box
                row.starts[axis] = start + index
                row.counts[axis] = 1
                try copyRows(row, order.dropFirst(), into: &buffer)
            }
            return
        }
        let count = plan.directAxis.map { box.counts[$0] } ?? 1
        let start = (output(of: box) - outputStart) * width
        var row = buffer._mutatingExtracting(start..<start + count * width)
        try storage.read(at: UInt64(input(of: box)) * UInt64(width), into: &row)
    }

    /// Goes through the tiles of `box` in the order of the storage.
    private func walk(
        _ box: IndexBox, _ order: ArraySlice<Int>, _ scratch: PageBuffer, into buffer: inout MutableRawSpan
    ) throws(IOError) {
        guard let axis = order.first else { return try copy(box, scratch, into: &buffer) }
        for start in stride(from: 0, to: box.counts[axis], by: plan.axes[axis].tile) {
            var tile = box
            tile.starts[axis] = box.starts[axis] + start
            tile.counts[axis] = min(plan.axes[axis].tile, box.counts[axis] - start)
            try walk(tile, order.dropFirst(), scratch, into: &buffer)
        }
    }

    /// Fetches what is wanted of a tile and puts it in order.
    private func copy(
        _ tile: IndexBox, _ scratch: PageBuffer, into buffer: inout MutableRawSpan
    ) throws(IOError) {
        let wanted = group.parts.compactMap { $0.intersection(tile) }
        guard var hull = wanted.first else { return }
        for part in wanted.dropFirst() { hull.extend(over: part) }
        let windowed = plan.axes.indices.filter { plan.axes[$0].isInWindow }
        let segment = windowed.reduce(1) { $0 + (hull.counts[$1] - 1) * plan.axes[$1].stride }
        try scratch.withMutableBytes(count: plan.scratchElementCount * width) { (bytes) throws(IOError) in
            try fetch(hull, plan.order[...], segment: segment, at: 0, into: &bytes)
        }
        scratch.withBytes(count: plan.scratchElementCount * width) { bytes in
            for part in wanted {
                let axes = plan.axes.indices.map {
                    StridedCopy.Axis(
                        count: part.counts[$0], sourceStride: plan.axes[$0].scratchStride,
                        destinationStride: plan.axes[$0].outputStride)
                }
                let from = plan.axes.indices.reduce(0) {
                    $0 + (part.starts[$1] - hull.starts[$1]) * plan.axes[$1].scratchStride
                }
                StridedCopy(width: width, axes: axes).copy(
                    from: bytes, at: from, to: &buffer, at: output(of: part) - outputStart)
            }
        }
    }

    /// Reads the segments of `box` into the scratch memory.
    private func fetch(
        _ box: IndexBox, _ order: ArraySlice<Int>, segment: Int, at place: Int,
        into bytes: inout MutableRawSpan
    ) throws(IOError) {
        guard let axis = order.first else {
            var target = bytes._mutatingExtracting(place * width..<(place + segment) * width)
            return try storage.read(at: UInt64(input(of: box)) * UInt64(width), into: &target)
        }
        if plan.axes[axis].isInWindow {
            return try fetch(box, order.dropFirst(), segment: segment, at: place, into: &bytes)
        }
        var step = box
        for index in 0..<box.counts[axis] {
            step.starts[axis] = box.starts[axis] + index
            try fetch(
                step, order.dropFirst(), segment: segment,
                at: place + index * plan.axes[axis].scratchStride, into: &bytes)
        }
    }

    /// The element of the storage at the start of `box`.
    private func input(of box: IndexBox) -> Int {
        plan.axes.indices.reduce(elementOffset) { $0 + box.starts[$1] * plan.axes[$1].stride }
    }

    /// The element of the result there.
    private func output(of box: IndexBox) -> Int {
        plan.axes.indices.reduce(0) { $0 + box.starts[$1] * plan.axes[$1].outputStride }
    }
}
