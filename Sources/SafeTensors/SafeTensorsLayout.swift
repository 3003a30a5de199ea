internal import StrictJSON
public import TensorCore

/// Where every byte of a SafeTensors file goes, fixed before any is written.
///
/// The header and the order are those of the reference implementation: tensors by dtype, highest first, then
/// by name in byte order, one after another, and a header of compact JSON padded with spaces to a multiple of
/// eight. Metadata keys are in byte order (the reference writes several in random order), so the same tensors
/// and metadata always give the same bytes.
///
/// With an alignment above eight the header is padded until data begins at a multiple of it, and tensors come in
/// the order of the largest power of two that divides their byte size, highest first. Each tensor then begins
/// at a multiple of that power (or of the alignment, where that is less): matrices of whole pages at whole
/// pages, nothing off its element size, and no bytes between tensors, which the format forbids.
public struct SafeTensorsLayout: Sendable {
    private typealias Tensor = (name: TensorName, dtype: DType, shape: [UInt64])

    /// The alignment of files as the reference writes them, in bytes.
    public static let minimumAlignment: UInt64 = 8
    /// The largest alignment, in bytes: a header of so many spaces is still within the format's limit.
    public static let maximumAlignment: UInt64 = 1 << 26

    /// The bytes before the data: the header length and the header.
    public let header: [UInt8]
    /// The tensors in the order of their data.
    public let tensors: [TensorInfo]
    /// The size of the whole file.
    public let fileByteCount: UInt64

    /// The size of the data section, in bytes.
    public var dataByteCount: UInt64 { fileByteCount - UInt64(header.count) }

    /// Lays out a file.
    ///
    /// - Parameters:
    ///   - tensors: the tensors in any order.
    ///   - metadata: the entries of `__metadata__` in any order; where there are none the header has no
    ///     `__metadata__`.
    ///   - alignment: the multiple at which data begins, in bytes: a power of two from ``minimumAlignment`` to
    ///     ``maximumAlignment``.
    /// - Throws: where the alignment is none of these, a name is reserved, not UTF-8 or given twice, a size overflows or does not fill bytes,
    ///   or the header would be too long to be read.
    public init(
        tensors: [(name: TensorName, dtype: DType, shape: [UInt64])],
        metadata: [(key: String, value: String)] = [], alignment: UInt64 = SafeTensorsLayout.minimumAlignment
    ) throws(SafeTensorsError) {
        try Self.check(alignment)
        try Self.checkNames(tensors.map(\.name))
        let sorted = Self.sorted(tensors, alignment: alignment)
        var end: UInt64 = 0
        var ranges: [Range<UInt64>] = []
        ranges.reserveCapacity(sorted.count)
        for tensor in sorted {
            let start = end
            end = try Self.end(of: tensor, from: start)
            ranges.append(start..<end)
        }
        header = try HeaderWriter.header(of: sorted, ranges: ranges, metadata: metadata, alignment: alignment)
        let dataOffset = UInt64(header.count)
        let (total, overflow) = dataOffset.addingReportingOverflow(end)
        guard !overflow, total <= UInt64(Int64.max) else {
            throw SafeTensorsError(.sizeOverflow, "the file would be larger than any file system allows")
        }
        fileByteCount = total
        self.tensors = zip(sorted, ranges).map { tensor, range in
            TensorInfo(
                name: tensor.name, dtype: tensor.dtype, shape: tensor.shape, dataOffsets: range,
                fileRange: dataOffset + range.lowerBound..<dataOffset + range.upperBound)
        }
    }

    private static func check(_ alignment: UInt64) throws(SafeTensorsError) {
        guard alignment.nonzeroBitCount == 1, (minimumAlignment...maximumAlignment).contains(alignment) else {
            throw SafeTensorsError(
                .badAlignment,
                "an alignment is a power of two from \(minimumAlignment) to \(maximumAlignment), not \(alignment)"
            )
        }
    }

    /// The tensors in the order of their data.
    private static func sorted(_ tensors: [Tensor], alignment: UInt64) -> [Tensor] {
        guard alignment > minimumAlignment else { return tensors.sorted(by: precedes) }
        // Sizes that overflow are refused later.
        let keyed = tensors.map { tensor in
            let size = tensor.dtype.byteCount(of: tensor.shape) ?? 0
            return (divisor: size == 0 ? alignment : min(alignment, size & ~(size &- 1)), tensor: tensor)
        }
        return keyed.sorted { a, b in
            a.divisor != b.divisor ? a.divisor > b.divisor : precedes(a.tensor, b.tensor)
        }.map(\.tensor)
    }

    /// The order of the reference: by dtype, highest first, then by name.
    private static func precedes(_ a: Tensor, _ b: Tensor) -> Bool {
        a.dtype != b.dtype ? a.dtype > b.dtype : a.name < b.name
    }

    private static func checkNames(_ names: [TensorName]) throws(SafeTensorsError) {
        var seen: Set<TensorName> = []
        seen.reserveCapacity(names.count)
        for name in names {
            guard name.utf8 != Array(HeaderParser.metadataKey.utf8) else {
                throw SafeTensorsError(
                    .reservedName, tensor: name, "no reader can read a tensor of this name")
            }
            guard seen.insert(name).inserted else {
                throw SafeTensorsError(.duplicateName, tensor: name, "two tensors have this name")
            }
            guard (try? UTF8Span(validating: name.utf8.span)) != nil else {
                throw SafeTensorsError(.nameNotUTF8, tensor: name, "the name is not UTF-8")
            }
        }
    }

    private static func end(
        of tensor: Tensor, from start: UInt64
    ) throws(SafeTensorsError) -> UInt64 {
        if let count = tensor.dtype.byteCount(of: tensor.shape) {
            let (end, overflow) = start.addingReportingOverflow(count)
            if !overflow { return end }
        } else if let elements = DType.elementCount(of: tensor.shape),
            !elements.multipliedReportingOverflow(by: UInt64(tensor.dtype.bitWidth)).overflow
        {
            throw SafeTensorsError(
                .subByteMisaligned, tensor: tensor.name,
                "\(elements) \(tensor.dtype.name) elements do not fill whole bytes")
        }
        throw SafeTensorsError(.sizeOverflow, tensor: tensor.name, "the size does not fit 64 bits")
    }
}

/// Spells headers as the reference does.
enum HeaderWriter {
    static func header(
        of tensors: [(name: TensorName, dtype: DType, shape: [UInt64])], ranges: [Range<UInt64>],
        metadata: [(key: String, value: String)], alignment: UInt64
    ) throws(SafeTensorsError) -> [UInt8] {
        // Names alone may be too long; that is known before anything is built.
        try checkByteCount(tensors.reduce(0) { $0 + $1.name.utf8.count })
        // Room for the length, which is known last.
        var bytes = [UInt8](repeating: 0, count: 8)
        bytes.append(UInt8(ascii: "{"))
        try appendMetadata(metadata, to: &bytes)
        for (tensor, range) in zip(tensors, ranges) {
            if bytes.last != UInt8(ascii: "{") { bytes.append(UInt8(ascii: ",")) }
            JSONValue.appendString(tensor.name.string, to: &bytes)
            bytes += ":{\"dtype\":\"\(tensor.dtype.name)\",\"shape\":[".utf8
            bytes += tensor.shape.map(String.init).joined(separator: ",").utf8
            bytes += "],\"data_offsets\":[\(range.lowerBound),\(range.upperBound)]}".utf8
        }
        bytes.append(UInt8(ascii: "}"))
        let excess = bytes.count % Int(alignment)
        if excess > 0 { bytes += repeatElement(UInt8(ascii: " "), count: Int(alignment) - excess) }
        let count = bytes.count - 8
        try checkByteCount(count)
        for index in 0..<8 { bytes[index] = UInt8(truncatingIfNeeded: count >> (8 * index)) }
        return bytes
    }

    private static func checkByteCount(_ count: Int) throws(SafeTensorsError) {
        guard count <= SafeTensorsHeader.maximumHeaderByteCount else {
            throw SafeTensorsError(
                .headerTooLarge,
                "the header would have \(count) bytes or more, over the limit of "
                    + "\(SafeTensorsHeader.maximumHeaderByteCount): split the tensors over more files")
        }
    }

    private static func appendMetadata(
        _ metadata: [(key: String, value: String)], to bytes: inout [UInt8]
    ) throws(SafeTensorsError) {
        guard !metadata.isEmpty else { return }
        let sorted = metadata.sorted { $0.key.utf8.lexicographicallyPrecedes($1.key.utf8) }
        JSONValue.appendString(HeaderParser.metadataKey, to: &bytes)
        bytes += ":{".utf8
        for (index, entry) in sorted.enumerated() {
            if index > 0 {
                guard !entry.key.utf8.elementsEqual(sorted[index - 1].key.utf8) else {
                    throw SafeTensorsError(
                        .duplicateName,
                        "two metadata entries have the key \"\(escapedForDisplay(entry.key))\"")
                }
                bytes.append(UInt8(ascii: ","))
            }
            JSONValue.appendString(entry.key, to: &bytes)
            bytes.append(UInt8(ascii: ":"))
            JSONValue.appendString(entry.value, to: &bytes)
        }
        bytes.append(UInt8(ascii: "}"))
    }
}
