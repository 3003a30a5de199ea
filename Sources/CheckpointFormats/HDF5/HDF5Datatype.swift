internal import Checkpoints
internal import TensorCore

/// The type of the elements of a dataset or an attribute.
struct HDF5Datatype {
    enum Kind: Equatable {
        case element(DType)
        /// Bytes without a meaning, as which h5py writes bfloat16.
        case opaque
        /// A text of a fixed size.
        case text
        /// A text in the global heap.
        case heapText
        /// What no dtype holds, in words.
        case other(String)
    }

    private(set) var kind: Kind = .other("of an unknown type")
    private(set) var isBigEndian = false
    /// The bytes of an element.
    let byteCount: Int

    init(_ cursor: inout HDF5Cursor) throws(CheckpointError) {
        let head = try cursor.u8()
        let bits = (try cursor.u8(), try cursor.u8(), try cursor.u8())
        byteCount = try cursor.u32()
        switch head & 15 {
        case 0: try readInteger(bits.0, &cursor)
        case 1: try readFloat(bits.0, &cursor)
        case 3: kind = .text
        case 5: kind = .opaque
        case 6: try readCompound(version: head >> 4, count: bits.0 | bits.1 << 8, &cursor)
        case 8: try readEnumeration(version: head >> 4, count: bits.0 | bits.1 << 8, &cursor)
        case 9: kind = bits.0 & 15 == 1 ? .heapText : .other("of variable length")
        case 4: kind = .other("fields of bits")
        case 7: kind = .other("references")
        case 10: kind = .other("arrays")
        default: break
        }
    }

    private mutating func readInteger(_ flags: Int, _ cursor: inout HDF5Cursor) throws(CheckpointError) {
        let offset = try cursor.u16()
        let precision = try cursor.u16()
        isBigEndian = flags & 1 == 1 && byteCount > 1
        let isSigned = flags & 8 != 0
        let dtypes: [Int: DType] =
            isSigned ? [1: .i8, 2: .i16, 4: .i32, 8: .i64] : [1: .u8, 2: .u16, 4: .u32, 8: .u64]
        guard offset == 0, precision == byteCount * 8, let dtype = dtypes[byteCount] else {
            kind = .other("integers of \(precision) bits in \(byteCount) bytes")
            return
        }
        kind = .element(dtype)
    }

    private mutating func readFloat(_ flags: Int, _ cursor: inout HDF5Cursor) throws(CheckpointError) {
        let offset = try cursor.u16()
        let precision = try cursor.u16()
        let (exponentPlace, exponent) = (try cursor.u8(), try cursor.u8())
        let (mantissaPlace, mantissa) = (try cursor.u8(), try cursor.u8())
        let bias = try cursor.u32()
        isBigEndian = flags & 1 == 1
        let formats: [(DType, [Int])] = [
            (.f16, [2, 10, 5, 10, 15]), (.bf16, [2, 7, 8, 7, 127]), (.f32, [4, 23, 8, 23, 127]),
            (.f64, [8, 52, 11, 52, 1023]),
        ]
        let own = [byteCount, exponentPlace, exponent, mantissa, bias]
        guard offset == 0, precision == byteCount * 8, mantissaPlace == 0, flags & 0x40 == 0,
            let match = formats.first(where: { $0.1 == own })
        else {
            kind = .other("floats of \(precision) bits")
            return
        }
        kind = .element(match.0)
    }

    /// Two floats called `r` and `i`, as which h5py writes complex numbers.
    private mutating func readCompound(
        version: Int, count: Int, _ cursor: inout HDF5Cursor
    ) throws(CheckpointError) {
        kind = .other("records of several fields")
        guard count == 2, byteCount == 8 else { return }
        for (name, place) in [("r", 0), ("i", 4)] {
            let found = try cursor.text(paddedTo: version >= 3 ? 1 : 8)
            let offset = version >= 3 ? try cursor.u8() : try cursor.u32()
            if version == 1 { try cursor.skip(28) }
            let part = try HDF5Datatype(&cursor)
            guard found.elementsEqual(name.utf8), offset == place, part.kind == .element(.f32) else { return }
            isBigEndian = part.isBigEndian
        }
        kind = .element(.c64)
    }

    /// `FALSE` and `TRUE`, as which h5py writes truth values.
    private mutating func readEnumeration(
        version: Int, count: Int, _ cursor: inout HDF5Cursor
    ) throws(CheckpointError) {
        kind = .other("of an enumeration")
        let base = try HDF5Datatype(&cursor)
        guard count == 2, byteCount == 1, base.byteCount == 1 else { return }
        for name in ["FALSE", "TRUE"] {
            guard try cursor.text(paddedTo: version >= 3 ? 1 : 8).elementsEqual(name.utf8) else { return }
        }
        guard try cursor.u8() == 0, try cursor.u8() == 1 else { return }
        kind = .element(.bool)
    }
}

extension HDF5Cursor {
    /// Reads a dataspace: the dimensions; nil for one without elements.
    mutating func dataspace() throws(CheckpointError) -> [UInt64]? {
        let version = try u8()
        let rank = try u8()
        let flags = try u8()
        guard 1...2 ~= version, rank <= 32 else { throw broken("a dataspace of an unknown version or rank") }
        if version == 1 {
            try skip(5)
        } else if try u8() == 2 {
            return nil
        }
        _ = flags
        var shape: [UInt64] = []
        for _ in 0..<rank { shape.append(try u64()) }
        return shape
    }
}
