/// Numbers of affine quantisation turned back: `(value - zero point) · scale`, as PyTorch computes it.
public enum AffineDequantiser: String, Sendable {
    /// One scale for the whole tensor: the difference in 32 bits, the product in F32.
    case whole = "per_tensor_affine"
    /// Scales by channel: the difference in 64 bits, the product in F64, then rounded to F32.
    case channels = "per_channel_affine"
    /// Scales and zero points by channel as F32, and all arithmetic in it.
    case floats = "per_channel_affine_float_qparams"

    /// The dtype of a scale.
    public var scaleType: DType { self == .channels ? .f64 : .f32 }
    /// The dtype of a zero point.
    public var zeroPointType: DType {
        switch self {
        case .whole: .i32
        case .channels: .i64
        case .floats: .f32
        }
    }

    /// Converts numbers to F32.
    ///
    /// - Parameters:
    ///   - values: the quantised numbers, I8, U8 or I32 by `dtype`.
    ///   - zeroPoints: one of ``zeroPointType`` for each of them.
    ///   - scales: one of ``scaleType`` for each of them.
    ///   - output: takes one F32 for each of them.
    public func convert(
        _ values: RawSpan, _ dtype: DType, zeroPoints: RawSpan, scales: RawSpan,
        into output: inout MutableRawSpan
    ) {
        switch dtype {
        case .i8: convert(values, Int8.self, zeroPoints, scales, &output)
        case .u8: convert(values, UInt8.self, zeroPoints, scales, &output)
        default: convert(values, Int32.self, zeroPoints, scales, &output)
        }
    }

    @inline(__always)
    private func convert<T: FixedWidthInteger & BitwiseCopyable>(
        _ values: RawSpan, _: T.Type, _ zeroPoints: RawSpan, _ scales: RawSpan,
        _ output: inout MutableRawSpan
    ) {
        let width = MemoryLayout<T>.size
        let count = output.byteCount / 4
        let wide = self == .channels ? 8 : 4
        precondition(values.byteCount == count * width)
        precondition(scales.byteCount == count * wide && zeroPoints.byteCount == count * wide)
        for index in 0..<count {
            let value = Int64(truncatingIfNeeded: values.load(littleEndian: T.self, at: index * width))
            let result: Float
            switch self {
            case .whole:
                let zero = zeroPoints.load(littleEndian: Int32.self, at: index * 4)
                let scale = Float(bitPattern: scales.load(littleEndian: UInt32.self, at: index * 4))
                result = Float(Int32(truncatingIfNeeded: value) &- zero) * scale
            case .channels:
                let zero = zeroPoints.load(littleEndian: Int64.self, at: index * 8)
                let scale = Double(bitPattern: scales.load(littleEndian: UInt64.self, at: index * 8))
                result = Float(Double(value &- zero) * scale)
            case .floats:
                let zero = Float(bitPattern: zeroPoints.load(littleEndian: UInt32.self, at: index * 4))
                let scale = Float(bitPattern: scales.load(littleEndian: UInt32.self, at: index * 4))
                result = (Float(value) - zero) * scale
            }
            output.storeBytes(of: result.bitPattern.littleEndian, toByteOffset: index * 4, as: UInt32.self)
        }
    }
}

/// Numbers of less than a byte, the first in the lowest bits, each put into a byte of its own.
public struct PackedBits: BlockCodec {
    private let bits: Int

    /// Makes a codec for numbers of 1, 2 or 4 bits.
    public init(bits: Int) {
        precondition([1, 2, 4].contains(bits))
        self.bits = bits
    }

    /// What it does.
    public var name: String { "unpacked_\(bits)_bits" }
    /// A byte.
    public var inputByteCount: Int { 1 }
    /// A byte for each number in it.
    public var outputByteCount: Int { 8 / bits }

    /// Converts whole bytes.
    public func convert(_ input: RawSpan, into output: inout MutableRawSpan) {
        let count = outputByteCount
        let mask: UInt8 = 1 << UInt8(bits) - 1
        for index in 0..<input.byteCount {
            var byte = input[index]
            for place in 0..<count {
                output.storeBytes(of: byte & mask, toByteOffset: index * count + place, as: UInt8.self)
                byte >>= UInt8(bits)
            }
        }
    }
}
