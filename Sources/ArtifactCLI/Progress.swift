internal import Conversion
internal import Glibc
internal import TensorCore

/// Shows how far a long piece of work is, on standard error.
///
/// On a terminal a bar with rate and time left, drawn at most ten times a second and erased at the end;
/// elsewhere a plain line every ten seconds; with `--quiet` nothing.
final class Progress: Sendable {
    private struct State {
        var total: UInt64 = 0
        var done: UInt64 = 0
        var lastShown: UInt64
        var isDrawn = false
    }

    private let verb: String
    private let isQuiet: Bool
    private let isTerminal: Bool
    private let started: UInt64
    private let state: Monitor<State>

    init(_ verb: String, total: UInt64 = 0, quiet: Bool) {
        self.verb = verb
        isQuiet = quiet
        isTerminal = Terminal.errorStyle.isTerminal && Terminal.environment("TERM") != "dumb"
        started = Clock.now
        state = Monitor(State(total: total, lastShown: started))
    }

    /// Sets the bytes of the whole work.
    func expect(_ total: UInt64) { state.withLock { $0.total = total } }

    /// Notes bytes that are done.
    func advance(_ count: Int) {
        guard !isQuiet else { return }
        state.withLock { state in
            state.done += UInt64(count)
            let now = Clock.now
            let interval: UInt64 = isTerminal ? 100_000_000 : 10_000_000_000
            guard now - state.lastShown >= interval else { return }
            state.lastShown = now
            state.isDrawn = true
            show(state, now)
        }
    }

    /// Erases the bar.
    func finish() {
        state.withLock { state in
            if state.isDrawn && isTerminal { Terminal.write("\r\u{1B}[K", to: STDERR_FILENO) }
            state.isDrawn = false
        }
    }

    /// Seconds since the start.
    var elapsed: Double { Double(Clock.now - started) / 1e9 }

    private func show(_ state: State, _ now: UInt64) {
        let seconds = max(0.001, Double(now - started) / 1e9)
        let rate = Double(state.done) / seconds
        let fraction = state.total == 0 ? 0 : min(1, Double(state.done) / Double(state.total))
        let left = rate > 0 ? Double(state.total - min(state.done, state.total)) / rate : 0
        let figures =
            "\(Int(fraction * 100)) %  \(ByteSize.describe(UInt64(rate)))/s  \(Clock.describe(left)) left"
        guard isTerminal else { return Terminal.printError("\(verb) \(figures)") }
        let room = max(10, min(40, Terminal.width(of: STDERR_FILENO) - verb.count - figures.count - 6))
        Terminal.write("\r\u{1B}[K\(verb) \(Self.bar(fraction, width: room)) \(figures)", to: STDERR_FILENO)
    }

    /// A bar in eighths of a column.
    private static func bar(_ fraction: Double, width: Int) -> String {
        let eighths = Int(fraction * Double(width * 8))
        let partial = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"][eighths % 8]
        let full = String(repeating: "█", count: eighths / 8)
        return full + partial + String(repeating: "░", count: width - eighths / 8 - (partial.isEmpty ? 0 : 1))
    }
}

/// Time, for people.
enum Clock {
    /// Nanoseconds on a clock that only goes forward.
    static var now: UInt64 {
        var time = timespec()
        unsafe clock_gettime(CLOCK_MONOTONIC, &time)
        return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
    }

    /// `0.03 s`, `12 s`, `4 min 10 s`, `2 h 05 min`.
    static func describe(_ seconds: Double) -> String {
        if seconds < 10 {
            let hundredths = Int(seconds * 100)
            return "\(hundredths / 100).\(hundredths % 100 < 10 ? "0" : "")\(hundredths % 100) s"
        }
        guard seconds < 1e7 else { return "a long time" }
        let whole = Int(seconds)
        if whole < 60 { return "\(whole) s" }
        if whole < 3600 { return "\(whole / 60) min \(whole % 60) s" }
        return "\(whole / 3600) h \(whole % 3600 / 60 < 10 ? "0" : "")\(whole % 3600 / 60) min"
    }
}
