internal import Conversion
internal import Integrity
internal import StrictJSON
internal import TensorCore

extension RunSummary {
    /// The summary in one line for people.
    var line: String {
        [
            "\(Clock.describe(wallSeconds)), \(Clock.describe(cpuSeconds)) of processor time",
            "\(ByteSize.describe(peakMemoryByteCount)) of memory at most",
            "\(ByteSize.describe(readByteCount)) read, \(ByteSize.describe(writtenByteCount)) written, "
                + "\(ByteSize.describe(hashedByteCount)) hashed",
        ].joined(separator: "; ")
    }

    /// The summary for programs, the member `summary` of a report.
    var json: JSONValue {
        .object([
            .init("wall_seconds", .seconds(wallSeconds)), .init("cpu_seconds", .seconds(cpuSeconds)),
            .init("peak_memory_bytes", .integer(peakMemoryByteCount)),
            .init("bytes_read", .integer(readByteCount)), .init("bytes_written", .integer(writtenByteCount)),
            .init("bytes_hashed", .integer(hashedByteCount)),
        ])
    }
}

extension JSONValue {
    /// Seconds with milliseconds.
    static func seconds(_ seconds: Double) -> JSONValue {
        let thousandths = UInt64(max(0, min(seconds, 1e12)) * 1000)
        let rest = String(thousandths % 1000)
        return .number("\(thousandths / 1000).\(String(repeating: "0", count: 3 - rest.count))\(rest)")
    }

    /// The object with a further member at its end.
    func adding(_ key: String, _ value: JSONValue) -> JSONValue {
        guard case .object(let members) = self else { return self }
        return .object(members + [JSONMember(key, value)])
    }
}

/// Time, for people.
enum Clock {
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
