import Checkpoints
import TensorCore

/// A tensor in memory, one integer for the bits of each element: what expressions are judged by.
struct PlainTensor {
    var dtype: DType
    var shape: [Int]
    var codes: [UInt64]

    init(dtype: DType, shape: [Int], codes: [UInt64]) {
        self.dtype = dtype
        self.shape = shape
        self.codes = codes
    }

    /// A tensor of the bytes in which the elements stand one after another, lowest bits first.
    init(dtype: DType, shape: [Int], bytes: [UInt8]) {
        let width = dtype.bitWidth
        codes = (0..<bytes.count * 8 / width).map { element in
            (0..<width).reduce(0) { code, bit in
                let place = element * width + bit
                return code | UInt64(bytes[place / 8] >> UInt8(place % 8) & 1) << UInt64(bit)
            }
        }
        self.dtype = dtype
        self.shape = shape
    }

    /// A tensor of numbers, rounded.
    init(dtype: DType, shape: [Int], values: [Float]) {
        // Whole groups for elements that share bytes.
        let padded = values + [Float](repeating: 0, count: (4 - values.count % 4) % 4)
        var bytes = [UInt8](repeating: 0, count: padded.count * dtype.bitWidth / 8)
        var span = bytes.mutableSpan
        var raw = MutableRawSpan(_elements: &span)
        ElementCodec.encode(padded.span, as: dtype, into: &raw)
        self.init(dtype: dtype, shape: shape, bytes: bytes)
        codes.removeLast(codes.count - values.count)
    }

    /// The bytes; nil where the bits do not fill the last one.
    var bytes: [UInt8]? {
        let width = dtype.bitWidth
        guard codes.count * width % 8 == 0 else { return nil }
        var result = [UInt8](repeating: 0, count: codes.count * width / 8)
        for (element, code) in codes.enumerated() {
            for bit in 0..<width where code >> UInt64(bit) & 1 == 1 {
                let place = element * width + bit
                result[place / 8] |= 1 << UInt8(place % 8)
            }
        }
        return result
    }

    /// The elements as numbers.
    var values: [Float] {
        var padded = self
        padded.codes += [UInt64](repeating: 0, count: (4 - codes.count % 4) % 4)
        var values = [Float](repeating: 0, count: padded.codes.count)
        var span = values.mutableSpan
        let bytes = padded.bytes ?? []
        ElementCodec.decode(RawSpan(_elements: bytes.span), dtype, into: &span)
        return Array(values.prefix(codes.count))
    }

    private func strides() -> [Int] {
        var strides = [Int](repeating: 1, count: shape.count)
        for axis in shape.indices.dropLast().reversed() {
            strides[axis] = strides[axis + 1] * shape[axis + 1]
        }
        return strides
    }

    /// The tensor of this shape whose element at each index is that of ours which `body` picks.
    private func picked(_ newShape: [Int], _ body: ([Int]) -> [Int]) -> PlainTensor {
        let strides = strides()
        let count = newShape.reduce(1, *)
        let codes = (0..<count).map { position -> UInt64 in
            var rest = position
            var index = newShape
            for axis in newShape.indices.reversed() {
                index[axis] = rest % newShape[axis]
                rest /= newShape[axis]
            }
            return self.codes[zip(body(index), strides).reduce(0) { $0 + $1.0 * $1.1 }]
        }
        return PlainTensor(dtype: dtype, shape: newShape, codes: codes)
    }

    func sliced(_ ranges: [Range<Int>]) -> PlainTensor {
        picked(ranges.map(\.count)) { index in zip(index, ranges).map { $0 + $1.lowerBound } }
    }

    func permuted(_ order: [Int]) -> PlainTensor {
        picked(order.map { shape[$0] }) { index in
            var result = index
            for (axis, old) in order.enumerated() { result[old] = index[axis] }
            return result
        }
    }

    func cast(to target: DType) -> PlainTensor {
        if target == dtype { return self }
        if target.byteWidth != nil, !Self.floats.contains(target) || !Self.floats.contains(dtype) {
            // Numbers that no Float holds.
            var values = [Double](repeating: 0, count: codes.count)
            var span = values.mutableSpan
            let bytes = bytes ?? []
            ElementCodec.decode(RawSpan(_elements: bytes.span), dtype, into: &span)
            var output = [UInt8](repeating: 0, count: codes.count * target.bitWidth / 8)
            var outputSpan = output.mutableSpan
            var raw = MutableRawSpan(_elements: &outputSpan)
            ElementCodec.encode(values.span, as: target, into: &raw)
            return PlainTensor(dtype: target, shape: shape, bytes: output)
        }
        return PlainTensor(dtype: target, shape: shape, values: values)
    }

    static func concatenated(_ parts: [PlainTensor], axis: Int) -> PlainTensor {
        var shape = parts[0].shape
        shape[axis] = parts.reduce(0) { $0 + $1.shape[axis] }
        var codes: [UInt64] = []
        let rows = shape[..<axis].reduce(1, *)
        for row in 0..<rows {
            for part in parts {
                let run = part.codes.count / max(1, rows)
                codes += part.codes[row * run..<(row + 1) * run]
            }
        }
        return PlainTensor(dtype: parts[0].dtype, shape: shape, codes: codes)
    }

    static func lowRank(
        _ base: PlainTensor, _ b: PlainTensor, _ a: PlainTensor, scale: Float, dtype: DType
    ) -> PlainTensor {
        let (columns, rank) = (base.shape[1], a.shape[0])
        let (left, right) = (b.values, a.values)
        let values = base.values.enumerated().map { position, value -> Float in
            var sum: Float = 0
            for index in 0..<rank {
                sum.addProduct(
                    left[position / columns * rank + index], right[index * columns + position % columns])
            }
            let update = scale * sum
            return value + update
        }
        return PlainTensor(dtype: dtype, shape: base.shape, values: values)
    }

    static func dequantised(
        _ tensor: PlainTensor, _ scales: PlainTensor, block: [Int], dtype: DType
    ) -> PlainTensor {
        let factors = scales.values
        let strides = scales.strides()
        let values = tensor.values.enumerated().map { position, value -> Float in
            var rest = position
            var scale = 0
            for axis in tensor.shape.indices.reversed() {
                scale += rest % tensor.shape[axis] / block[axis] * strides[axis]
                rest /= tensor.shape[axis]
            }
            return value * factors[scale]
        }
        return PlainTensor(dtype: dtype, shape: tensor.shape, values: values)
    }

    static let floats: [DType] = [
        .f32, .f16, .bf16, .f64, .f8E4M3, .f8E5M2, .f8E4M3FNUZ, .f8E5M2FNUZ, .f4, .f6E2M3, .f6E3M2,
    ]
}
