/// Scales that blocks of values share.
public enum BlockScale {
    /// Multiplies each value by the scale of its block.
    ///
    /// - Parameters:
    ///   - scales: those of the blocks, from the one that holds the first value.
    ///   - values: neighbours in a row.
    ///   - blockLength: the values of a block.
    ///   - phase: how many of the first block's values come before.
    public static func apply(
        _ scales: Span<Float>, to values: inout MutableSpan<Float>, blockLength: Int, phase: Int
    ) {
        var start = 0
        var block = 0
        var room = blockLength - phase
        while start < values.count {
            let scale = scales[block]
            let end = start + min(room, values.count - start)
            for index in start..<end { values[index] *= scale }
            start = end
            block += 1
            room = blockLength
        }
    }
}
