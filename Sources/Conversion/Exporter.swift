internal import Checkpoints
public import Integrity
internal import StrictJSON
public import TensorCore

/// Runs a plan: reads, converts, digests and writes every byte once, then puts the result in its place.
public struct Exporter: Sendable {
    /// The program's name and version, for the manifest.
    public var tool: (name: String, version: String)
    /// Where what is done is counted, if anywhere.
    public var counters: WorkCounters?
    /// The number of threads.
    public var jobs: Int
    /// Called from any thread with bytes of work that are done, out of ``workByteCount(of:)``.
    public var progress: @Sendable (Int) -> Void
    /// Asked often; true ends the export and removes what was begun.
    public var isCancelled: @Sendable () -> Bool

    /// Makes an exporter.
    public init(
        tool: (name: String, version: String), jobs: Int = Workers.processorCount,
        progress: @escaping @Sendable (Int) -> Void = { _ in },
        isCancelled: @escaping @Sendable () -> Bool = { false }
    ) {
        self.tool = tool
        self.jobs = jobs
        self.progress = progress
        self.isCancelled = isCancelled
    }

    /// What an export made.
    public struct Result: Sendable {
        /// The receipt, as written beside the weights.
        public let manifest: Manifest
        /// Where a directory that stood at the destination was moved to, if it was kept.
        public let replaced: String?
    }

    /// The bytes that pass through an export: those written and, for their digests, those of the source files.
    public static func workByteCount(of plan: ExportPlan) -> UInt64 {
        plan.byteCount + plan.checkpoint.files.reduce(0) { $0 + $1.source.byteCount }
    }

    /// Writes the plan's files to `destination`.
    ///
    /// Whatever happens, the destination is what it was or complete. Memory is bounded by the pieces in flight,
    /// not by the size of the model.
    public func export(
        _ plan: ExportPlan, to destination: String, replacing: Bool
    ) throws(ConversionError) -> Result {
        let staging = try Staging(
            destination: destination, replacing: replacing, sources: plan.inputs.map(\.name))
        do {
            try checkRoom(for: plan, at: staging.path)
            let manifest = try write(plan, into: staging.path)
            let replaced = try staging.commit {
                EarlierExport.isUntouched(at: staging.destination, jobs: jobs, isCancelled: isCancelled)
            }
            return Result(manifest: manifest, replaced: replaced)
        } catch {
            // Whatever is in the sibling at any time is ours.
            staging.discard()
            throw error
        }
    }

    /// Throws where the plan cannot be carried out because of what stands at `destination`.
    public static func check(
        _ plan: ExportPlan, destination: String, replacing: Bool
    ) throws(ConversionError) {
        try Staging.check(destination, replacing: replacing, sources: plan.inputs.map(\.name))
    }

    private func checkRoom(for plan: ExportPlan, at path: String) throws(ConversionError) {
        guard let free = FileSystem.availableByteCount(at: path), free < plan.byteCount else { return }
        throw .io(
            IOError(
                .unreadable, path: path, operation: "write to",
                detail:
                    "\(ByteSize.describe(plan.byteCount)) are needed and \(ByteSize.describe(free)) are free")
        )
    }

    private func write(_ plan: ExportPlan, into directory: String) throws(ConversionError) -> Manifest {
        // Source files and outputs take turns, so that what is read for one is still in memory for the other.
        let sources = plan.checkpoint.files
        var outputs: [(path: String, role: String, lane: DigestLane)] = []
        for shard in plan.shards {
            outputs.append((shard.fileName, "weights", try lane(for: shard, in: directory)))
        }
        if let index = plan.index {
            let source = MemorySource(name: index.name, contents: index.contents)
            outputs.append((index.name, "index", try lane(source, index.name, in: directory)))
        }
        for item in plan.sideFiles {
            outputs.append(
                (
                    item.file.name, item.file.role.rawValue,
                    try lane(item.source, item.file.name, in: directory)
                ))
        }
        var lanes: [DigestLane] = []
        var sourceSlots: [Int] = []
        var outputSlots: [Int] = []
        for turn in 0..<max(sources.count, outputs.count) {
            if turn < sources.count {
                sourceSlots.append(lanes.count)
                lanes.append(
                    DigestLane(
                        source: sources[turn].source,
                        segments: sources[turn].checksums.map { .init($0.range, .crc32) }))
            }
            if turn < outputs.count {
                outputSlots.append(lanes.count)
                lanes.append(outputs[turn].lane)
            }
        }
        var engine = DigestEngine(
            jobs: jobs, stopsAtFirstError: true, progress: progress, isCancelled: isCancelled)
        engine.counters = counters
        let outcomes = engine.run(lanes)
        if let error = outcomes.firstError { throw .io(error) }
        let sourceFiles = try checkSources(plan, sourceSlots.map { outcomes[$0] })
        let manifest = Manifest(
            plan: plan, tool: tool, sourceFiles: sourceFiles,
            outputs: zip(outputs, outputSlots).map { output, slot in
                (output.path, output.role, output.lane.source.byteCount, outcomes[slot])
            })
        try inputOutput { () throws(IOError) in
            let contents = manifest.encoded()
            try FileSystem.create(Path.join(directory, Manifest.fileName), contents: contents)
            counters?.didWrite(contents.count)
        }
        return manifest
    }

    private func lane(for shard: ExportPlan.Shard, in directory: String) throws(ConversionError) -> DigestLane
    {
        let content = ShardContent(
            name: shard.fileName, header: shard.header,
            tensors: shard.tensors.map { ($0.offset, $0.tensor.source) })
        let segments = shard.tensors.map {
            DigestLane.Segment($0.offset..<$0.offset + $0.tensor.byteCount, .sha256)
        }
        return try lane(content, shard.fileName, segments: segments, in: directory)
    }

    private func lane(
        _ source: any ByteSource, _ name: String, segments: [DigestLane.Segment] = [], in directory: String
    ) throws(ConversionError) -> DigestLane {
        let sink = try inputOutput { () throws(IOError) in
            try OutputFile(creating: Path.join(directory, name))
        }
        return DigestLane(source: source, segments: segments, sink: sink)
    }

    /// The source files' digests, after a look that they are what their own checksums say and did not change.
    private func checkSources(
        _ plan: ExportPlan, _ outcomes: [DigestLane.Outcome]
    ) throws(ConversionError) -> [Manifest.File] {
        var result: [Manifest.File] = []
        for (file, outcome) in zip(plan.checkpoint.files, outcomes) {
            if let error = SourceCheck.mismatches(file, outcome, tensors: plan.checkpoint.tensors).first {
                throw .source(error)
            }
            guard let digest = outcome.sha256 else { continue }
            result.append(
                Manifest.File(
                    path: file.path, role: file.path.hasSuffix(".index.json") ? "index" : "weights",
                    byteCount: file.source.byteCount, sha256: digest))
        }
        for input in plan.inputs { try inputOutput { () throws(IOError) in try input.checkUnchanged() } }
        return result
    }
}

extension ExportPlan {
    /// The files that are read.
    var inputs: [InputFile] {
        checkpoint.files.compactMap(\.input) + sideFiles.compactMap { $0.source as? InputFile }
    }
}

extension Array where Element == DigestLane.Outcome {
    /// The failure to report: a real one before a cancellation.
    var firstError: IOError? {
        let errors = compactMap(\.error)
        return errors.first { $0.code != .cancelled } ?? errors.first
    }
}

extension Manifest {
    /// The receipt of a plan that was carried out.
    init(
        plan: ExportPlan, tool: (name: String, version: String), sourceFiles: [File],
        outputs: [(path: String, role: String, byteCount: UInt64, outcome: DigestLane.Outcome)]
    ) {
        var files: [File] = []
        var tensors: [(order: Int, tensor: Tensor)] = []
        for (number, output) in outputs.enumerated() {
            guard let digest = output.outcome.sha256 else { continue }
            files.append(
                File(path: output.path, role: output.role, byteCount: output.byteCount, sha256: digest))
            guard number < plan.shards.count else { continue }
            for (item, digest) in zip(plan.shards[number].tensors, output.outcome.segments) {
                guard case .sha256(let digest) = digest else { continue }
                tensors.append((item.order, Tensor(item, file: output.path, sha256: digest)))
            }
        }
        self.init(
            tool: tool.name, toolVersion: tool.version,
            source: Source(
                format: plan.checkpoint.format, root: plan.checkpoint.root, files: sourceFiles),
            transforms: Self.transforms(of: plan),
            files: files.sorted { $0.path.utf8.lexicographicallyPrecedes($1.path.utf8) },
            tensors: tensors.sorted { $0.order < $1.order }.map(\.tensor),
            ties: plan.ties.map { Tie(name: $0.dropped, kept: $0.kept) },
            skipped: plan.skipped.map { Skipped(name: $0.name, reason: $0.reason) })
    }

    private static func transforms(of plan: ExportPlan) -> [Transform] {
        var result: [Transform] = []
        if !plan.untied.isEmpty {
            result.append(
                Transform(
                    kind: "untie",
                    parameters: [.init("tensors", .array(plan.untied.map { .string($0.string) }))]))
        }
        if let dtype = plan.dtype {
            result.append(
                Transform(
                    kind: "cast",
                    parameters: [
                        .init("dtype", .string(dtype.name)), .init("rounding", .string("nearest-even")),
                        .init("tensors", .integer(plan.castCount)),
                    ]))
        }
        for item in plan.sideFiles where item.isEdited {
            result.append(
                Transform(
                    kind: "edit",
                    parameters: [
                        .init("file", .string(item.file.name)),
                        .init("keys", .array([.string("dtype"), .string("torch_dtype")])),
                    ]))
        }
        return result
    }
}

extension Manifest.Tensor {
    init(_ item: ExportPlan.Item, file: String, sha256: SHA256Digest) {
        self.init(
            name: item.tensor.name, dtype: item.tensor.dtype,
            sourceDType: item.sourceDType == item.tensor.dtype ? nil : item.sourceDType,
            shape: item.tensor.shape, file: file, offset: item.offset, byteCount: item.tensor.byteCount,
            sha256: sha256)
    }
}
