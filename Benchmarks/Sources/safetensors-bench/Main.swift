import Glibc
import SafeTensors

/// `safetensors-bench CASE PATH RUNS`: prints the times of RUNS runs and the peak memory as JSON.
@main struct Main {
    static func main() throws {
        let arguments = CommandLine.arguments
        guard arguments.count == 4, let runs = Int(arguments[3]), let body = cases[arguments[1]] else {
            fatalError("safetensors-bench CASE PATH RUNS, with a case of \(cases.keys.sorted())")
        }
        var times: [(wall: Double, cpu: Double)] = []
        for _ in 0..<runs {
            let job = Job(path: arguments[2])
            let (wall, cpu) = (Clock.wall, Clock.cpu)
            try body(job)
            times.append(job.measured ?? (Clock.wall - wall, Clock.cpu - cpu))
        }
        var usage = rusage()
        getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
        let walls = times.map { "\($0.wall)" }.joined(separator: ",")
        let cpus = times.map { "\($0.cpu)" }.joined(separator: ",")
        print(
            #"{"wall_s":[\#(walls)],"cpu_s":[\#(cpus)],"peak_mb":\#(Double(usage.ru_maxrss) * 1024 / 1e6)}"#)
    }
}

/// One run of a case.
final class Job {
    let path: String
    /// The time of the part that is measured, where that is not the whole.
    private(set) var measured: (wall: Double, cpu: Double)?
    private var noted = 0

    init(path: String) { self.path = path }

    /// The whole file.
    var contents: [UInt8] { get throws { try FileSystem.contents(of: path, limit: .max) } }

    /// Measures this part alone.
    func measure(_ body: () throws -> Void) rethrows {
        let (wall, cpu) = (Clock.wall, Clock.cpu)
        try body()
        measured = (Clock.wall - wall, Clock.cpu - cpu)
    }

    /// Uses a result, so that the compiler cannot leave out what made it.
    @inline(never)
    func note(_ value: Int) { noted &+= value }
}

enum Clock {
    static var wall: Double { time(CLOCK_MONOTONIC) }
    static var cpu: Double { time(CLOCK_PROCESS_CPUTIME_ID) }

    private static func time(_ clock: clockid_t) -> Double {
        var value = timespec()
        clock_gettime(clock, &value)
        return Double(value.tv_sec) + Double(value.tv_nsec) * 1e-9
    }
}
