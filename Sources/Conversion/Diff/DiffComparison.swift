internal import Checkpoints
internal import Integrity
internal import TensorCore

/// Two tensors of one name and shape.
struct DiffPair: Sendable {
    var first: TensorRecord
    var second: TensorRecord

    /// The elements of both.
    var elementCount: UInt64 { first.elementCount }

    /// The elements of a piece: as many as make reading fast on both sides, in at most 16 MiB.
    var pieceElementCount: UInt64 {
        let wish = max(first.source.preferredPieceByteCount, second.source.preferredPieceByteCount)
        let bits = UInt64(max(first.dtype.bitWidth, second.dtype.bitWidth))
        return UInt64(min(16 << 20, max(4 << 20, wish))) * 8 / bits / 4096 * 4096
    }
}

/// Compares pairs of tensors on several threads, piece by piece.
struct DiffComparison {
    private let pairs: [DiffPair]
    private let jobs: Int
    private let progress: @Sendable (Int) -> Void
    private let isCancelled: @Sendable () -> Bool
    private let counters: WorkCounters?

    init(
        _ pairs: [DiffPair], jobs: Int, progress: @escaping @Sendable (Int) -> Void,
        isCancelled: @escaping @Sendable () -> Bool, counters: WorkCounters?
    ) {
        self.pairs = pairs
        self.jobs = jobs
        self.progress = progress
        self.isCancelled = isCancelled
        self.counters = counters
    }

    /// A piece to compare: a pair and elements of it.
    private struct Task {
        var pair: Int
        var piece: Int
        var elements: Range<UInt64>
        /// Whether the numbers matter although the bytes are equal, as those of the pair differ elsewhere.
        var measures: Bool
        /// Whether the piece was read before.
        var isAgain = false
    }

    private struct State {
        /// What is known of each piece of a pair: nil for equal bytes that were not measured.
        var results: [[ElementDifference?]]
        var differs: [Bool]
        var pending: [Task] = []
        var pair = 0
        var element: UInt64 = 0
        var error: IOError?
    }

    /// How each pair differs, in order; nil where it is the same byte for byte.
    func run() throws(ConversionError) -> [ElementDifference?] {
        let state = Monitor(
            State(results: pairs.map { _ in [] }, differs: [Bool](repeating: false, count: pairs.count)))
        Workers.run(count: jobs) { _ in work(state) }
        // Pieces that were equal before their pair was known to differ.
        state.withLock { state in
            for pair in pairs.indices where state.differs[pair] {
                let size = pairs[pair].pieceElementCount
                for piece in state.results[pair].indices where state.results[pair][piece] == nil {
                    let start = UInt64(piece) * size
                    let end = min(start + size, pairs[pair].elementCount)
                    state.pending.append(
                        Task(pair: pair, piece: piece, elements: start..<end, measures: true, isAgain: true))
                }
            }
            state.pending.reverse()
        }
        Workers.run(count: jobs) { _ in work(state) }
        let (results, differs, error) = state.withLock { ($0.results, $0.differs, $0.error) }
        if let error {
            if error.code == .cancelled { throw .io(error) }
            throw .source(CheckpointError(error))
        }
        return pairs.indices.map { pair in
            guard differs[pair] else { return nil }
            var total = ElementDifference()
            for case let part? in results[pair] { total.add(part) }
            return total
        }
    }

    /// The next piece, in order, so that streams are read forward.
    private func next(_ state: inout State) -> Task? {
        if let task = state.pending.popLast() { return task }
        while state.pair < pairs.count, state.element >= pairs[state.pair].elementCount {
            state.pair += 1
            state.element = 0
        }
        guard state.pair < pairs.count else { return nil }
        let pair = pairs[state.pair]
        let end = min(state.element + pair.pieceElementCount, pair.elementCount)
        let task = Task(
            pair: state.pair, piece: state.results[state.pair].count, elements: state.element..<end,
            measures: state.differs[state.pair])
        state.results[state.pair].append(nil)
        state.element = end
        return task
    }

    private func work(_ state: Monitor<State>) {
        var (first, second) = (PageBuffer(capacity: 0), PageBuffer(capacity: 0))
        while true {
            let task: Task? = state.withLock { state in
                if isCancelled(), state.error == nil {
                    state.error = IOError(.cancelled, path: "", operation: "compare")
                }
                return state.error == nil ? next(&state) : nil
            }
            guard let task else { return }
            do throws(IOError) {
                let result = try compare(task, &first, &second)
                state.withLock { state in
                    state.results[task.pair][task.piece] = result.values
                    if !result.isEqual { state.differs[task.pair] = true }
                }
            } catch {
                state.withLock { $0.error = $0.error ?? error }
                return
            }
        }
    }

    private func compare(
        _ task: Task, _ first: inout PageBuffer, _ second: inout PageBuffer
    ) throws(IOError) -> (values: ElementDifference?, isEqual: Bool) {
        let pair = pairs[task.pair]
        let one = try fill(&first, pair.first, task.elements)
        let other = try fill(&second, pair.second, task.elements)
        let result = first.withBytes(count: one) { a in
            second.withBytes(count: other) { b -> (ElementDifference?, Bool) in
                let isEqual = pair.first.dtype == pair.second.dtype && areEqual(a, b)
                if isEqual, !task.measures { return (nil, true) }
                return (ElementDifference(a, pair.first.dtype, b, pair.second.dtype), isEqual)
            }
        }
        if !task.isAgain { progress(one + other) }
        return result
    }

    private func fill(
        _ buffer: inout PageBuffer, _ record: TensorRecord, _ elements: Range<UInt64>
    ) throws(IOError) -> Int {
        let bits = UInt64(record.dtype.bitWidth)
        let start = elements.lowerBound * bits / 8
        let count = Int(elements.upperBound * bits / 8 - start)
        if buffer.capacity < count { buffer = PageBuffer(capacity: count) }
        try buffer.withMutableBytes(count: count) { (bytes) throws(IOError) in
            try record.source.read(at: start, into: &bytes)
        }
        counters?.didRead(count)
        return count
    }
}
