/// Cuts a lane into pieces, one at a time.
///
/// Small segments share a piece, large ones are cut at multiples from their own start, so that no piece splits an
/// element. Holes that nobody wants are left out. A large segment that wishes for larger pieces gets them.
package struct PieceCursor: Sequence, IteratorProtocol {
    private let lane: DigestLane
    private let usual: UInt64
    private let largest: UInt64
    /// The most bytes in a piece of the current part.
    private var limit: UInt64
    /// What is laid out and not cut off yet.
    private var start: UInt64
    private var end: UInt64
    /// The segment or gap that is being laid out, or the rest of it; begins at `end` or after a hole.
    private var part: Range<UInt64>?
    private var position: UInt64
    private var nextSegment = 0

    /// - Parameters:
    ///   - pieceByteCount: the most bytes in a piece; a multiple of the size of every element.
    ///   - largest: the most bytes in a piece of a segment that wishes for more; at least as many.
    package init(_ lane: DigestLane, pieceByteCount: Int, largest: Int = 0) {
        self.lane = lane
        usual = UInt64(pieceByteCount)
        self.largest = UInt64(Swift.max(pieceByteCount, largest))
        limit = usual
        start = lane.resumption?.position ?? 0
        end = start
        position = start
        while nextSegment < lane.segments.count, lane.segments[nextSegment].range.upperBound <= start {
            nextSegment += 1
        }
    }

    package mutating func next() -> Range<UInt64>? {
        while let part = part ?? nextPart() {
            self.part = part
            if part.lowerBound > end {
                if end > start { return cut() }
                start = part.lowerBound
                end = start
            }
            if part.upperBound - start <= usual || (end == start && part.upperBound - start <= limit) {
                // It still fits beside what is pending.
                self.part = nil
                end = part.upperBound
            } else if end > start {
                return cut()
            } else {
                end = start + limit
                self.part = end..<part.upperBound
                return cut()
            }
        }
        return end > start ? cut() : nil
    }

    private mutating func cut() -> Range<UInt64> {
        defer { start = end }
        return start..<end
    }

    /// The next segment, or the gap before it or after the last.
    private mutating func nextPart() -> Range<UInt64>? {
        guard let (range, isSegment, wish) = lane.part(nextSegment, from: position) else { return nil }
        if isSegment { nextSegment += 1 }
        position = Swift.max(position, range.upperBound)
        limit = Swift.min(Swift.max(usual, UInt64(wish)), largest)
        return Swift.max(range.lowerBound, end)..<Swift.max(range.upperBound, end)
    }
}
