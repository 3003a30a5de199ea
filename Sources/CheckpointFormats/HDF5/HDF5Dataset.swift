internal import Checkpoints
internal import TensorCore

/// A dataset: a tensor as it stands in the file.
struct HDF5Dataset {
    let object: HDF5Object
    let dtype: DType
    let shape: [UInt64]
    /// The bytes of each element, or of a part of a complex number, that stand in reverse.
    let swapWidth: Int?
    private let fill: [UInt8]

    private var file: HDF5File { object.file }
    private var width: Int { dtype.bitWidth / 8 }

    /// Reads what the dataset is; nil where the object is none.
    init?(_ object: HDF5Object, options: ReadOptions) throws(CheckpointError) {
        guard let type = object.message(.datatype), var space = object.message(.dataspace)?.body,
            object.message(.layout) != nil
        else { return nil }
        func unsupported(_ code: String, _ message: String) -> CheckpointError {
            object.file.error(.unsupported, code, message, at: object.address)
        }
        guard !type.isShared else {
            throw unsupported("hdf5-type", "its type is kept under a name of its own")
        }
        guard object.message(.externalFiles) == nil else {
            throw unsupported("hdf5-external", "its bytes are in other files")
        }
        var body = type.body
        let datatype = try HDF5Datatype(&body)
        self.object = object
        dtype = try Self.dtype(of: datatype, object, options)
        guard let shape = try space.dataspace() else {
            throw unsupported("hdf5-null", "it has no elements and no shape")
        }
        guard shape.contains(0) || dtype.byteCount(of: shape) != nil else {
            throw object.file.error(
                .malformed, "size-overflow", "the size of its shape is beyond 64 bits", at: object.address)
        }
        self.shape = shape
        swapWidth = datatype.isBigEndian ? (dtype == .c64 ? 4 : dtype.bitWidth / 8) : nil
        fill = try Self.fillValue(object, width: datatype.byteCount)
    }

    private static func dtype(
        of datatype: HDF5Datatype, _ object: HDF5Object, _ options: ReadOptions
    ) throws(CheckpointError) -> DType {
        let what: String
        switch datatype.kind {
        case .element(let dtype): return dtype
        case .opaque:
            // Keras says in an attribute what it was.
            if datatype.byteCount == 2, try object.text(ofAttribute: "dtype") == Array("bfloat16".utf8) {
                return .bf16
            }
            if let dtype = options.voidDType, dtype.byteWidth == datatype.byteCount { return dtype }
            throw object.file.error(
                .unsupported, "void-dtype",
                "its elements have a size of \(datatype.byteCount) and no type; say with --void-as what they were",
                at: object.address)
        case .text, .heapText: what = "texts"
        case .other(let text): what = text
        }
        throw object.file.error(
            .unsupported, "hdf5-type", "its elements are \(what), and no dtype here holds them",
            at: object.address)
    }

    /// The element that stands where nothing was written.
    private static func fillValue(_ object: HDF5Object, width: Int) throws(CheckpointError) -> [UInt8] {
        let zeros = [UInt8](repeating: 0, count: width)
        guard var body = object.message(.fill)?.body else { return zeros }
        let version = try body.u8()
        if version == 3 {
            guard try body.u8() & 0x20 != 0 else { return zeros }
        } else {
            try body.skip(2)
            let isDefined = try body.u8() != 0
            guard isDefined || version == 1, body.remaining >= 4 else { return zeros }
        }
        guard try body.u32() == width else { return zeros }
        return Array(try body.take(width))
    }

    /// The tensor.
    func expression(_ chunks: HDF5ChunkCache) throws(CheckpointError) -> TensorExpression {
        guard var layout = object.message(.layout)?.body else { throw refusal("it has no layout") }
        let count = shape.contains(0) ? 0 : dtype.byteCount(of: shape) ?? 0
        let version = try layout.u8()
        guard 3...5 ~= version else { throw refusal("its layout has version \(version)") }
        let kind = try layout.u8()
        switch kind {
        case _ where count == 0: return try filled(shape)
        case 0: return try compact(&layout, count)
        case 1: return try contiguous(&layout, count)
        case 2 where version < 5:
            let index = try HDF5ChunkIndex(self, &layout, version: version)
            return try HDF5ChunkGrid(dataset: self, index: index, cache: chunks).expression()
        default:
            throw refusal(
                "its layout has version \(version) and kind \(kind), which is not read; write the file again without "
                    + "libver='latest'")
        }
    }

    private func compact(_ layout: inout HDF5Cursor, _ count: UInt64) throws(CheckpointError)
        -> TensorExpression
    {
        let size = try layout.u16()
        guard UInt64(size) == count, size <= layout.remaining else {
            throw file.error(
                .malformed, "size-mismatch", "its shape needs \(count) bytes, and it has \(size)",
                at: object.address)
        }
        let place = layout.address + UInt64(layout.position)
        return try tensor(.extent(try file.extent(at: place, count: count)), shape)
    }

    private func contiguous(_ layout: inout HDF5Cursor, _ count: UInt64) throws(CheckpointError)
        -> TensorExpression
    {
        let address = try layout.u64()
        let size = try layout.u64()
        if address == HDF5File.nowhere { return try filled(shape) }
        guard size == count else {
            throw file.error(
                .malformed, "size-mismatch", "its shape needs \(count) bytes, and it has \(size)",
                at: object.address)
        }
        return try tensor(.extent(try file.extent(at: address, count: count)), shape)
    }

    /// A tensor of bytes as they stand in the file.
    func tensor(_ stored: TensorSource, _ shape: [UInt64]) throws(CheckpointError) -> TensorExpression {
        let source = swapWidth.map { TensorSource.byteSwapped(stored, width: $0) } ?? stored
        return try made { () throws(ExpressionError) in
            try TensorExpression(dtype: dtype, shape: shape, source: source)
        }
    }

    /// A tensor that was never written.
    func filled(_ shape: [UInt64]) throws(CheckpointError) -> TensorExpression {
        var value = fill
        if let swapWidth {
            for start in stride(from: 0, to: value.count, by: swapWidth) {
                value[start..<start + swapWidth].reverse()
            }
        }
        let pattern = value
        return try made { () throws(ExpressionError) in
            try .filled(with: pattern, dtype: dtype, shape: shape)
        }
    }

    /// What an operation makes, which was checked to make sense.
    func made(
        _ body: () throws(ExpressionError) -> TensorExpression
    ) throws(CheckpointError) -> TensorExpression {
        do { return try body() } catch { throw refusal("\(error)") }
    }

    func refusal(_ message: String) -> CheckpointError {
        file.error(.unsupported, "hdf5-layout", message, at: object.address)
    }
}
