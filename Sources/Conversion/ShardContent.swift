internal import Checkpoints
internal import TensorCore

/// The bytes of a file that does not exist yet: its tensors, computed where they are read, and what is around them.
struct ShardContent: StoredSource {
    let name: String
    let byteCount: UInt64
    let frames: [ExportPlan.Frame]
    private let starts: [UInt64]
    private let sources: [TensorSource]

    /// - Parameters:
    ///   - frames: the bytes around the tensors, in file order.
    ///   - tensors: the tensors in file order with the offsets of their first bytes in the file. Together with
    ///     the frames they are the file without holes.
    init(name: String, frames: [ExportPlan.Frame], tensors: [(offset: UInt64, source: TensorSource)]) {
        self.name = name
        self.frames = frames
        let held = frames.map { frame in
            (
                offset: frame.offset,
                source: TensorSource.extent(
                    Extent(
                        source: MemorySource(name: name, contents: frame.bytes), offset: 0,
                        byteCount: UInt64(frame.bytes.count)))
            )
        }
        let parts = (held + tensors).filter { $0.source.byteCount > 0 }.sorted { $0.offset < $1.offset }
        starts = parts.map(\.offset)
        sources = parts.map(\.source)
        byteCount = parts.last.map { $0.offset + $0.source.byteCount } ?? 0
    }

    func read(at offset: UInt64, into buffer: inout MutableRawSpan) throws(IOError) {
        let total = buffer.byteCount
        var done = 0
        var index = part(holding: offset)
        while done < total {
            guard index < sources.count else {
                throw IOError(.unexpectedEnd, path: name, operation: "read", offset: offset + UInt64(done))
            }
            let start = offset + UInt64(done) - starts[index]
            let count = Int(min(UInt64(total - done), sources[index].byteCount - start))
            var part = buffer._mutatingExtracting(done..<done + count)
            try sources[index].read(at: start, into: &part)
            done += count
            index += 1
        }
    }

    func stored(_ range: Range<UInt64>) -> (file: InputFile, offset: UInt64)? {
        guard !sources.isEmpty else { return nil }
        let index = part(holding: range.lowerBound)
        guard let extent = sources[index].extent, let file = extent.source as? InputFile,
            range.lowerBound >= starts[index], range.upperBound <= starts[index] + extent.byteCount
        else { return nil }
        return (file, extent.offset + range.lowerBound - starts[index])
    }

    /// The part that holds the byte at `offset`: the last one that starts at or before it.
    private func part(holding offset: UInt64) -> Int {
        var low = 0
        var high = starts.count
        while low < high {
            let middle = (low + high) / 2
            if starts[middle] <= offset { low = middle + 1 } else { high = middle }
        }
        return max(0, low - 1)
    }
}
