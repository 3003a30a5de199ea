internal import ArgumentParser
internal import Conversion
internal import Glibc
internal import Integrity
internal import StrictJSON
internal import TensorCore

/// The ways to show progress on standard error.
enum ProgressStyle: String, ExpressibleByArgument, CaseIterable {
    /// A bar on a terminal, plain lines elsewhere.
    case auto
    /// A bar with items, rate and time left, erased at the end.
    case bar
    /// A line every ten seconds.
    case plain
    /// An object a line, every second and at the end: `Formats/reports/progress.schema.json`.
    case json
    case none

    /// The time between two showings; the first comes after it too, a little later for a bar.
    var interval: Duration {
        switch self {
        case .auto, .bar: .milliseconds(100)
        case .plain: .seconds(10)
        case .json, .none: .seconds(1)
        }
    }
}

/// Shows how far a long piece of work is, on standard error.
final class Progress: Sendable {
    private struct State {
        var lastShown: ContinuousClock.Instant
        var isDrawn = false
    }

    /// What is shown.
    let meter = ProgressMeter()
    private let verb: String
    private let style: ProgressStyle
    private let started = ContinuousClock.now
    private let start = RunSummary.Start()
    private let state: Monitor<State>

    /// - Parameters:
    ///   - verb: what is done, such as "exporting".
    ///   - style: nothing is shown with ``ProgressStyle/none``.
    init(_ verb: String, _ style: ProgressStyle) {
        self.verb = verb
        let isTerminal = Terminal.errorStyle.isTerminal && Terminal.environment("TERM") != "dumb"
        self.style = style == .auto ? isTerminal ? .bar : .plain : style
        // A bar for work of less than half a second would only flicker.
        let delay = self.style == .bar ? Duration.milliseconds(400) : .zero
        state = Monitor(State(lastShown: started + delay))
    }

    /// Where the engine counts.
    var counters: WorkCounters { meter.counters }

    /// What the work has cost so far.
    var summary: RunSummary { RunSummary(since: start, counters: counters) }

    /// Seconds since the start.
    var elapsed: Double { (ContinuousClock.now - started).seconds }

    /// Sets the bytes of the whole work.
    func expect(_ total: UInt64, done: UInt64 = 0) { meter.expect(total, done: done) }

    /// Notes bytes that are done.
    func advance(_ count: Int) {
        meter.advance(count)
        guard style != .none else { return }
        state.withLock { state in
            let now = ContinuousClock.now
            guard now - state.lastShown >= style.interval else { return }
            state.lastShown = now
            state.isDrawn = true
            show(meter.snapshot)
        }
    }

    /// Ends the work and erases the bar; only the first call counts.
    func finish(isComplete: Bool = false) {
        guard meter.finish(isComplete: isComplete) else { return }
        state.withLock { state in
            if style == .json { show(meter.snapshot) }
            if style == .bar, state.isDrawn { Terminal.write("\r\u{1B}[K", to: STDERR_FILENO) }
        }
    }

    private func show(_ snapshot: ProgressSnapshot) {
        switch style {
        case .json:
            // One write, so that lines of several processes do not mix.
            Terminal.write(snapshot.json(verb).serialized() + [0x0A], to: STDERR_FILENO)
        case .plain: Terminal.printError("\(verb) \(snapshot.figures)")
        default:
            let columns = Terminal.width(of: STDERR_FILENO)
            Terminal.write("\r\u{1B}[K" + snapshot.bar(verb, columns: columns), to: STDERR_FILENO)
        }
    }
}

extension ProgressSnapshot {
    /// `12 %  3/8  340 MB/s  4 min 10 s left`.
    var figures: String {
        var parts = ["\(Int(fraction * 100)) %"]
        if totalItemCount > 1 { parts.append("\(doneItemCount)/\(totalItemCount)") }
        parts.append("\(ByteSize.describe(UInt64(bytesPerSecond)))/s")
        if phase == .finishing {
            parts.append("finishing")
        } else if let secondsLeft {
            parts.append("\(Clock.describe(secondsLeft)) left")
        }
        return parts.joined(separator: "  ")
    }

    /// The verb, a bar in eighths of a column, and the figures.
    func bar(_ verb: String, columns: Int) -> String {
        let figures = figures
        let width = max(10, min(40, columns - verb.count - figures.count - 6))
        let eighths = Int(fraction * Double(width * 8))
        let partial = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"][eighths % 8]
        let full = String(repeating: "█", count: eighths / 8)
        let rest = String(repeating: "░", count: width - eighths / 8 - (partial.isEmpty ? 0 : 1))
        return "\(verb) \(full)\(partial)\(rest) \(figures)"
    }

    /// The snapshot for programs.
    func json(_ verb: String) -> JSONValue {
        .object([
            .init("schema", .string("artifact.progress/v1")), .init("operation", .string(verb)),
            .init("phase", .string(phase.rawValue)), .init("done_bytes", .integer(doneByteCount)),
            .init("total_bytes", .integer(totalByteCount)), .init("done_items", .integer(doneItemCount)),
            .init("total_items", .integer(totalItemCount)),
            .init("bytes_per_second", .integer(UInt64(bytesPerSecond))),
            .init("seconds_left", secondsLeft.map { .seconds($0) } ?? .null),
            .init("elapsed_seconds", .seconds(elapsedSeconds)),
        ])
    }
}
