internal import Checkpoints
internal import Integrity
internal import TensorCore

/// A plan as lanes for the engine, and what comes of them as a manifest.
struct ExportLanes {
    private let plan: ExportPlan
    private let digests: DigestChoice
    /// Source files and outputs take turns, so that what is read for one is still in memory for the other.
    private(set) var lanes: [DigestLane] = []
    private var outputs: [Output] = []
    private var sources: [(file: SourceFile, lane: Int?)] = []
    /// Where the CRC-32 of a source's range comes from: the lane and the segment.
    private var checks: [CheckKey: (lane: Int, segment: Int)] = [:]

    private struct Output {
        let path: String
        let role: String
        let lane: Int
    }

    /// A range of a source file that has a checksum.
    private struct CheckKey: Hashable {
        let file: ByteKey
        let offset: UInt64
    }

    /// - Parameter sink: makes the place for a file of this name and size; called for each in order.
    init(
        _ plan: ExportPlan, digests: DigestChoice,
        sink: (_ path: String, _ byteCount: UInt64) throws(IOError) -> any ByteSink
    ) throws(IOError) {
        self.plan = plan
        self.digests = digests
        let contents = plan.outputs
        var expected = expectedChecksums()
        for content in contents {
            add(content, to: try sink(content.path, content.source.byteCount), &expected)
        }
        for file in plan.checkpoint.files { addSource(file, expected) }
        takeTurns(outputCount: contents.count)
    }

    /// The checksums of source files that can be taken on the way, while a tensor is copied.
    private func expectedChecksums() -> [CheckKey: RangeChecksum] {
        var result: [CheckKey: RangeChecksum] = [:]
        // Where the source is digested, its checksums come along there.
        guard !digests.isEmpty, !digests.contains(.source) else { return result }
        for file in plan.checkpoint.files {
            for checksum in file.checksums {
                result[CheckKey(file: ByteKey(file.source.name), offset: checksum.range.lowerBound)] =
                    checksum
            }
        }
        return result
    }

    private mutating func add(
        _ content: ExportPlan.Output, to sink: any ByteSink, _ expected: inout [CheckKey: RangeChecksum]
    ) {
        var segments: [DigestLane.Segment] = []
        let stated = Set(content.checksums.map(\.segment))
        for (number, item) in content.tensors.enumerated() {
            var algorithms: DigestLane.Algorithms = digests.contains(.tensors) ? .sha256 : []
            if stated.contains(number) { algorithms.insert(.crc32) }
            if let extent = item.tensor.source.extent {
                let key = CheckKey(file: ByteKey(extent.source.name), offset: extent.offset)
                if let checksum = expected[key], UInt64(checksum.range.count) == extent.byteCount {
                    expected[key] = nil
                    algorithms.insert(.crc32)
                    checks[key] = (lanes.count, segments.count)
                }
            }
            segments.append(
                .init(
                    item.offset..<item.offset + item.tensor.byteCount, algorithms,
                    pieceByteCount: item.tensor.source.preferredPieceByteCount))
        }
        let isWeights = !content.tensors.isEmpty
        let digestsWhole = isWeights ? digests.contains(.files) : !digests.isEmpty
        outputs.append(Output(path: content.path, role: content.role, lane: lanes.count))
        lanes.append(
            DigestLane(
                source: content.source, segments: segments, checksumFields: content.checksums, sink: sink,
                digestsWhole: digestsWhole))
    }

    /// Reads a source file for its digest, or the parts of it whose checksum is not taken on the way.
    private mutating func addSource(_ file: SourceFile, _ expected: [CheckKey: RangeChecksum]) {
        let name = ByteKey(file.source.name)
        let ranges =
            digests.contains(.source)
            ? file.checksums.map(\.range)
            : file.checksums.map(\.range).filter {
                expected[CheckKey(file: name, offset: $0.lowerBound)] != nil
            }
        guard digests.contains(.source) || !ranges.isEmpty else { return sources.append((file, nil)) }
        for (segment, range) in ranges.enumerated() {
            checks[CheckKey(file: name, offset: range.lowerBound)] = (lanes.count, segment)
        }
        sources.append((file, lanes.count))
        lanes.append(
            DigestLane(
                source: file.source, segments: ranges.map { .init($0, .crc32) },
                digestsWhole: digests.contains(.source)))
    }

    /// Puts source lanes and output lanes in turns.
    private mutating func takeTurns(outputCount: Int) {
        let sourceCount = lanes.count - outputCount
        var order: [Int] = []
        for turn in 0..<max(sourceCount, outputCount) {
            if turn < sourceCount { order.append(outputCount + turn) }
            if turn < outputCount { order.append(turn) }
        }
        var places = Array(repeating: 0, count: lanes.count)
        for (place, lane) in order.enumerated() { places[lane] = place }
        lanes = order.map { lanes[$0] }
        outputs = outputs.map { Output(path: $0.path, role: $0.role, lane: places[$0.lane]) }
        sources = sources.map { ($0.file, $0.lane.map { places[$0] }) }
        checks = checks.mapValues { (places[$0.lane], $0.segment) }
    }
}

// MARK: - Going on and closing

extension ExportLanes {
    /// Lets the lanes go on where an earlier run stopped.
    ///
    /// - Parameter byteCounts: what stands of each output, in lane order; nil for lanes without one.
    mutating func resume(_ contents: Journal.Contents, written byteCount: (Int) -> UInt64?) {
        for (number, progress) in contents.lanes where lanes.indices.contains(number) {
            let isThere = byteCount(number).map { $0 >= progress.position } ?? (lanes[number].sink == nil)
            guard isThere, progress.position <= lanes[number].source.byteCount,
                progress.finished.count <= lanes[number].segments.count
            else { continue }
            lanes[number].resumption = progress
        }
    }

    /// How far the lanes that go on have come, by number.
    var resumptions: [Int: LaneProgress] {
        var result: [Int: LaneProgress] = [:]
        for (number, lane) in lanes.enumerated() { result[number] = lane.resumption }
        return result
    }

    /// The bytes of work that there are to do.
    var workByteCount: UInt64 { lanes.reduce(0) { $0 + $1.workByteCount } }

    /// The bytes of work that an earlier run did.
    var resumedByteCount: UInt64 { lanes.reduce(0) { $0 + ($1.resumption?.position ?? 0) } }

    /// The bytes that an earlier run wrote.
    var writtenByteCount: UInt64 {
        lanes.reduce(0) { $0 + ($1.sink == nil ? 0 : $1.resumption?.position ?? 0) }
    }

    /// The manifest, after a look that the source is what its own checksums say.
    func manifest(
        tool: (name: String, version: String), _ outcomes: [DigestLane.Outcome]
    ) throws(ConversionError) -> Manifest {
        var sourceFiles: [Manifest.File] = []
        for (file, lane) in sources {
            let found = file.checksums.map { checksum -> UInt32? in
                checks[CheckKey(file: ByteKey(file.source.name), offset: checksum.range.lowerBound)].flatMap {
                    outcomes[$0.lane].segments[$0.segment].crc32
                }
            }
            if let error = SourceCheck.mismatches(file, found, tensors: plan.checkpoint.tensors).first {
                throw .source(error)
            }
            sourceFiles.append(
                Manifest.File(
                    path: file.path, role: Self.role(of: file.path),
                    byteCount: file.source.byteCount, sha256: lane.flatMap { outcomes[$0].sha256 }))
        }
        return Manifest(
            plan: plan, tool: tool, sourceFiles: sourceFiles,
            outputs: outputs.map { output in
                (output.path, output.role, lanes[output.lane].source.byteCount, outcomes[output.lane])
            })
    }
}

extension ExportLanes {
    private static func role(of path: String) -> String {
        path.hasSuffix(".index.json") ? "index" : path.hasSuffix("adapter_config.json") ? "config" : "weights"
    }
}

extension ExportPlan {
    /// A file to write, as bytes that do not exist yet.
    struct Output {
        let path: String
        let role: String
        let source: any ByteSource
        let tensors: [Item]
        var checksums: [DigestLane.ChecksumField] = []
    }

    /// The files to write but the manifest, weights first.
    var outputs: [Output] {
        var result = shards.map { shard in
            Output(
                path: shard.fileName, role: "weights",
                source: ShardContent(
                    name: shard.fileName, frames: shard.frames,
                    tensors: shard.tensors.map { ($0.offset, $0.tensor.source) }),
                tensors: shard.tensors, checksums: shard.checksums)
        }
        if let index {
            result.append(
                Output(
                    path: index.name, role: "index",
                    source: MemorySource(name: index.name, contents: index.contents), tensors: []))
        }
        for item in sideFiles {
            result.append(
                Output(path: item.file.name, role: item.file.role.rawValue, source: item.source, tensors: []))
        }
        return result
    }
}
