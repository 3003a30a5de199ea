internal import TensorCore

/// Who does what: the state of a run, reached under a lock.
struct Board {
    struct Task {
        let lane: Int
        let index: Int
        let range: Range<UInt64>
        let buffer: PageBuffer
        let source: any ByteSource
        let sink: (any ByteSink)?
        let hasher: LaneHasher
        let isPlainCopy: Bool
        /// Where the bytes stand, when the system is to copy them.
        var stored: (file: InputFile, offset: UInt64)?
        /// What to record once the piece is written.
        var progress: LaneProgress?
        var count: Int { Int(range.upperBound - range.lowerBound) }
    }

    enum Step {
        case fill(Task), digest(Task), write(Task, any ByteSink)
        case record(Int, (any ByteSink)?, LaneProgress)
        case finish(Int, (any ByteSink)?, LaneHasher)
        case done
    }

    private struct Lane {
        let lane: DigestLane
        /// Asked once: it looks at every segment, and pieces are handed out under the lock.
        let isPlainCopy: Bool
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
        var isRecording = false
        var isFinishing = false
        var isDone = false
        /// Pieces that were read, by number, and pieces that were digested, in order.
        var ready: [Int: Task] = [:]
        var writable: [Task] = []
        /// What is written and not recorded yet, and when and where the next record is due.
        var unrecorded: LaneProgress?
        var recordTime: ContinuousClock.Instant
        var recordPosition: UInt64
        var outcome = DigestLane.Outcome(sha256: nil, segments: [], error: nil)
    }

    private var lanes: [Lane]
    private var freeBuffers: [PageBuffer]
    private let pieces: PieceBudget
    private var firstOpen = 0
    private let openLimit: Int
    private let keepsRecord: Bool
    private let recordInterval: Duration
    private let recordByteCount: UInt64
    private var unfinished: Int
    private var isStopped = false

    init(
        lanes: [DigestLane], pieces: PieceBudget, openLimit: Int, keepsRecord: Bool,
        recordInterval: Duration, recordByteCount: UInt64
    ) {
        let first = ContinuousClock.now.advanced(by: recordInterval)
        self.lanes = lanes.map { lane in
            let start = lane.resumption?.position ?? 0
            return Lane(
                lane: lane, isPlainCopy: lane.isPlainCopy, recordTime: first,
                recordPosition: start + recordByteCount)
        }
        self.recordInterval = recordInterval
        self.recordByteCount = recordByteCount
        freeBuffers = (0..<pieces.count).map { _ in PageBuffer(capacity: pieces.largest) }
        self.pieces = pieces
        unfinished = lanes.count
        self.openLimit = openLimit
        self.keepsRecord = keepsRecord
    }

    func byteCount(of lane: Int) -> UInt64 { lanes[lane].lane.source.byteCount }

    func outcomes() -> [DigestLane.Outcome] { lanes.map(\.outcome) }
}

// MARK: - What to do next

extension Board {
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
            if let step = stepOnwards(index) { return step }
            let ahead = lanes[index].filled - lanes[index].digested
            if lanes[index].nextPiece != nil,
                hungriest.map({ ahead < lanes[$0].filled - lanes[$0].digested }) ?? true
            {
                hungriest = index
            }
        }
        return hungriest.flatMap { fill($0) }
    }

    /// A step that brings the pieces of a lane that are in memory closer to their end.
    private mutating func stepOnwards(_ lane: Int) -> Step? {
        let sink = lanes[lane].lane.sink
        if let task = lanes[lane].ready[lanes[lane].digested], !lanes[lane].isDigesting {
            lanes[lane].isDigesting = true
            lanes[lane].ready[task.index] = nil
            return .digest(task)
        }
        if let sink, !lanes[lane].isWriting, !lanes[lane].writable.isEmpty {
            lanes[lane].isWriting = true
            return .write(lanes[lane].writable.removeFirst(), sink)
        }
        guard !lanes[lane].isRecording, !lanes[lane].isFinishing else { return nil }
        if lanes[lane].nextPiece == nil, lanes[lane].written == lanes[lane].filled,
            let hasher = lanes[lane].hasher
        {
            lanes[lane].isFinishing = true
            return .finish(lane, sink, hasher)
        }
        if let progress = lanes[lane].unrecorded {
            lanes[lane].unrecorded = nil
            lanes[lane].isRecording = true
            return .record(lane, sink, progress)
        }
        return nil
    }

    private mutating func fill(_ lane: Int) -> Step? {
        guard let hasher = lanes[lane].hasher, let piece = lanes[lane].nextPiece,
            let buffer = freeBuffers.popLast()
        else { return nil }
        defer {
            lanes[lane].filled += 1
            lanes[lane].nextPiece = lanes[lane].cursor?.next()
        }
        let source = lanes[lane].lane
        return .fill(
            Task(
                lane: lane, index: lanes[lane].filled, range: piece, buffer: buffer, source: source.source,
                sink: source.sink, hasher: hasher, isPlainCopy: lanes[lane].isPlainCopy))
    }

    /// Starts the lane when its turn comes.
    private mutating func prepare(_ lane: Int) {
        guard lanes[lane].hasher == nil else { return }
        lanes[lane].hasher = LaneHasher(lanes[lane].lane)
        lanes[lane].cursor = PieceCursor(
            lanes[lane].lane, pieceByteCount: pieces.pieceByteCount, largest: pieces.largest)
        lanes[lane].nextPiece = lanes[lane].cursor?.next()
    }
}

// MARK: - What was done

extension Board {
    mutating func filled(_ task: Task) {
        if lanes[task.lane].isDone { return freeBuffers.append(task.buffer) }
        lanes[task.lane].ready[task.index] = task
    }

    mutating func digested(_ task: Task) {
        var task = task
        if keepsRecord, !lanes[task.lane].isDone, task.range.upperBound >= lanes[task.lane].recordPosition,
            ContinuousClock.now >= lanes[task.lane].recordTime
        {
            task.progress = task.hasher.progress(at: task.range.upperBound)
            lanes[task.lane].recordPosition = task.range.upperBound + recordByteCount
        }
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
        if let progress = task.progress { lanes[task.lane].unrecorded = progress }
    }

    mutating func recorded(_ lane: Int, within duration: Duration) {
        lanes[lane].isRecording = false
        // A slow disk is asked less often.
        lanes[lane].recordTime = ContinuousClock.now.advanced(by: max(recordInterval, duration * 4))
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
}
