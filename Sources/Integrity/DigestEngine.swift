public import TensorCore

/// Runs lanes on threads in a fixed amount of memory: every byte is read once, digested once and written once.
///
/// Pieces of a lane are read by any thread in any order, digested in order by one thread at a time, and written
/// by one thread at a time, so that one large file keeps several processors busy and many files all of them.
public struct DigestEngine: Sendable {
    /// Where what is done is counted, if anywhere.
    public var counters: WorkCounters?
    /// The number of threads.
    public var jobs: Int
    /// Whether the first failure ends the whole run.
    public var stopsAtFirstError: Bool
    /// Called from any thread with the bytes that each step has finished.
    public var progress: @Sendable (_ byteCount: Int) -> Void
    /// Asked before each step; true ends the run with ``IOError/Code/cancelled``.
    public var isCancelled: @Sendable () -> Bool

    /// Makes an engine.
    public init(
        jobs: Int = Workers.processorCount, stopsAtFirstError: Bool,
        progress: @escaping @Sendable (Int) -> Void = { _ in },
        isCancelled: @escaping @Sendable () -> Bool = { false }
    ) {
        self.jobs = max(1, jobs)
        self.stopsAtFirstError = stopsAtFirstError
        self.progress = progress
        self.isCancelled = isCancelled
    }

    /// At most this many pieces are in memory.
    private var bufferCount: Int { min(2 * jobs + 2, 24) }

    /// Runs the lanes and returns their outcomes, in order.
    public func run(_ lanes: [DigestLane]) -> [DigestLane.Outcome] {
        counters?.expect(items: lanes.count)
        let board = Monitor(Board(lanes: lanes, bufferCount: bufferCount, openLimit: jobs + 1))
        Workers.run(count: jobs) { _ in work(on: board) }
        return board.withLock { $0.outcomes() }
    }

    private func work(on board: Monitor<Board>) {
        while true {
            if isCancelled() {
                board.withLock { $0.stop(with: IOError(.cancelled, path: "", operation: "")) }
                board.notifyAll()
            }
            let step = board.wait { $0.nextStep() }
            switch step {
            case .done: return
            case .fill(let task): fill(task, board)
            case .digest(let task): digest(task, board)
            case .write(let task, let sink): write(task, to: sink, board)
            case .finish(let lane, let sink, let hasher): finish(lane, sink, hasher, board)
            }
            board.notifyAll()
        }
    }

    private func fill(_ task: Board.Task, _ board: Monitor<Board>) {
        do throws(IOError) {
            try task.buffer.withMutableBytes(count: task.count) { (bytes) throws(IOError) in
                try task.source.read(at: task.range.lowerBound, into: &bytes)
            }
            counters?.didRead(task.count)
            board.withLock { $0.filled(task) }
        } catch {
            board.withLock { $0.failed(task, error, stopAll: stopsAtFirstError) }
        }
    }

    private func digest(_ task: Board.Task, _ board: Monitor<Board>) {
        task.buffer.withBytes(count: task.count) { task.hasher.update($0, at: task.range.lowerBound) }
        counters?.didHash(task.count)
        if task.sink == nil { progress(task.count) }
        board.withLock { $0.digested(task) }
    }

    private func write(_ task: Board.Task, to sink: OutputFile, _ board: Monitor<Board>) {
        do throws(IOError) {
            try task.buffer.withBytes(count: task.count) { (bytes) throws(IOError) in
                try sink.write(bytes, at: task.range.lowerBound)
            }
            counters?.didWrite(task.count)
            progress(task.count)
            board.withLock { $0.written(task) }
        } catch {
            board.withLock { $0.failed(task, error, stopAll: stopsAtFirstError) }
        }
    }

    private func finish(_ lane: Int, _ sink: OutputFile?, _ hasher: LaneHasher, _ board: Monitor<Board>) {
        let digest = hasher.finish()
        do throws(IOError) {
            try sink?.synchronize()
            counters?.didFinishItem()
            board.withLock { $0.finished(lane, digest) }
        } catch {
            board.withLock { $0.laneFailed(lane, error, stopAll: stopsAtFirstError) }
        }
    }
}

/// Who does what: the state of a run, reached under a lock.
private struct Board {
    struct Task {
        let lane: Int
        let index: Int
        let range: Range<UInt64>
        let buffer: PageBuffer
        let source: any ByteSource
        let sink: OutputFile?
        let hasher: LaneHasher
        var count: Int { Int(range.upperBound - range.lowerBound) }
    }

    enum Step {
        case fill(Task), digest(Task), write(Task, OutputFile), finish(Int, OutputFile?, LaneHasher), done
    }

    private struct Lane {
        let lane: DigestLane
        var cursor: PieceCursor?
        /// The piece that is read next, nil when all are under way.
        var nextPiece: Range<UInt64>?
        var hasher: LaneHasher?
        /// Pieces that were handed out to be read, digested, and done with.
        var filled = 0
        var digested = 0
        var written = 0
        var isDigesting = false
        /// One thread writes a file at a time: the kernel lets no more of them in, and those that wait spin.
        var isWriting = false
        var isFinishing = false
        var isDone = false
        /// Pieces that were read, by number, and pieces that were digested.
        var ready: [Int: Task] = [:]
        var writable: [Task] = []
        var outcome = DigestLane.Outcome(sha256: nil, segments: [], error: nil)
    }

    private var lanes: [Lane]
    private var freeBuffers: [PageBuffer]
    private var firstOpen = 0
    private let openLimit: Int
    private var unfinished: Int
    private var isStopped = false

    init(lanes: [DigestLane], bufferCount: Int, openLimit: Int) {
        self.lanes = lanes.map { Lane(lane: $0) }
        freeBuffers = (0..<bufferCount).map { _ in PageBuffer(capacity: PieceCursor.pieceByteCount) }
        unfinished = lanes.count
        self.openLimit = openLimit
    }

    /// The next thing for a thread to do, or nil to wait.
    mutating func nextStep() -> Step? {
        if isStopped || unfinished == 0 { return .done }
        while firstOpen < lanes.count, lanes[firstOpen].isDone { firstOpen += 1 }
        var open = 0
        var hungriest: Int?
        var index = firstOpen
        while index < lanes.count, open < openLimit {
            defer { index += 1 }
            if lanes[index].isDone { continue }
            open += 1
            prepare(index)
            if let task = lanes[index].ready[lanes[index].digested], !lanes[index].isDigesting {
                lanes[index].isDigesting = true
                lanes[index].ready[task.index] = nil
                return .digest(task)
            }
            if !lanes[index].isWriting, let task = lanes[index].writable.popLast(), let sink = task.sink {
                lanes[index].isWriting = true
                return .write(task, sink)
            }
            if lanes[index].nextPiece == nil, lanes[index].written == lanes[index].filled,
                !lanes[index].isFinishing, let hasher = lanes[index].hasher
            {
                lanes[index].isFinishing = true
                return .finish(index, lanes[index].lane.sink, hasher)
            }
            let ahead = lanes[index].filled - lanes[index].digested
            if lanes[index].nextPiece != nil,
                hungriest.map({ ahead < lanes[$0].filled - lanes[$0].digested }) ?? true
            {
                hungriest = index
            }
        }
        guard let lane = hungriest, let hasher = lanes[lane].hasher, let piece = lanes[lane].nextPiece,
            let buffer = freeBuffers.popLast()
        else { return nil }
        defer {
            lanes[lane].filled += 1
            lanes[lane].nextPiece = lanes[lane].cursor?.next()
        }
        return .fill(
            Task(
                lane: lane, index: lanes[lane].filled, range: piece, buffer: buffer,
                source: lanes[lane].lane.source, sink: lanes[lane].lane.sink, hasher: hasher))
    }

    /// Starts the lane when its turn comes.
    private mutating func prepare(_ lane: Int) {
        guard lanes[lane].hasher == nil else { return }
        lanes[lane].hasher = LaneHasher(lanes[lane].lane)
        lanes[lane].cursor = PieceCursor(lanes[lane].lane)
        lanes[lane].nextPiece = lanes[lane].cursor?.next()
    }

    mutating func filled(_ task: Task) {
        if lanes[task.lane].isDone { return freeBuffers.append(task.buffer) }
        lanes[task.lane].ready[task.index] = task
    }

    mutating func digested(_ task: Task) {
        lanes[task.lane].isDigesting = false
        lanes[task.lane].digested += 1
        if lanes[task.lane].isDone || task.sink == nil {
            written(task)
        } else {
            lanes[task.lane].writable.append(task)
        }
    }

    mutating func written(_ task: Task) {
        freeBuffers.append(task.buffer)
        lanes[task.lane].written += 1
        if task.sink != nil { lanes[task.lane].isWriting = false }
    }

    mutating func finished(_ lane: Int, _ digest: SHA256Digest?) {
        lanes[lane].outcome.sha256 = digest
        lanes[lane].outcome.segments = lanes[lane].hasher?.finished ?? []
        close(lane)
    }

    mutating func failed(_ task: Task, _ error: IOError, stopAll: Bool) {
        freeBuffers.append(task.buffer)
        laneFailed(task.lane, error, stopAll: stopAll)
    }

    mutating func laneFailed(_ lane: Int, _ error: IOError, stopAll: Bool) {
        if stopAll { isStopped = true }
        guard !lanes[lane].isDone else {
            // Of several failures the first in the file is told.
            if let known = lanes[lane].outcome.error, (error.offset ?? .max) < (known.offset ?? .max) {
                lanes[lane].outcome.error = error
            }
            return
        }
        lanes[lane].outcome.error = error
        close(lane)
    }

    /// Ends the run; lanes that are not done get the error.
    mutating func stop(with error: IOError) {
        isStopped = true
        for lane in lanes.indices where !lanes[lane].isDone && lanes[lane].outcome.error == nil {
            lanes[lane].outcome.error = error
        }
    }

    private mutating func close(_ lane: Int) {
        for task in lanes[lane].ready.values + lanes[lane].writable { freeBuffers.append(task.buffer) }
        lanes[lane].ready = [:]
        lanes[lane].writable = []
        lanes[lane].hasher = nil
        lanes[lane].cursor = nil
        lanes[lane].nextPiece = nil
        lanes[lane].isDone = true
        unfinished -= 1
    }

    func outcomes() -> [DigestLane.Outcome] { lanes.map(\.outcome) }
}
