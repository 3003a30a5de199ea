internal import Checkpoints
internal import Integrity
internal import TensorCore

/// Compares the tensors of many pairs, piece by piece and on several threads.
///
/// Bytes first, up to the first piece that is not the same; then, of the pairs that have one, the values.
final class TensorComparison: Sendable {
    struct Pair: Sendable {
        let a: TensorRecord
        let b: TensorRecord
        /// Whether both can be the same byte for byte.
        var sharesDType: Bool { a.dtype == b.dtype }
    }

    /// A run of elements of a pair.
    private struct Piece: Sendable {
        let pair: Int
        let elements: Range<UInt64>
        let isLast: Bool
    }

    private struct State: Sendable {
        var next = 0
        var differs: [Bool]
        var isCounted: [Bool]
        var comparisons: [ElementComparison]
        var failure: IOError?
    }

    private let pairs: [Pair]
    private let pieces: [Piece]
    private let state: Monitor<State>
    private let jobs: Int
    private let progress: @Sendable (Int) -> Void
    private let isCancelled: @Sendable () -> Bool
    private let counters: WorkCounters?

    /// Elements of a piece; so many fill bytes in every dtype.
    private static let pieceLength: UInt64 = 1 << 19

    init(
        _ pairs: [Pair], jobs: Int, progress: @escaping @Sendable (Int) -> Void,
        isCancelled: @escaping @Sendable () -> Bool, counters: WorkCounters?
    ) {
        var pieces: [Piece] = []
        for (index, pair) in pairs.enumerated() {
            let count = pair.a.elementCount
            var start: UInt64 = 0
            while start < count {
                let end = min(count, start + Self.pieceLength)
                pieces.append(Piece(pair: index, elements: start..<end, isLast: end == count))
                start = end
            }
        }
        self.pairs = pairs
        self.pieces = pieces
        self.jobs = jobs
        self.progress = progress
        self.isCancelled = isCancelled
        self.counters = counters
        state = Monitor(
            State(
                differs: pairs.map { !$0.sharesDType },
                isCounted: [Bool](repeating: false, count: pieces.count),
                comparisons: [ElementComparison](repeating: ElementComparison(), count: pieces.count)))
    }

    /// What the values of each pair are to each other; nil where the bytes are the same.
    func run() throws(IOError) -> [ElementComparison?] {
        try forEachPiece { (number, piece) throws(IOError) in
            let pair = self.pairs[piece.pair]
            guard pair.sharesDType, !self.state.withLock({ $0.differs[piece.pair] }) else { return }
            if try self.areEqual(piece, pair) {
                self.count(number, piece)
            } else {
                self.state.withLock { $0.differs[piece.pair] = true }
            }
        }
        try forEachPiece { (number, piece) throws(IOError) in
            guard self.state.withLock({ $0.differs[piece.pair] }) else { return }
            let comparison = try self.compared(piece, self.pairs[piece.pair])
            self.state.withLock { $0.comparisons[number] = comparison }
            self.count(number, piece)
        }
        return state.withLock { state in
            var results: [ElementComparison?] = state.differs.map { $0 ? ElementComparison() : nil }
            // In order, so that sums come out the same each time.
            for (number, piece) in pieces.enumerated() { results[piece.pair]?.add(state.comparisons[number]) }
            return results
        }
    }

    private func count(_ number: Int, _ piece: Piece) {
        let isNew = state.withLock { state in
            defer { state.isCounted[number] = true }
            return !state.isCounted[number]
        }
        guard isNew else { return }
        let pair = pairs[piece.pair]
        progress(bytes(of: piece, pair.a).count + bytes(of: piece, pair.b).count)
    }

    private func forEachPiece(
        _ body: @escaping @Sendable (Int, Piece) throws(IOError) -> Void
    ) throws(IOError) {
        state.withLock { $0.next = 0 }
        Workers.run(count: min(jobs, pieces.count)) { _ in
            while true {
                if self.isCancelled() {
                    self.state.withLock {
                        $0.failure = $0.failure ?? IOError(.cancelled, path: "", operation: "compare")
                    }
                }
                let number = self.state.withLock { state -> Int? in
                    guard state.failure == nil, state.next < self.pieces.count else { return nil }
                    defer { state.next += 1 }
                    return state.next
                }
                guard let number else { return }
                do throws(IOError) { try body(number, self.pieces[number]) } catch {
                    self.state.withLock { $0.failure = $0.failure ?? error }
                }
            }
        }
        if let failure = state.withLock({ $0.failure }) { throw failure }
    }

    // MARK: - Pieces

    private func bytes(of piece: Piece, _ tensor: TensorRecord) -> Range<UInt64> {
        let bits = UInt64(tensor.dtype.bitWidth)
        let start = piece.elements.lowerBound / 8 * bits
        let end = piece.isLast ? tensor.byteCount : piece.elements.upperBound / 8 * bits
        return start..<end
    }

    private func read(_ piece: Piece, _ tensor: TensorRecord) throws(IOError) -> [UInt8] {
        let range = bytes(of: piece, tensor)
        counters?.didRead(range.count)
        return try [UInt8](count: range.count) { (buffer) throws(IOError) in
            try tensor.source.read(at: range.lowerBound, into: &buffer)
        }
    }

    private func areEqual(_ piece: Piece, _ pair: Pair) throws(IOError) -> Bool {
        let (a, b) = (try read(piece, pair.a), try read(piece, pair.b))
        return ElementComparison.areEqual(a.span.bytesView, b.span.bytesView)
    }

    private func compared(_ piece: Piece, _ pair: Pair) throws(IOError) -> ElementComparison {
        let (a, b) = (try read(piece, pair.a), try read(piece, pair.b))
        var result = ElementComparison()
        result.add(a.span.bytesView, pair.a.dtype, b.span.bytesView, pair.b.dtype)
        return result
    }
}
