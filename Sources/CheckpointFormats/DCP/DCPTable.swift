internal import Checkpoints
internal import TensorCore

/// Builds the table of a distributed checkpoint's tensors, with the headers of their parts read and checked.
struct DCPTable {
    let reader: DCPSliceReader
    let options: ReadOptions
    /// What holds the files, for errors.
    let place: String
    /// The files that items lie in.
    let files: [(name: String, source: any ByteSource)]
    private(set) var tensors: [TensorRecord] = []
    private(set) var skipped: [SkippedItem] = []
    private(set) var warnings: [CheckpointWarning] = []
    private var checksums: [ByteKey: [RangeChecksum]] = [:]

    init(
        reader: DCPSliceReader, options: ReadOptions, place: String,
        files: [(name: String, source: any ByteSource)]
    ) {
        self.reader = reader
        self.options = options
        self.place = place
        self.files = files
    }

    private typealias Outcome = Result<DCPSliceReader.Part, CheckpointError>

    /// One part of one tensor.
    private struct Job: Sendable {
        var element: TorchElement
        var chunk: DCPMetadata.Chunk
        var name: [UInt8]
    }

    /// Adds tensors under names.
    mutating func add(_ items: [(item: DCPMetadata.Item, name: [UInt8])]) throws(CheckpointError) {
        var jobs: [Job] = []
        for (item, name) in items {
            guard case .tensor(let element, let shape, let chunks) = item.content else { continue }
            try check(shape, chunks, name)
            for chunk in chunks where !chunk.shape.contains(0) {
                jobs.append(Job(element: element, chunk: chunk, name: name))
            }
        }
        try checkReferences(jobs)
        let outcomes = resolve(jobs)
        var next = 0
        for (item, name) in items {
            guard case .tensor(let element, let shape, let chunks) = item.content else { continue }
            let used = chunks.filter { !$0.shape.contains(0) }
            let found = outcomes[next..<next + used.count]
            next += used.count
            do throws(CheckpointError) {
                // What follows the first failure may not have been looked at.
                var parts: [DCPSliceReader.Part] = []
                for outcome in found { if let outcome { parts.append(try outcome.get()) } }
                tensors.append(try record(used, parts, element, shape, name))
            } catch {
                guard options.skipsUnsupported, error.class == .unsupported else { throw error }
                skipped.append(SkippedItem(name: escaped(name), reason: error.message, tensorCount: 1))
            }
        }
        try checkTotal()
    }

    /// Reads the headers of all parts, on several threads where there are many.
    private func resolve(_ jobs: [Job]) -> [Outcome?] {
        let (reader, passesOver) = (reader, options.skipsUnsupported)
        let batch = 32
        let board = Monitor(Board(outcomes: Array(repeating: nil, count: jobs.count)))
        let count = min(Workers.processorCount, 8, (jobs.count + batch - 1) / batch)
        Workers.run(count: count) { _ in
            while true {
                let range = board.withLock { board in
                    let first = board.next
                    board.next = min(jobs.count, first + batch)
                    return first..<board.next
                }
                if range.isEmpty { return }
                let found = range.map { index -> Outcome in
                    let job = jobs[index]
                    do throws(CheckpointError) {
                        return .success(
                            try reader.part(
                                job.chunk.slice, element: job.element, shape: job.chunk.shape, of: job.name))
                    } catch { return .failure(error) }
                }
                board.withLock { board in
                    for (index, outcome) in zip(range, found) {
                        board.outcomes[index] = outcome
                        guard case .failure(let error) = outcome else { continue }
                        if !(passesOver && error.class == .unsupported) { board.next = jobs.count }
                    }
                }
            }
        }
        return board.withLock(\.outcomes)
    }

    private struct Board {
        var next = 0
        var outcomes: [Outcome?]
    }
}

extension DCPTable {
    /// Checks that parts lie in the tensor.
    private func check(
        _ shape: [UInt64], _ chunks: [DCPMetadata.Chunk], _ name: [UInt8]
    ) throws(CheckpointError) {
        for chunk in chunks {
            let isInside =
                chunk.start.count == shape.count
                && shape.indices.allSatisfy { axis in
                    let (end, overflow) = chunk.start[axis].addingReportingOverflow(chunk.shape[axis])
                    return !overflow && end <= shape[axis]
                }
            guard isInside else {
                throw CheckpointError(
                    .malformed, "chunk-outside",
                    "a part of shape \(chunk.shape) at \(chunk.start) does not lie within the shape \(shape)",
                    file: chunk.slice.file, tensor: TensorName(utf8: name))
            }
        }
    }

    private mutating func record(
        _ chunks: [DCPMetadata.Chunk], _ parts: [DCPSliceReader.Part], _ element: TorchElement,
        _ shape: [UInt64], _ name: [UInt8]
    ) throws(CheckpointError) -> TensorRecord {
        let tensor = TensorName(utf8: name)
        guard String(validating: name, as: UTF8.self) != nil else {
            throw CheckpointError(
                .malformed, "name-not-utf8", "the name of a tensor is not UTF-8", file: place, tensor: tensor)
        }
        guard let dtype = element.dtype else {
            throw CheckpointError.unrepresentable(element, file: place).naming(name)
        }
        for (chunk, part) in zip(chunks, parts) {
            checksums[ByteKey(chunk.slice.file), default: []] += part.checksums
            if part.lacksChecksum, warnings.isEmpty {
                warnings.append(
                    CheckpointWarning(
                        "crc-absent",
                        "the files state no CRC-32, so damage since they were written cannot be noticed",
                        file: chunk.slice.file))
            }
        }
        do throws(ChunkTiling.Failure) {
            let whole = try ChunkTiling.tensor(
                of: zip(chunks, parts).map { .init(start: $0.start, expression: $1.expression) },
                dtype: dtype == .f4 ? .u8 : dtype, shape: shape)
            guard dtype == .f4, let last = shape.indices.last else {
                return TensorRecord(name: tensor, whole)
            }
            // Two elements in a byte: PyTorch counts the bytes.
            var full = shape
            full[last] *= 2
            return TensorRecord(name: tensor, dtype: .f4, shape: full, source: whole.source)
        } catch {
            throw error.error(shape: shape, tensor: tensor, place: place)
        }
    }

    /// Each item is stored once, so that together they cannot be much longer than the files.
    private func checkReferences(_ jobs: [Job]) throws(CheckpointError) {
        let stored = storedByteCount
        var left = stored * 8 + (1 << 16)
        for job in jobs {
            // What lies beyond its file is refused when it is looked for; less than this is no archive.
            let byteCount = max(100, min(job.chunk.slice.byteCount, stored))
            guard byteCount <= left else {
                throw CheckpointError(
                    .malformed, "output-limit",
                    "the metadata refers to \(stored) stored bytes again and again", file: place,
                    tensor: TensorName(utf8: job.name))
            }
            left -= byteCount
        }
    }

    /// The bytes of all files, or what is more than enough for what is made of it.
    private var storedByteCount: UInt64 {
        files.reduce(UInt64(0)) { min($0, .max / 32) + min($1.source.byteCount, .max / 32) }
    }

    /// A part may be used again and again; what it then takes is bounded by what is stored.
    private func checkTotal() throws(CheckpointError) {
        let limit = storedByteCount * 8 + (1 << 30)
        var total: UInt64 = 0
        for tensor in tensors {
            let (sum, overflow) = total.addingReportingOverflow(tensor.byteCount)
            guard !overflow, sum <= limit else {
                throw CheckpointError(
                    .malformed, "output-limit",
                    "the metadata refers to \(storedByteCount) stored bytes so often that the tensors take more than "
                        + "\(limit)", file: place, tensor: tensor.name)
            }
            total = sum
        }
    }

    /// The files that items lie in, with the checksums of the tensors that are taken.
    func sourceFiles(prefix: String) -> [SourceFile] {
        files.map { file in
            var ranges = checksums[ByteKey(file.name)] ?? []
            ranges.sort { $0.range.lowerBound < $1.range.lowerBound }
            var kept: [RangeChecksum] = []
            for range in ranges where range.range.lowerBound >= kept.last?.range.upperBound ?? 0 {
                kept.append(range)
            }
            return SourceFile(path: prefix + file.name, source: file.source, checksums: kept)
        }
    }
}
