/// The order of tensors by their data, found in time proportional to their number.
enum OffsetOrder {
    /// Bits of an offset that one pass sorts by.
    private static let digitBits: UInt64 = 11

    /// The indices of the entries by first and then by last byte, or nil where that is the order they are in.
    ///
    /// Among several entries with data that begin at the same byte, of which no file may have two, the earlier
    /// in the header comes first.
    static func indices(of entries: [HeaderIndex.Entry]) -> [UInt32]? {
        guard let first = entries.first else { return nil }
        var isSorted = true
        var varying: UInt64 = 0
        var previous = first
        for entry in entries {
            if (entry.begin, entry.end) < (previous.begin, previous.end) { isSorted = false }
            varying |= entry.begin ^ first.begin
            previous = entry
        }
        if isSorted { return nil }
        var order = entries.indices.map { UInt32($0) }
        var buffer = order
        sort(&order, into: &buffer, buckets: 3) { Self.kind(entries[$0]) }
        var shift: UInt64 = 0
        while shift < 64, varying >> shift != 0 {
            let mask = (UInt64(1) << digitBits) - 1
            if varying >> shift & mask != 0 {
                sort(&order, into: &buffer, buckets: 1 << digitBits) {
                    Int(entries[$0].begin >> shift & mask)
                }
            }
            shift += digitBits
        }
        return order
    }

    /// Reversed, empty and other entries in the order of their last byte where the first is the same.
    private static func kind(_ entry: HeaderIndex.Entry) -> Int {
        entry.end < entry.begin ? 0 : entry.end == entry.begin ? 1 : 2
    }

    /// Sorts `order` by a digit of each entry, keeping the order of equal ones.
    @inline(__always)
    private static func sort(
        _ order: inout [UInt32], into buffer: inout [UInt32], buckets: Int, digit: (Int) -> Int
    ) {
        var starts = [Int](repeating: 0, count: buckets + 1)
        for index in order { starts[digit(Int(index)) + 1] += 1 }
        for bucket in 1...buckets { starts[bucket] += starts[bucket - 1] }
        for index in order {
            let bucket = digit(Int(index))
            buffer[starts[bucket]] = index
            starts[bucket] += 1
        }
        swap(&order, &buffer)
    }
}
