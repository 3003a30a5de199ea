internal import Checkpoints
internal import TensorCore

/// The bytes of a file that does not exist yet: its header, then its tensors, computed where they are read.
struct ShardContent: StoredSource {
    let name: String
    let byteCount: UInt64
    let header: [UInt8]
    private let starts: [UInt64]
    private let sources: [TensorSource]

    /// - Parameter tensors: the tensors in file order with the offsets of their first bytes in the file. They
    ///   follow the header and each other without holes.
    init(name: String, header: [UInt8], tensors: [(offset: UInt64, source: TensorSource)]) {
        self.name = name
        self.header = header
        let full = tensors.filter { $0.source.byteCount > 0 }
        starts = full.map(\.offset)
        sources = full.map(\.source)
        byteCount = full.last.map { $0.offset + $0.source.byteCount } ?? UInt64(header.count)
    }

    func read(at offset: UInt64, into buffer: inout MutableRawSpan) throws(IOError) {
        let total = buffer.byteCount
        var done = 0
        if offset < UInt64(header.count) {
            let count = min(total, header.count - Int(offset))
            copyBytes(from: header.span.bytesView, at: Int(offset), to: &buffer, at: 0, count: count)
            done = count
        }
        var index = done < total ? tensor(holding: offset + UInt64(done)) : 0
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
        guard range.lowerBound >= UInt64(header.count), !sources.isEmpty else { return nil }
        let index = tensor(holding: range.lowerBound)
        guard let extent = sources[index].extent, let file = extent.source as? InputFile,
            range.lowerBound >= starts[index], range.upperBound <= starts[index] + extent.byteCount
        else { return nil }
        return (file, extent.offset + range.lowerBound - starts[index])
    }

    /// The tensor that holds the byte at `offset`: the last one that starts at or before it.
    private func tensor(holding offset: UInt64) -> Int {
        var low = 0
        var high = starts.count
        while low < high {
            let middle = (low + high) / 2
            if starts[middle] <= offset { low = middle + 1 } else { high = middle }
        }
        return max(0, low - 1)
    }
}
