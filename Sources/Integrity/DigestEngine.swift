public import TensorCore

/// Runs lanes on threads in a fixed amount of memory: every byte is read once, digested once and written once.
///
/// Pieces of a lane are read by any thread in any order, digested in order by one thread at a time, and written
/// in order by one thread at a time, so that one large file keeps several processors busy and many files all of
/// them.
public struct DigestEngine: Sendable {
    /// Where what is done is counted, if anywhere.
    public var counters: WorkCounters?
    /// The number of threads.
    public var jobs: Int
    /// The bytes of memory that pieces may take.
    public var memory: Int
    /// Whether the first failure ends the whole run.
    public var stopsAtFirstError: Bool
    /// Called from any thread with the bytes that each step has finished.
    public var progress: @Sendable (_ byteCount: Int) -> Void
    /// Asked before each step; true ends the run with ``IOError/Code/cancelled``.
    public var isCancelled: @Sendable () -> Bool
    /// Called each time that a part of a lane is on stable storage; nil where nobody keeps a journal.
    ///
    /// From any thread, for each lane one call at a time. A throw ends the lane.
    public var record: (@Sendable (_ lane: Int, _ progress: LaneProgress) throws(IOError) -> Void)?

    /// A lane's progress is recorded no more often than this, in time and in bytes.
    package var recordInterval = Duration.milliseconds(200)
    package var recordByteCount: UInt64 = 32 << 20

    /// The memory that pieces may take where nothing is said: 512 MB.
    public static let defaultMemory = 512_000_000

    /// Makes an engine.
    public init(
        jobs: Int = Workers.processorCount, memory: Int = DigestEngine.defaultMemory, stopsAtFirstError: Bool,
        progress: @escaping @Sendable (Int) -> Void = { _ in },
        isCancelled: @escaping @Sendable () -> Bool = { false },
        record: (@Sendable (Int, LaneProgress) throws(IOError) -> Void)? = nil
    ) {
        self.jobs = max(1, jobs)
        self.memory = memory
        self.stopsAtFirstError = stopsAtFirstError
        self.progress = progress
        self.isCancelled = isCancelled
        self.record = record
    }

    /// Runs the lanes and returns their outcomes, in order.
    public func run(_ lanes: [DigestLane]) -> [DigestLane.Outcome] {
        counters?.expect(items: lanes.count)
        let pieces = PieceBudget(
            memory: memory, jobs: jobs, wish: lanes.reduce(0) { max($0, $1.largestWish) })
        let board = Monitor(
            Board(
                lanes: lanes, pieces: pieces, openLimit: jobs + 1, keepsRecord: record != nil,
                recordInterval: recordInterval, recordByteCount: recordByteCount))
        Workers.run(count: jobs) { _ in work(on: board) }
        return board.withLock { $0.outcomes() }
    }

    private func work(on board: Monitor<Board>) {
        while true {
            if isCancelled() {
                board.withLock { $0.stop(with: IOError(.cancelled, path: "", operation: "")) }
                board.notifyAll()
            }
            switch board.wait({ $0.nextStep() }) {
            case .done: return
            case .fill(let task): fill(task, board)
            case .digest(let task): digest(task, board)
            case .write(let task, let sink): write(task, to: sink, board)
            case .record(let lane, let sink, let progress): keep(progress, of: lane, sink, board)
            case .finish(let lane, let sink, let hasher): finish(lane, sink, hasher, board)
            }
            board.notifyAll()
        }
    }

    private func fill(_ task: Board.Task, _ board: Monitor<Board>) {
        // What stands in a file and nobody looks at is left to the system.
        var task = task
        if task.isPlainCopy { task.stored = (task.source as? any StoredSource)?.stored(task.range) }
        do throws(IOError) {
            if task.stored == nil { try read(task, from: task.range.lowerBound) }
            board.withLock { $0.filled(task) }
        } catch {
            board.withLock { $0.failed(task, error, stopAll: stopsAtFirstError) }
        }
    }

    /// Reads the piece, or the end of it, into the start of its buffer.
    private func read(_ task: Board.Task, from offset: UInt64) throws(IOError) {
        let count = Int(task.range.upperBound - offset)
        try task.buffer.withMutableBytes(count: count) { (bytes) throws(IOError) in
            try task.source.read(at: offset, into: &bytes)
        }
        counters?.didRead(count)
    }

    private func digest(_ task: Board.Task, _ board: Monitor<Board>) {
        if !task.isPlainCopy {
            let start = task.range.lowerBound
            if task.hasher.fillsFields {
                task.buffer.withMutableBytes(count: task.count) {
                    task.hasher.update(filling: &$0, at: start)
                }
            } else {
                task.buffer.withBytes(count: task.count) { task.hasher.update($0, at: start) }
            }
            counters?.didHash(task.count)
        }
        if task.sink == nil { progress(task.count) }
        board.withLock { $0.digested(task) }
    }

    private func write(_ task: Board.Task, to sink: any ByteSink, _ board: Monitor<Board>) {
        do throws(IOError) {
            var offset = task.range.lowerBound
            if let (file, start) = task.stored {
                offset += try sink.copy(start..<start + UInt64(task.count), of: file, to: offset)
                if offset < task.range.upperBound { try read(task, from: offset) }
            }
            if offset < task.range.upperBound {
                let count = Int(task.range.upperBound - offset)
                try task.buffer.withBytes(count: count) { (bytes) throws(IOError) in
                    try sink.write(bytes, at: offset)
                }
            }
            counters?.didWrite(task.count)
            progress(task.count)
            board.withLock { $0.written(task) }
        } catch {
            board.withLock { $0.failed(task, error, stopAll: stopsAtFirstError) }
        }
    }

    private func keep(
        _ progress: LaneProgress, of lane: Int, _ sink: (any ByteSink)?, _ board: Monitor<Board>
    ) {
        let start = ContinuousClock.now
        do throws(IOError) {
            try sink?.synchronize()
            try record?(lane, progress)
            board.withLock { $0.recorded(lane, within: start.duration(to: .now)) }
        } catch {
            board.withLock { $0.laneFailed(lane, error, stopAll: stopsAtFirstError) }
        }
    }

    private func finish(
        _ lane: Int, _ sink: (any ByteSink)?, _ hasher: LaneHasher, _ board: Monitor<Board>
    ) {
        do throws(IOError) {
            try sink?.synchronize()
            if let record { try record(lane, hasher.progress(at: board.withLock { $0.byteCount(of: lane) })) }
            let digest = hasher.finish()
            counters?.didFinishItem()
            board.withLock { $0.finished(lane, digest) }
        } catch {
            board.withLock { $0.laneFailed(lane, error, stopAll: stopsAtFirstError) }
        }
    }
}

/// How large pieces are and how many may be in memory.
struct PieceBudget: Sendable {
    /// The most bytes in a piece: a power of two, so a multiple of the size of every element.
    let pieceByteCount: Int
    /// The most bytes in a piece of a segment that wishes for more; a power of two.
    let largest: Int
    /// How many pieces are in memory.
    let count: Int

    /// What a source may take to compute a piece, for each thread.
    static let scratchByteCount = 16 << 20

    init(memory: Int, jobs: Int, wish: Int = 0) {
        let room = max(memory - jobs * Self.scratchByteCount, memory / 2)
        var piece = 4 << 20
        while piece > 64 << 10, (jobs + 2) * piece > room { piece /= 2 }
        pieceByteCount = piece
        while 2 * piece <= wish, (jobs + 2) * 2 * piece <= room { piece *= 2 }
        largest = piece
        count = max(2, min(2 * jobs + 2, room / piece))
    }
}
