internal import StrictJSON
internal import TensorCore

/// The check that tensors fill the data section from its start to its end, each byte once.
struct HeaderLayoutCheck {
    /// The byte of the file where data begins.
    let dataOffset: UInt64
    /// The bytes from there to the end of the file.
    let dataByteCount: UInt64

    /// Checks sizes and offsets and notes the order of the tensors by offset.
    func apply(to index: inout HeaderIndex, bytes: RawSpan) throws(SafeTensorsError) {
        index.offsetOrder = OffsetOrder.indices(of: index.entries)
        var expected: UInt64 = 0
        for position in index.entries.indices {
            let number = index.offsetOrder.map { Int($0[position]) } ?? position
            let entry = index.entries[number]
            if entry.begin != expected || entry.fault != .none {
                throw error(number, expected: expected, in: index, bytes: bytes)
            }
            expected = entry.end
            noteAlignment(number, in: &index, bytes: bytes)
        }
        guard expected != dataByteCount else { return }
        let end = clamped(dataOffset, expected)
        if expected < dataByteCount {
            throw SafeTensorsError(
                .trailingBytes, at: end, "\(dataByteCount - expected) bytes follow the last tensor")
        }
        let last = index.entries.indices.last { index.entries[$0].end > dataByteCount }
        throw SafeTensorsError(
            .dataTruncated, at: dataOffset + dataByteCount,
            tensor: last.map { index.shownName($0, in: bytes) },
            "the file should have \(end) bytes but has \(dataOffset + dataByteCount): it was cut short")
    }

    private func error(
        _ number: Int, expected: UInt64, in index: HeaderIndex, bytes: RawSpan
    ) -> SafeTensorsError {
        let entry = index.entries[number]
        let name = index.shownName(number, in: bytes)
        func fault(_ code: SafeTensorsError.Code, _ message: String) -> SafeTensorsError {
            SafeTensorsError(code, at: HeaderParser.fileOffset(Int(entry.shape)), tensor: name, message)
        }
        if entry.fault == .reversed {
            return fault(.badOffsets, "data_offsets [\(entry.begin), \(entry.end)] end before they begin")
        }
        if entry.begin > expected {
            return SafeTensorsError(
                .offsetHole, at: clamped(dataOffset, expected), tensor: name,
                "data begins at \(entry.begin), leaving \(entry.begin - expected) bytes that belong to no tensor"
            )
        }
        if entry.begin < expected {
            return SafeTensorsError(
                .offsetOverlap, at: clamped(dataOffset, entry.begin), tensor: name,
                "data begins at \(entry.begin), within or before the tensor that ends at \(expected)")
        }
        switch entry.fault {
        case .overflow: return fault(.sizeOverflow, "the size that the shape gives does not fit 64 bits")
        case .subByte:
            return fault(.subByteMisaligned, "the \(entry.dtype.name) elements do not fill whole bytes")
        default:
            // Known not to overflow.
            var bits = UInt64(entry.dtype.bitWidth)
            index.forEachDimension(of: number, in: bytes) { bits = bits &* $0 }
            return fault(
                .sizeMismatch,
                "dtype and shape give \(bits / 8) bytes but data_offsets span \(entry.end - entry.begin)")
        }
    }

    private func noteAlignment(_ number: Int, in index: inout HeaderIndex, bytes: RawSpan) {
        let entry = index.entries[number]
        let start = dataOffset &+ entry.begin
        // Alignments are powers of two.
        guard start & UInt64(entry.dtype.alignment - 1) != 0, entry.begin < entry.end else { return }
        let name = JSONText.opened(at: Int(index.names[number]), in: bytes)
        index.warnings.add(
            .unalignedTensor, at: start, tensor: name, in: bytes,
            "\(entry.dtype.name) data is not aligned to \(entry.dtype.alignment) bytes")
    }

    private func clamped(_ a: UInt64, _ b: UInt64) -> UInt64 {
        let (sum, overflow) = a.addingReportingOverflow(b)
        return overflow ? .max : sum
    }
}

extension HeaderIndex {
    /// The name of entry `number`.
    func name(_ number: Int, in bytes: RawSpan) -> TensorName {
        TensorName(utf8: JSONText.opened(at: Int(names[number]), in: bytes).utf8(in: bytes))
    }

    /// The name of entry `number` for an error.
    func shownName(_ number: Int, in bytes: RawSpan) -> TensorName {
        TensorName(shown: JSONText.opened(at: Int(names[number]), in: bytes), in: bytes)
    }

    /// The shape of entry `number`.
    func shape(_ number: Int, in bytes: RawSpan) -> [UInt64] {
        var shape: [UInt64] = []
        forEachDimension(of: number, in: bytes) { shape.append($0) }
        return shape
    }

    /// Reads the dimensions of entry `number` from the text, which was accepted before: digits, commas and
    /// white space up to the bracket.
    func forEachDimension(of number: Int, in bytes: RawSpan, _ body: (UInt64) -> Void) {
        var position = Int(entries[number].shape) + 1
        while bytes[position] != UInt8(ascii: "]") {
            var dimension: UInt64 = 0
            let start = position
            while bytes[position] &- UInt8(ascii: "0") < 10 {
                dimension = dimension &* 10 &+ UInt64(bytes[position] &- UInt8(ascii: "0"))
                position += 1
            }
            if position > start { body(dimension) } else { position += 1 }
        }
    }
}
