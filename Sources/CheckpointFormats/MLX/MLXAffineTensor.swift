internal import Checkpoints
internal import StrictJSON
internal import TensorCore

/// A tensor that MLX quantised in groups with a scale and a bias each.
struct MLXAffineTensor: ComputedTensor {
    let operation = "mlx_affine_dequantised"
    let packed: TensorSource
    let scales: TensorSource
    let biases: TensorSource
    /// The dtype of scales, biases and result.
    let dtype: DType
    let bitWidth: Int
    let groupLength: Int

    var parameters: [JSONMember] {
        [JSONMember("bits", .integer(bitWidth)), JSONMember("group_size", .integer(groupLength))]
    }
    var inputs: [TensorSource] { [packed, scales, biases] }
    var granularity: Int { groupLength * width }
    var byteCount: UInt64 { scales.byteCount / UInt64(width) * UInt64(granularity) }

    private var width: Int { dtype.bitWidth / 8 }
    /// The elements that are computed from one read.
    private static let blockCount = 1 << 17

    func read(at offset: UInt64, into buffer: inout MutableRawSpan) throws(IOError) {
        let groupBytes = groupLength / 8 * bitWidth
        let first = Int(offset) / granularity
        let total = buffer.byteCount / granularity
        let most = max(1, Self.blockCount / groupLength)
        let scratch = PageBuffer(capacity: min(total, most) * groupBytes)
        for start in stride(from: 0, to: total, by: most) {
            let groups = first + start..<first + start + min(most, total - start)
            let (scales, biases) = (try values(of: scales, groups), try values(of: biases, groups))
            try scratch.withMutableBytes(count: groups.count * groupBytes) { (bytes) throws(IOError) in
                try packed.read(at: UInt64(groups.lowerBound * groupBytes), into: &bytes)
            }
            var target = buffer._mutatingExtracting(
                start * granularity..<(start + groups.count) * granularity)
            scratch.withBytes(count: groups.count * groupBytes) { bytes in
                AffineGroups.dequantise(
                    bytes, scales: scales.span, biases: biases.span, bitWidth: bitWidth,
                    groupLength: groupLength, as: dtype, into: &target)
            }
        }
    }

    private func values(of source: TensorSource, _ groups: Range<Int>) throws(IOError) -> [Float] {
        let bytes = try [UInt8](count: groups.count * width) { (bytes) throws(IOError) in
            try source.read(at: UInt64(groups.lowerBound * width), into: &bytes)
        }
        return [Float](count: groups.count) { values in
            ElementCast.convert(bytes.span.bytesView, from: dtype, to: .f32, into: &values)
        }
    }
}
