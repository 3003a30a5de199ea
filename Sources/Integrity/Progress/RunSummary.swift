internal import Glibc

/// What a piece of work has cost.
public struct RunSummary: Sendable, Equatable {
    /// Seconds on the clock.
    public var wallSeconds: Double
    /// Seconds of processor time of all threads, in user mode and in the kernel.
    public var cpuSeconds: Double
    /// The most memory that the process has had at any time since it began, in bytes.
    public var peakMemoryByteCount: UInt64
    /// Bytes that came out of sources, after conversion where there is one.
    public var readByteCount: UInt64
    /// Bytes that were written.
    public var writtenByteCount: UInt64
    /// Bytes that were digested.
    public var hashedByteCount: UInt64

    /// A start to measure from.
    public struct Start: Sendable {
        fileprivate let time = ContinuousClock.now
        fileprivate let cpuSeconds = RunSummary.processSeconds

        /// Starts now.
        public init() {}
    }

    /// Sums up what was done since a start.
    public init(since start: Start, counters: WorkCounters) {
        wallSeconds = (ContinuousClock.now - start.time).seconds
        cpuSeconds = Self.processSeconds - start.cpuSeconds
        peakMemoryByteCount = Self.peakByteCount
        readByteCount = counters.readByteCount
        writtenByteCount = counters.writtenByteCount
        hashedByteCount = counters.hashedByteCount
    }

    private static var usage: rusage {
        var usage = rusage()
        unsafe getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
        return usage
    }

    private static var processSeconds: Double {
        let usage = usage
        return [usage.ru_utime, usage.ru_stime].reduce(0) {
            $0 + Double($1.tv_sec) + Double($1.tv_usec) / 1e6
        }
    }

    /// The kernel's high-water mark of this program; `ru_maxrss` would keep that of the one that started it.
    private static var peakByteCount: UInt64 {
        let line = statusLines.first { $0.hasPrefix("VmHWM:") }
        let kilobytes = line?.split(whereSeparator: { $0 == " " || $0 == "\t" }).dropFirst().first
        return (kilobytes.flatMap { UInt64($0) } ?? UInt64(usage.ru_maxrss)) * 1024
    }

    /// What the kernel says about this process, none where it does not.
    private static var statusLines: [Substring] {
        let fd = unsafe open("/proc/self/status", O_RDONLY | O_CLOEXEC)
        guard fd >= 0 else { return [] }
        defer { close(fd) }
        var bytes = [UInt8](repeating: 0, count: 16384)
        let count = unsafe bytes.withUnsafeMutableBytes { unsafe read(fd, $0.baseAddress, $0.count) }
        return String(decoding: bytes.prefix(max(0, count)), as: UTF8.self).split(separator: "\n")
    }
}
