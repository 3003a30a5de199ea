/// Which bytes of a tensor are written: ranges in order that do not touch.
struct WrittenRanges: Sendable {
    private var ranges: [Range<UInt64>] = []

    /// Enters a range; false, and no change, where bytes of it are entered already.
    ///
    /// Fast where ranges come in order; otherwise in proportion to the gaps that are left.
    mutating func insert(_ range: Range<UInt64>) -> Bool {
        guard !range.isEmpty else { return true }
        let place = firstIndex(endingAfter: range.lowerBound)
        if place < ranges.count, ranges[place].lowerBound < range.upperBound { return false }
        let joinsNext = place < ranges.count && ranges[place].lowerBound == range.upperBound
        let joinsPrevious = place > 0 && ranges[place - 1].upperBound == range.lowerBound
        switch (joinsPrevious, joinsNext) {
        case (true, true):
            ranges[place - 1] = ranges[place - 1].lowerBound..<ranges[place].upperBound
            ranges.remove(at: place)
        case (true, false): ranges[place - 1] = ranges[place - 1].lowerBound..<range.upperBound
        case (false, true): ranges[place] = range.lowerBound..<ranges[place].upperBound
        case (false, false): ranges.insert(range, at: place)
        }
        return true
    }

    /// Takes out a range that was entered.
    mutating func remove(_ range: Range<UInt64>) {
        guard !range.isEmpty else { return }
        let place = firstIndex(endingAfter: range.lowerBound)
        guard place < ranges.count else { return }
        let whole = ranges[place]
        let rest = [whole.lowerBound..<range.lowerBound, range.upperBound..<whole.upperBound]
        ranges.replaceSubrange(place...place, with: rest.filter { !$0.isEmpty })
    }

    /// The first bytes below `count` that are not entered, or nil where all are.
    func firstGap(upTo count: UInt64) -> Range<UInt64>? {
        guard count > 0 else { return nil }
        guard let first = ranges.first else { return 0..<count }
        if first.lowerBound > 0 { return 0..<first.lowerBound }
        guard first.upperBound < count else { return nil }
        return first.upperBound..<(ranges.count > 1 ? ranges[1].lowerBound : count)
    }

    private func firstIndex(endingAfter offset: UInt64) -> Int {
        var low = 0
        var high = ranges.count
        while low < high {
            let middle = (low + high) / 2
            if ranges[middle].upperBound <= offset { low = middle + 1 } else { high = middle }
        }
        return low
    }
}
