internal import Checkpoints
internal import StrictJSON
internal import TensorCore

/// A quantised tensor of torch as the F32 numbers that `dequantize()` gives.
struct QuantizedTensor: ComputedTensor {
    /// The quantised numbers, I8, U8 or I32.
    let values: TensorExpression
    /// One scale for each of them.
    let scales: TensorSource
    /// One zero point for each of them.
    let zeroPoints: TensorSource
    let scheme: AffineDequantiser

    var operation: String { "torch_dequantised" }
    var parameters: [JSONMember] {
        [
            .init(key: "from", value: .string(values.dtype.name)),
            .init(key: "scheme", value: .string(scheme.rawValue)),
        ]
    }
    var inputs: [TensorSource] { [values.source, scales, zeroPoints] }
    var byteCount: UInt64 { values.byteCount / UInt64(values.dtype.byteWidth ?? 1) * 4 }
    var granularity: Int { 4 }

    func read(at offset: UInt64, into buffer: inout MutableRawSpan) throws(IOError) {
        let width = values.dtype.byteWidth ?? 1
        let (scaleWidth, zeroWidth) = (scheme.scaleType.bitWidth / 8, scheme.zeroPointType.bitWidth / 8)
        let total = buffer.byteCount / 4
        let first = offset / 4
        let block = min(total, 1 << 18)
        let numbers = PageBuffer(capacity: block * width)
        let scale = PageBuffer(capacity: block * scaleWidth)
        let zero = PageBuffer(capacity: block * zeroWidth)
        for start in stride(from: 0, to: total, by: max(1, block)) {
            let count = min(block, total - start)
            let place = first + UInt64(start)
            try numbers.fill(count * width, from: values.source, at: place * UInt64(width))
            try scale.fill(count * scaleWidth, from: scales, at: place * UInt64(scaleWidth))
            try zero.fill(count * zeroWidth, from: zeroPoints, at: place * UInt64(zeroWidth))
            var target = buffer._mutatingExtracting(start * 4..<(start + count) * 4)
            numbers.withBytes(count: count * width) { numbers in
                scale.withBytes(count: count * scaleWidth) { scales in
                    zero.withBytes(count: count * zeroWidth) { zeros in
                        scheme.convert(
                            numbers, values.dtype, zeroPoints: zeros, scales: scales, into: &target)
                    }
                }
            }
        }
    }
}

extension PageBuffer {
    /// Fills the first `count` bytes.
    func fill(_ count: Int, from source: TensorSource, at offset: UInt64) throws(IOError) {
        try withMutableBytes(count: count) { (bytes) throws(IOError) in
            try source.read(at: offset, into: &bytes)
        }
    }
}

extension TensorBuilder {
    /// A tensor quantised as a whole or by channels.
    mutating func quantized(_ arguments: [PickleValue]) throws(CheckpointError) -> TensorExpression {
        guard arguments.count >= 5, let parameters = heap.items(arguments[4]), parameters.count >= 3,
            let scheme = heap.global(parameters[0])?.name
        else { throw damaged() }
        let (view, storage) = try view(arguments, count: 5)
        let values = try quantizedValues(view, storage)
        let size = TensorExpression.elementByteCount(view.shape, 4)
        guard let size else { throw error(.malformed, "shape-overflow", "the size is beyond 63 bits") }
        try countOutput(size)
        switch scheme {
        case "per_tensor_affine":
            guard case .integer(let zero) = parameters[2], let zero = Int32(exactly: zero) else {
                throw damaged()
            }
            let scale: Double
            switch parameters[1] {
            case .float(let value): scale = value
            case .integer(let value): scale = Double(value)
            default: throw damaged()
            }
            return try dequantized(
                values, scales: .filled(pattern: bytes(of: Float(scale).bitPattern), byteCount: size),
                zeroPoints: .filled(pattern: bytes(of: UInt32(bitPattern: zero)), byteCount: size), .whole)
        case "per_channel_affine", "per_channel_affine_float_qparams":
            guard parameters.count == 4, case .integer(let axis) = parameters[3],
                let axis = Int(exactly: axis), view.shape.indices.contains(axis)
            else { throw damaged() }
            let scales = try spread(parameters[1], along: axis, of: view.shape)
            let zeros = try spread(parameters[2], along: axis, of: view.shape)
            let areFloats = zeros.dtype == .f32 || zeros.dtype == .f64
            let scheme: AffineDequantiser = areFloats ? .floats : .channels
            let cast: (scales: TensorSource, zeros: TensorSource)
            do {
                cast = (
                    try scales.cast(to: scheme.scaleType).source,
                    try zeros.cast(to: scheme.zeroPointType).source
                )
            } catch { throw self.error(.malformed, "bad-tensor", "\(error)") }
            return try dequantized(values, scales: cast.scales, zeroPoints: cast.zeros, scheme)
        default:
            throw error(.unsupported, "quantized-unsupported", "\(escaped(scheme.utf8)) is not known")
        }
    }

    private func dequantized(
        _ values: TensorExpression, scales: TensorSource, zeroPoints: TensorSource,
        _ scheme: AffineDequantiser
    ) throws(CheckpointError) -> TensorExpression {
        let node = QuantizedTensor(
            values: values, scales: scales, zeroPoints: zeroPoints, scheme: scheme)
        let source: TensorSource =
            node.byteCount == 0 ? .filled(pattern: [0], byteCount: 0) : .computed(node)
        return try expression(.f32, values.shape, source)
    }

    private func bytes(of bits: UInt32) -> [UInt8] {
        (0..<4).map { UInt8(truncatingIfNeeded: bits >> ($0 * 8)) }
    }

    /// The quantised numbers as they are, those of less than a byte each in a byte.
    private func quantizedValues(
        _ view: View, _ storage: TorchStorage
    ) throws(CheckpointError) -> TensorExpression {
        switch view.element.name {
        case "qint8": return try expression(.i8, view.shape, source(view, of: storage, swapWidth: 1))
        case "quint8": return try expression(.u8, view.shape, source(view, of: storage, swapWidth: 1))
        case "qint32": return try expression(.i32, view.shape, source(view, of: storage, swapWidth: 4))
        case "quint4x2", "quint2x4":
            let count = DType.elementCount(of: view.shape) ?? 0
            guard view.elementOffset == 0, view.isContiguous else {
                throw error(
                    .unsupported, "quantized-unsupported",
                    "the tensor is a view of numbers of less than a byte: save tensor.dequantize()")
            }
            do {
                let codec = PackedBits(bits: 8 / view.element.elementsInByte)
                let unpacked = try BlockMap(.extent(storage.extent), codec: codec)
                let whole = try TensorExpression(
                    dtype: .u8, shape: [unpacked.byteCount], source: .computed(unpacked))
                return try whole.sliced(axis: 0, 0..<count).reshaped(to: view.shape)
            } catch { throw self.error(.malformed, "bad-tensor", "\(error)") }
        default:
            throw error(
                .malformed, "bad-tensor", "a quantised tensor has the dtype \(view.element.name)")
        }
    }

    /// A parameter for each index of an axis, repeated along all others.
    private mutating func spread(
        _ value: PickleValue, along axis: Int, of shape: [UInt64]
    ) throws(CheckpointError) -> TensorExpression {
        guard case .call(let number) = value else { throw damaged() }
        let call = heap.calls[Int(number)]
        guard case .tensor(.tensorV2) = heap.globals[Int(call.global)].role else { throw damaged() }
        let (vector, storage) = try view(heap.arguments(of: call), count: 6)
        guard vector.shape == [shape[axis]], let dtype = vector.element.dtype, let width = dtype.byteWidth,
            [.f32, .f64, .i64, .i32].contains(dtype)
        else { throw error(.malformed, "bad-tensor", "the parameters do not fit the quantised axis") }
        var view = vector
        view.strides = [UInt64](repeating: 0, count: shape.count)
        view.strides[axis] = vector.strides[0]
        view.shape = shape
        return try expression(dtype, shape, source(view, of: storage, swapWidth: width))
    }
}

extension TensorBuilder.View {
    /// Whether the elements stand one after the other in row-major order.
    var isContiguous: Bool {
        var expected: UInt64 = 1
        for (dimension, stride) in zip(shape, strides).reversed() where dimension != 1 {
            if stride != expected { return false }
            expected = expected &* dimension
        }
        return true
    }
}

extension TensorExpression {
    /// The bytes of a tensor whose elements take `width` each, or nil beyond 63 bits.
    static func elementByteCount(_ shape: [UInt64], _ width: UInt64) -> UInt64? {
        if shape.contains(0) { return 0 }
        guard let count = DType.elementCount(of: shape) else { return nil }
        let (bytes, overflow) = count.multipliedReportingOverflow(by: width)
        return overflow || bytes > UInt64(Int64.max) ? nil : bytes
    }
}
