public import TensorCore

extension TensorSelection {
    /// At most this many bytes are read at once to pick elements from.
    private static let windowByteCount = 1 << 20
    /// Gaps up to this many bytes are read over.
    private static let gapByteCount = 4096

    /// Copies the selected elements out of the tensor's bytes, in row-major order.
    ///
    /// - Parameters:
    ///   - tensor: all bytes of the tensor that the selection was made for; the call traps where there are fewer.
    ///   - destination: has exactly ``byteCount`` bytes.
    public func copy(from tensor: RawSpan, into destination: inout MutableRawSpan) {
        precondition(destination.byteCount == byteCount)
        if let range = contiguousBytes {
            return copyBytes(from: tensor.extracting(range), to: &destination)
        }
        clear(&destination)
        ElementGather(bitWidth: dtype.bitWidth, axes: axes)
            .copy(from: tensor, origin: 0, start: start, into: &destination, at: 0)
    }

    /// Reads the selected elements, and of the rest only what lies between near neighbours.
    ///
    /// One read where the elements follow each other. Else rows that lie near each other are read together,
    /// at most 1 MiB at once, and rows that are far apart alone.
    ///
    /// - Parameters:
    ///   - source: holds the tensor.
    ///   - offset: the byte of `source` where the tensor begins.
    ///   - destination: has exactly ``byteCount`` bytes.
    public func read(
        from source: any ByteSource, at offset: UInt64, into destination: inout MutableRawSpan
    ) throws(IOError) {
        precondition(destination.byteCount == byteCount)
        if let range = contiguousBytes {
            if !range.isEmpty { try source.read(at: offset + UInt64(range.lowerBound), into: &destination) }
            return
        }
        clear(&destination)
        let (outer, block) = blocks()
        let scratch = PageBuffer(
            capacity: isRead(block) ? 0 : Self.byteRange(of: block, bitWidth: dtype.bitWidth).count + 2)
        try read(
            outer, block, from: start, in: source, at: offset, scratch, into: &destination, place: 0)
    }

    private func clear(_ destination: inout MutableRawSpan) {
        guard dtype.bitWidth < 8 else { return }
        for position in 0..<destination.byteCount {
            destination.storeBytes(of: 0, toByteOffset: position, as: UInt8.self)
        }
    }
}

extension TensorSelection {
    /// Splits the axes in those that are walked and those of a block that is read at once.
    private func blocks() -> (outer: [Axis], block: [Axis]) {
        var outer = axes
        var block: [Axis] = []
        while let axis = outer.last {
            let inner = Self.byteRange(of: block, bitWidth: dtype.bitWidth).count
            let step = (axis.stride.magnitude * UInt(dtype.bitWidth) + 7) / 8
            guard step <= UInt(inner + Self.gapByteCount) else { break }
            let whole = Self.byteRange(of: [axis] + block, bitWidth: dtype.bitWidth).count
            outer.removeLast()
            if whole <= Self.windowByteCount || (axis.stride == 1 && block.isEmpty && dtype.bitWidth >= 8) {
                block.insert(axis, at: 0)
                continue
            }
            // As many steps as fit; the last block of the axis may have fewer.
            let steps = max(1, (Self.windowByteCount - inner) / max(1, Int(step)))
            outer.append(axis)
            if steps > 1 { block.insert(Axis(count: min(steps, axis.count), stride: axis.stride), at: 0) }
            break
        }
        return (outer, block)
    }

    /// True where a block is one run of bytes, which can be read straight to its place.
    private func isRead(_ block: [Axis]) -> Bool {
        dtype.bitWidth >= 8 && (block.isEmpty || (block.count == 1 && block[0].stride == 1))
    }

    /// The bytes of elements that are reached from element 0, rounded outwards.
    private static func byteRange(of axes: [Axis], bitWidth: Int) -> Range<Int> {
        let low = axes.reduce(0) { $0 + min(0, ($1.count - 1) * $1.stride) }
        let high = axes.reduce(1) { $0 + max(0, ($1.count - 1) * $1.stride) }
        return byteRange(low * bitWidth, high * bitWidth)
    }

    private static func byteRange(_ lowBit: Int, _ highBit: Int) -> Range<Int> {
        // Shifts round towards minus infinity.
        (lowBit >> 3)..<((highBit + 7) >> 3)
    }

    /// Walks the outer axes and reads a block at each place.
    private func read(
        _ outer: [Axis], _ block: [Axis], from element: Int, in source: any ByteSource, at offset: UInt64,
        _ scratch: PageBuffer, into destination: inout MutableRawSpan, place: Int
    ) throws(IOError) {
        guard let axis = outer.first else {
            return try readBlock(
                block, from: element, in: source, at: offset, scratch, into: &destination, place)
        }
        // The block may hold several steps of the innermost of the outer axes.
        let isShared = outer.count == 1 && block.first?.stride == axis.stride && block[0].count < axis.count
        let steps = isShared ? block[0].count : 1
        let rest = Array(outer.dropFirst())
        let inner = (rest + (isShared ? Array(block.dropFirst()) : block)).reduce(1) { $0 * $1.count }
        for step in stride(from: 0, to: axis.count, by: steps) {
            var part = block
            if isShared { part[0].count = min(steps, axis.count - step) }
            try read(
                rest, part, from: element + step * axis.stride, in: source, at: offset, scratch,
                into: &destination, place: place + step * inner)
        }
    }

    private func readBlock(
        _ block: [Axis], from element: Int, in source: any ByteSource, at offset: UInt64,
        _ scratch: PageBuffer, into destination: inout MutableRawSpan, _ place: Int
    ) throws(IOError) {
        let width = dtype.bitWidth
        let low = element + block.reduce(0) { $0 + min(0, ($1.count - 1) * $1.stride) }
        let high = element + block.reduce(1) { $0 + max(0, ($1.count - 1) * $1.stride) }
        let range = Self.byteRange(low * width, high * width)
        let first = place * width / 8
        if isRead(block) {
            var target = destination._mutatingExtracting(first..<first + range.count)
            return try source.read(at: offset + UInt64(range.lowerBound), into: &target)
        }
        try scratch.withMutableBytes(count: range.count) { (bytes) throws(IOError) in
            try source.read(at: offset + UInt64(range.lowerBound), into: &bytes)
        }
        scratch.withBytes(count: range.count) { bytes in
            ElementGather(bitWidth: width, axes: block)
                .copy(
                    from: bytes, origin: range.lowerBound * 8, start: element, into: &destination, at: place)
        }
    }
}
