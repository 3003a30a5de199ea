public import TensorCore

extension TensorSource {
    /// The bytes of the smallest unit of the result that is computed as one.
    public var granularity: Int {
        switch self {
        case .extent, .concatenated, .filled: 1
        case .strided(let view): view.elementByteCount
        case .cast(_, let from, let to, _):
            max(from.groupElementCount, to.groupElementCount) / to.groupElementCount * to.groupByteCount
        case .byteSwapped(_, let width): width
        case .signFlipped(_, _, let step): step
        case .lowRank(let node): node.dtype.groupByteCount
        case .blockDequantised(let node): node.dtype.groupByteCount
        case .computed(let node): node.granularity
        }
    }

    /// The most bytes that a read takes for itself, for each node between the root and the leaf.
    public static var scratchByteCount: Int { 16 << 20 }

    /// Fills `buffer` with the result's bytes from `offset`, whatever they are.
    ///
    /// Takes time and memory for the piece asked for, whatever the size of the tensor; the memory beside the
    /// buffer is at most ``scratchByteCount`` for each node on a path to a leaf. A piece that splits units of
    /// ``granularity`` costs a unit at either end.
    ///
    /// - Throws: ``IOError/Code/unexpectedEnd`` where the result has fewer bytes.
    public func read(at offset: UInt64, into buffer: inout MutableRawSpan) throws(IOError) {
        let size = byteCount
        let total = buffer.byteCount
        guard offset <= size, UInt64(total) <= size - offset else {
            throw IOError(
                .unexpectedEnd, path: location?.source.name ?? "tensor", operation: "read", offset: offset,
                detail: "the tensor has \(size) bytes")
        }
        if total == 0 { return }
        let unit = granularity
        let lead = Int(offset % UInt64(unit))
        let tail = (lead + total) % unit
        if lead == 0, tail == 0 { return try readUnits(at: offset, into: &buffer) }
        // A unit at either end of which only a part is wanted, and whole ones between.
        var done = 0
        if lead > 0 {
            done = min(total, unit - lead)
            try readPart(of: unit, at: offset - UInt64(lead), skipping: lead, 0..<done, into: &buffer)
        }
        let whole = (total - done) / unit * unit
        if whole > 0 {
            var middle = buffer._mutatingExtracting(done..<done + whole)
            try readUnits(at: offset + UInt64(done), into: &middle)
        }
        if done + whole < total {
            let start = offset + UInt64(done + whole)
            try readPart(of: unit, at: start, skipping: 0, done + whole..<total, into: &buffer)
        }
    }

    private func readPart(
        of unit: Int, at offset: UInt64, skipping lead: Int, _ range: Range<Int>,
        into buffer: inout MutableRawSpan
    ) throws(IOError) {
        let bytes = try [UInt8](count: unit) { (bytes) throws(IOError) in
            try readUnits(at: offset, into: &bytes)
        }
        copyBytes(
            from: bytes.span.bytesView, at: lead, to: &buffer, at: range.lowerBound, count: range.count)
    }

    /// Fills `buffer` with whole units.
    private func readUnits(at offset: UInt64, into buffer: inout MutableRawSpan) throws(IOError) {
        switch self {
        case .extent(let extent): try extent.source.read(at: extent.offset + offset, into: &buffer)
        case .strided(let view): try view.read(at: offset, into: &buffer)
        case .concatenated(let node): try node.read(at: offset, into: &buffer)
        case .cast(let inner, let from, let to, let overflow):
            try Self.readCast(inner, from: from, to: to, overflow, at: offset, into: &buffer)
        case .byteSwapped(let inner, let width):
            try inner.read(at: offset, into: &buffer)
            ElementBits.reverseBytes(of: &buffer, width: width)
        case .signFlipped(let inner, let byte, let step):
            try inner.read(at: offset, into: &buffer)
            ElementBits.flipSigns(of: &buffer, byte: byte, every: step)
        case .filled(let pattern, _):
            ElementBits.fill(&buffer, with: pattern.span, phase: Int(offset % UInt64(pattern.count)))
        case .lowRank(let node): try node.read(at: offset, into: &buffer)
        case .blockDequantised(let node): try node.read(at: offset, into: &buffer)
        case .computed(let node): try node.read(at: offset, into: &buffer)
        }
    }

    private static func readCast(
        _ inner: TensorSource, from: DType, to: DType, _ overflow: Overflow, at offset: UInt64,
        into buffer: inout MutableRawSpan
    ) throws(IOError) {
        // Units: the fewest elements that fill whole bytes on both sides.
        let elements = max(from.groupElementCount, to.groupElementCount)
        let inUnit = elements / from.groupElementCount * from.groupByteCount
        let outUnit = elements / to.groupElementCount * to.groupByteCount
        let units = buffer.byteCount / outUnit
        let first = offset / UInt64(outUnit)
        let block = min(units, max(1, inner.blockByteCount / inUnit))
        let scratch = PageBuffer(capacity: block * inUnit)
        for start in stride(from: 0, to: units, by: block) {
            let count = min(block, units - start)
            try scratch.withMutableBytes(count: count * inUnit) { (bytes) throws(IOError) in
                try inner.read(at: (first + UInt64(start)) * UInt64(inUnit), into: &bytes)
            }
            var target = buffer._mutatingExtracting(start * outUnit..<(start + count) * outUnit)
            scratch.withBytes(count: count * inUnit) { bytes in
                ElementCast.convert(bytes, from: from, to: to, overflow: overflow, into: &target)
            }
        }
    }

    /// What a read costs beside its bytes: that of the slowest leaf.
    var readCost: Int {
        if case .extent(let extent) = self { return extent.source.readCost }
        var cost = 1024
        forEachExtent { cost = max(cost, $0.source.readCost) }
        return cost
    }

    /// How much of this source to read at once: enough to make little of the cost of a read, and as little as
    /// that allows, so that what was read is still in the processor's cache when it is converted.
    var blockByteCount: Int {
        let wanted = if case .extent = self { 1 << 17 } else { max(1 << 17, preferredPieceByteCount) }
        let (patient, overflow) = readCost.multipliedReportingOverflow(by: 32)
        return overflow ? 4 << 20 : min(4 << 20, max(wanted, patient))
    }

    /// How large pieces should be for reading to be fast: reading a transposed matrix in pieces of a few of its
    /// rows takes short reads all over the file.
    ///
    /// At least 1 MiB and at most 64 MiB; a hint, never a condition.
    public var preferredPieceByteCount: Int {
        let least = 1 << 20
        switch self {
        case .extent, .filled: return least
        case .strided(let view): return max(least, min(64 << 20, view.efficientByteCount))
        case .concatenated(let node):
            return node.parts.reduce(least) { max($0, $1.source.preferredPieceByteCount) }
        case .cast(let inner, let from, let to, _):
            let bytes = inner.preferredPieceByteCount / from.bitWidth * to.bitWidth
            return max(least, min(64 << 20, bytes))
        case .byteSwapped(let inner, _), .signFlipped(let inner, _, _): return inner.preferredPieceByteCount
        case .lowRank(let node): return max(least, min(64 << 20, node.efficientByteCount))
        case .blockDequantised(let node):
            return max(least, min(64 << 20, node.values.source.preferredPieceByteCount))
        case .computed(let node): return max(least, min(64 << 20, node.preferredPieceByteCount))
        }
    }
}
