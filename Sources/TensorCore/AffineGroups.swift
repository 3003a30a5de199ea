/// Whole numbers of a few bits that share a scale and an offset with their neighbours: `w = scale·q + bias`.
public enum AffineGroups {
    /// The widths that numbers may have.
    public static let bitWidths: Set<Int> = [2, 3, 4, 5, 6, 8]

    /// Values that are computed at once; whole groups of any length that is used.
    private static var blockCount: Int { 4096 }

    /// Computes the numbers of whole groups.
    ///
    /// Product and sum are each rounded to the dtype of the result, as MLX rounds them.
    ///
    /// - Precondition: there are as many scales and biases as groups, and packed and made bytes for exactly those.
    ///
    /// - Parameters:
    ///   - packed: the numbers, a stream of bits that begins with the lowest of the first byte.
    ///   - scales: one for each group.
    ///   - biases: one for each group.
    ///   - bitWidth: the bits of a number.
    ///   - groupLength: the numbers of a group, a multiple of 8.
    ///   - dtype: the floating dtype of the result.
    ///   - destination: where the numbers go.
    public static func dequantise(
        _ packed: RawSpan, scales: Span<Float>, biases: Span<Float>, bitWidth: Int, groupLength: Int,
        as dtype: DType, into destination: inout MutableRawSpan
    ) {
        let width = dtype.bitWidth / 8
        let groupBytes = groupLength / 8 * bitWidth
        precondition(bitWidths.contains(bitWidth) && groupLength > 0 && groupLength % 8 == 0)
        precondition(scales.count == biases.count && packed.byteCount == scales.count * groupBytes)
        precondition(destination.byteCount == scales.count * groupLength * width)
        let groups = max(1, blockCount / groupLength)
        var values = [Float](repeating: 0, count: groups * groupLength)
        var rounded = [UInt8](repeating: 0, count: values.count * width)
        for first in stride(from: 0, to: scales.count, by: groups) {
            let count = min(groups, scales.count - first)
            let length = count * groupLength
            for group in 0..<count {
                let part = packed.extracting((first + group) * groupBytes..<(first + group + 1) * groupBytes)
                var span = values.mutableSpan
                var target = span._mutatingExtracting(group * groupLength..<(group + 1) * groupLength)
                multiply(part, by: scales[first + group], bitWidth: bitWidth, into: &target)
            }
            round(&values, count: length, to: dtype, through: &rounded)
            for group in 0..<count {
                let bias = biases[first + group]
                var span = values.mutableSpan
                var target = span._mutatingExtracting(group * groupLength..<(group + 1) * groupLength)
                for index in target.indices { target[index] += bias }
            }
            let start = first * groupLength * width
            var target = destination._mutatingExtracting(start..<start + length * width)
            ElementCast.convert(
                values.span.extracting(0..<length).bytesView, from: .f32, to: dtype, into: &target)
        }
    }

    /// Eight numbers are as many bytes as one has bits.
    private static func multiply(
        _ packed: RawSpan, by scale: Float, bitWidth: Int, into values: inout MutableSpan<Float>
    ) {
        let mask = UInt64(1) << UInt64(bitWidth) - 1
        for unit in 0..<values.count / 8 {
            let start = unit * bitWidth
            var word: UInt64 = 0
            if start + 8 <= packed.byteCount {
                word = packed.load(littleEndian: UInt64.self, at: start)
            } else {
                for byte in 0..<bitWidth { word |= UInt64(packed[start + byte]) << UInt64(8 * byte) }
            }
            for index in 0..<8 {
                values[unit * 8 + index] = Float(UInt32(truncatingIfNeeded: word & mask)) * scale
                word >>= UInt64(bitWidth)
            }
        }
    }

    private static func round(
        _ values: inout [Float], count: Int, to dtype: DType, through bytes: inout [UInt8]
    ) {
        if dtype == .f32 { return }
        let size = count * dtype.bitWidth / 8
        var all = bytes.mutableSpan
        var raw = MutableRawSpan(_elements: &all)
        var made = raw._mutatingExtracting(0..<size)
        ElementCast.convert(
            values.span.extracting(0..<count).bytesView, from: .f32, to: dtype, into: &made)
        var floats = values.mutableSpan
        var target = MutableRawSpan(_elements: &floats)
        var part = target._mutatingExtracting(0..<count * 4)
        ElementCast.convert(
            bytes.span.extracting(0..<size).bytesView, from: dtype, to: .f32, into: &part)
    }
}
