internal import Integrity
internal import StrictJSON
internal import TensorCore

/// What an export has brought to stable storage, kept beside the files it writes, so that the next run can go on.
///
/// A text file of lines that only grows. Each line begins with the CRC-32 of the rest, so that a line which was
/// cut short, and all after it, count as not written. The first line names the plan; each of the others says how
/// far a lane has come, with the digests that ended after those of the lines before which still count.
final class Journal: Sendable {
    private struct State {
        var offset: UInt64
        /// How many digests of each lane stand in the file.
        var written: [Int: Int]
        /// How far each lane has come.
        var positions: [Int: UInt64]
    }

    private static let schema = "artifact.journal/v1"
    private let file: OutputFile
    private let state: Monitor<State>

    /// Begins a journal for the plan with this digest.
    init(creating path: String, plan: SHA256Digest) throws(IOError) {
        file = try OutputFile(creating: path)
        state = Monitor(State(offset: 0, written: [:], positions: [:]))
        try append(
            .object([.init("schema", .string(Self.schema)), .init("plan", .string(plan.hex))]), digests: nil)
    }

    /// Goes on with a journal that was read.
    ///
    /// - Parameter lanes: what is gone on with; the others begin anew.
    init(resuming path: String, byteCount: UInt64, lanes: [Int: LaneProgress]) throws(IOError) {
        file = try OutputFile(resuming: path)
        try file.truncate(to: byteCount)
        state = Monitor(
            State(
                offset: byteCount, written: lanes.mapValues(\.finished.count),
                positions: lanes.mapValues(\.position)))
    }

    /// Adds how far a lane has come, and brings it to stable storage.
    func record(lane: Int, _ progress: LaneProgress) throws(IOError) {
        let known = state.withLock { $0.written[lane] ?? 0 }
        let new = progress.finished.dropFirst(known).map { digest in
            JSONValue.array([
                digest.sha256.map { .string($0.hex) } ?? .null, digest.crc32.map { .integer($0) } ?? .null,
            ])
        }
        let line = JSONValue.object([
            .init("lane", .integer(lane)), .init("position", .integer(progress.position)),
            .init("whole", .string(progress.whole.text)), .init("part", .string(progress.part.text)),
            .init("crc32", .integer(progress.crc32)), .init("after", .integer(known)),
            .init("finished", .array(new)),
        ])
        try append(line, digests: (lane, progress.finished.count))
        state.withLock { $0.positions[lane] = progress.position }
    }

    /// The bytes of work that a later run will not do again.
    var recordedByteCount: UInt64 { state.withLock { $0.positions.values.reduce(0, +) } }

    private func append(_ value: JSONValue, digests: (lane: Int, count: Int)?) throws(IOError) {
        let text = value.serialized()
        let crc = String(CRC32.update(0, with: text.span.bytesView), radix: 16)
        let line =
            Array(String(repeating: "0", count: 8 - crc.utf8.count).utf8) + crc.utf8 + [0x20] + text + [0x0A]
        try state.withLock { (state) throws(IOError) in
            try file.write(line.span.bytesView, at: state.offset)
            state.offset += UInt64(line.count)
            if let digests { state.written[digests.lane] = digests.count }
        }
        try file.synchronize()
    }
}

extension Journal {
    /// What stands in a journal.
    struct Contents {
        /// The plan that it belongs to.
        var plan: SHA256Digest
        /// How far each lane has come, by number.
        var lanes: [Int: LaneProgress] = [:]
        /// The bytes up to the last line that is whole.
        var byteCount: UInt64 = 0

        /// The bytes of work that were done, as the journal has it.
        var recordedByteCount: UInt64 {
            lanes.values.reduce(0) { $0 + min($1.position, .max - $0) }
        }
    }

    /// Far more than the journal of the largest model has.
    private static let byteCountLimit = 1 << 30

    /// Reads the journal at `path` as far as it is whole; nil where there is none.
    static func read(_ path: String) -> Contents? {
        guard let bytes = try? FileSystem.contents(of: path, limit: byteCountLimit) else { return nil }
        var contents: Contents?
        var start = 0
        while let end = bytes[start...].firstIndex(of: 0x0A), let value = line(bytes[start..<end]) {
            if contents == nil {
                guard value["schema"]?.string == schema,
                    let plan = value["plan"]?.string.flatMap({ SHA256Digest(hex: $0) })
                else { return nil }
                contents = Contents(plan: plan)
            } else if contents?.add(value) != true {
                break
            }
            start = end + 1
            contents?.byteCount = UInt64(start)
        }
        return contents
    }

    /// The value of a line without its end, where its CRC-32 is right.
    private static func line(_ bytes: ArraySlice<UInt8>) -> JSONValue? {
        guard bytes.count > 9, let crc = UInt32(String(decoding: bytes.prefix(8), as: UTF8.self), radix: 16)
        else { return nil }
        let text = Array(bytes.dropFirst(9))
        guard CRC32.update(0, with: text.span.bytesView) == crc else { return nil }
        return try? JSONValue(parsing: text)
    }
}

extension Journal.Contents {
    /// Takes a line; false where it is not one of ours.
    fileprivate mutating func add(_ value: JSONValue) -> Bool {
        guard let lane = value["lane"]?.uint64.flatMap({ Int(exactly: $0) }),
            let position = value["position"]?.uint64,
            let whole = value["whole"]?.string.flatMap({ SHA256State(text: $0) }),
            let part = value["part"]?.string.flatMap({ SHA256State(text: $0) }),
            let crc = value["crc32"]?.uint64.flatMap({ UInt32(exactly: $0) }),
            let known = value["after"]?.uint64, case .array(let finished)? = value["finished"]
        else { return false }
        var progress = lanes[lane] ?? LaneProgress()
        guard known <= progress.finished.count else { return false }
        // A lane that had to begin anew takes back what was said of it before.
        progress.finished.removeSubrange(Int(known)...)
        progress.position = position
        progress.whole = whole
        progress.part = part
        progress.crc32 = crc
        for item in finished {
            guard case .array(let pair) = item, pair.count == 2 else { return false }
            progress.finished.append(
                .init(
                    sha256: pair[0].string.flatMap { SHA256Digest(hex: $0) },
                    crc32: pair[1].uint64.flatMap { UInt32(exactly: $0) }))
        }
        lanes[lane] = progress
        return true
    }
}
