internal import TensorCore

/// How far a long piece of work is: the one value that every display of progress shows.
public struct ProgressSnapshot: Sendable, Equatable {
    /// What the work is at.
    public enum Phase: String, Sendable {
        /// Headers are read and what is to be done is laid out; the total is not known yet.
        case opening
        /// Bytes move.
        case running
        /// All bytes have moved; they are brought to stable storage and put in their place.
        case finishing
        /// The work is complete.
        case done
        /// The work ended without being complete.
        case failed
    }

    /// What the work is at.
    public var phase: Phase
    /// Bytes that are done.
    public var doneByteCount: UInt64
    /// Bytes of the whole work, 0 while that is not known.
    public var totalByteCount: UInt64
    /// Items, such as files, that are done.
    public var doneItemCount: Int
    /// Items of the whole work.
    public var totalItemCount: Int
    /// Bytes a second in the last few seconds; over the whole work once that has ended.
    public var bytesPerSecond: Double
    /// Seconds that are left at that rate, nil where that cannot be said.
    public var secondsLeft: Double?
    /// Seconds since the start.
    public var elapsedSeconds: Double

    /// The part that is done, from 0 to 1.
    public var fraction: Double {
        totalByteCount == 0 ? 0 : min(1, Double(doneByteCount) / Double(totalByteCount))
    }
}

/// Measures how far a piece of work is.
///
/// ```swift
/// let meter = ProgressMeter()
/// let exporter = Exporter(tool: tool, progress: { meter.advance($0) })
/// print(meter.snapshot.fraction)
/// ```
public final class ProgressMeter: Sendable {
    private struct Sample {
        var time: ContinuousClock.Instant
        var byteCount: UInt64
    }

    private struct State {
        var phase = ProgressSnapshot.Phase.opening
        var done: UInt64 = 0
        var total: UInt64 = 0
        /// What was done before the start.
        var before: UInt64 = 0
        var end: ContinuousClock.Instant?
        /// From the last few seconds, the oldest first.
        var samples: [Sample]
    }

    /// What is counted besides.
    public let counters: WorkCounters
    private let start = ContinuousClock.now
    private let state: Monitor<State>

    /// The rate is that of about this long.
    static let window = Duration.seconds(5)
    private static let sampleInterval = Duration.milliseconds(250)

    /// Makes a meter; the time runs from now on.
    ///
    /// - Parameter counters: where the engine that does the work counts items.
    public init(counters: WorkCounters = WorkCounters()) {
        self.counters = counters
        state = Monitor(State(samples: [Sample(time: start, byteCount: 0)]))
    }

    /// Sets the bytes of the whole work, which runs from here on.
    ///
    /// - Parameters:
    ///   - byteCount: all bytes.
    ///   - done: those that an earlier run has done.
    public func expect(_ byteCount: UInt64, done: UInt64 = 0) {
        let now = ContinuousClock.now
        state.withLock { state in
            state.total = byteCount
            state.before = done
            state.done += done
            state.phase = .running
            // The time before says nothing about the rate.
            state.samples = [Sample(time: now, byteCount: state.done)]
        }
    }

    /// Counts bytes that are done, from any thread.
    public func advance(_ byteCount: Int) {
        let now = ContinuousClock.now
        state.withLock { state in
            state.done += UInt64(byteCount)
            guard let last = state.samples.last, now - last.time >= Self.sampleInterval else { return }
            state.samples.append(Sample(time: now, byteCount: state.done))
            while state.samples.count > 2, now - state.samples[1].time >= Self.window {
                state.samples.removeFirst()
            }
        }
    }

    /// Ends the work; only the first call counts.
    ///
    /// - Parameter isComplete: whether all of it is done.
    /// - Returns: whether this was the first call.
    @discardableResult
    public func finish(isComplete: Bool) -> Bool {
        state.withLock { state in
            guard state.end == nil else { return false }
            state.end = .now
            state.phase = isComplete ? .done : .failed
            return true
        }
    }

    /// How far the work is now.
    public var snapshot: ProgressSnapshot {
        state.withLock { state in
            let now = state.end ?? .now
            let elapsed = (now - start).seconds
            var phase = state.phase
            if phase == .running, state.total > 0, state.done >= state.total { phase = .finishing }
            var rate = elapsed > 0 ? Double(state.done - state.before) / elapsed : 0
            if state.end == nil, let oldest = state.samples.first {
                let span = (now - oldest.time).seconds
                rate = span > 0 ? Double(state.done - oldest.byteCount) / span : 0
            }
            let left = Double(state.total - min(state.done, state.total))
            let secondsLeft: Double? =
                switch phase {
                case .running: rate > 0 ? left / rate : nil
                case .finishing, .done: 0
                case .opening, .failed: nil
                }
            return ProgressSnapshot(
                phase: phase, doneByteCount: state.done, totalByteCount: state.total,
                doneItemCount: counters.doneItemCount, totalItemCount: counters.expectedItemCount,
                bytesPerSecond: rate, secondsLeft: secondsLeft, elapsedSeconds: elapsed)
        }
    }
}

extension Duration {
    /// The duration in seconds.
    public var seconds: Double {
        Double(components.seconds) + Double(components.attoseconds) / 1e18
    }
}
