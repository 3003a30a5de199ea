internal import Checkpoints
internal import Glibc
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
    /// The bytes of memory that pieces of tensors may take.
    public var memory: Int
    /// The digests to take.
    public var digests: DigestChoice
    /// Whether to go on with what an interrupted run of the same plan left.
    public var resuming = true
    /// The least time and the fewest bytes between two records of a file's progress; nil for the engine's own.
    var recordSpacing: (Duration, UInt64)?
    /// Called once, before bytes move, with the bytes of work that there are: those written and, where the source
    /// is digested or checked, those of the source; and how many of them an interrupted run has done.
    public var willWork: @Sendable (_ byteCount: UInt64, _ done: UInt64) -> Void = { _, _ in }
    /// Called from any thread with bytes of work that are done.
    public var progress: @Sendable (Int) -> Void
    /// Asked often; true ends the export.
    public var isCancelled: @Sendable () -> Bool

    /// Makes an exporter.
    public init(
        tool: (name: String, version: String), jobs: Int = Workers.processorCount,
        memory: Int = DigestEngine.defaultMemory, digests: DigestChoice = .all,
        progress: @escaping @Sendable (Int) -> Void = { _ in },
        isCancelled: @escaping @Sendable () -> Bool = { false }
    ) {
        self.tool = tool
        self.jobs = jobs
        self.memory = memory
        self.digests = digests
        self.progress = progress
        self.isCancelled = isCancelled
    }

    /// What an export made.
    public struct Result: Sendable {
        /// The receipt, as written beside the weights.
        public let manifest: Manifest
        /// Where a directory that stood at the destination was moved to, if it was kept.
        public let replaced: String?
        /// The bytes of work that an interrupted run had done.
        public let resumedByteCount: UInt64
    }

    /// Writes the plan's files to `destination`.
    ///
    /// Whatever happens, the destination is what it was or complete. Where an earlier run of the same plan was
    /// interrupted, this one goes on with what that one wrote. Memory is bounded by ``memory``, not by the size
    /// of the model.
    public func export(
        _ plan: ExportPlan, to destination: String, replacing: Bool
    ) throws(ConversionError) -> Result {
        let digest = runDigest(of: plan)
        let staging = try Staging(
            destination: destination, replacing: replacing, sources: plan.inputs.map(\.name),
            resuming: resuming ? digest : nil)
        var journal: Journal?
        do throws(ConversionError) {
            var lanes = try inputOutput { () throws(IOError) in try makeLanes(for: plan, in: staging) }
            if let earlier = staging.resumption {
                let sinks = lanes.lanes.map(\.sink)
                lanes.resume(earlier) { (sinks[$0] as? OutputFile)?.existingByteCount }
            }
            let resumed = lanes.resumedByteCount
            try checkRoom(for: plan, less: lanes.writtenByteCount, at: staging.path)
            journal = try inputOutput { () throws(IOError) in
                try staging.openJournal(plan: digest, lanes: lanes.resumptions)
            }
            willWork(lanes.workByteCount + resumed, resumed)
            let manifest = try run(plan, lanes, journal: journal)
            try inputOutput { () throws(IOError) in
                let path = Path.join(staging.path, Manifest.fileName)
                try FileSystem.removeTree(path)
                let contents = manifest.encoded()
                try FileSystem.create(path, contents: contents)
                counters?.didWrite(contents.count)
            }
            let replaced = try staging.commit {
                EarlierExport.isUntouched(at: staging.destination, jobs: jobs, isCancelled: isCancelled)
            }
            return Result(manifest: manifest, replaced: replaced, resumedByteCount: resumed)
        } catch {
            let kept = journal?.recordedByteCount ?? staging.resumption?.recordedByteCount ?? 0
            if kept > 0, staging.isResumable, case .io(let cause) = error, cause.isWorthAnotherTry {
                throw .stopped(cause, kept: staging.shell, byteCount: kept)
            }
            // Whatever is in the sibling at any time is ours.
            staging.discard()
            throw error
        }
    }

    /// Writes the plan's files to places that `sink` makes, the manifest last, each from its start to its end.
    ///
    /// Nothing is kept to go on with, and what is written when an error is thrown is the caller's to remove.
    public func stream(
        _ plan: ExportPlan, to sink: (_ path: String, _ byteCount: UInt64) throws(IOError) -> any ByteSink
    ) throws(ConversionError) -> Manifest {
        let lanes = try inputOutput { () throws(IOError) in
            try ExportLanes(plan, digests: digests, sink: sink)
        }
        willWork(lanes.workByteCount, 0)
        let manifest = try run(plan, lanes, journal: nil)
        try inputOutput { () throws(IOError) in
            let contents = manifest.encoded()
            let place = try sink(Manifest.fileName, UInt64(contents.count))
            try place.write(contents.span.bytesView, at: 0)
            try place.synchronize()
        }
        return manifest
    }

    /// Throws where the plan cannot be carried out because of what stands at `destination`.
    public static func check(
        _ plan: ExportPlan, destination: String, replacing: Bool
    ) throws(ConversionError) {
        try Staging.check(destination, replacing: replacing, sources: plan.inputs.map(\.name))
    }

    /// Identifies what a run can go on with: the plan, the very files that are read, unchanged in any way, the
    /// digests that are taken, and the version that converts.
    private func runDigest(of plan: ExportPlan) -> SHA256Digest {
        var text = "\(tool.name) \(tool.version) \(plan.digest.hex) \(digests.rawValue)"
        for input in plan.inputs { text += " " + input.identity.text }
        return SHA256Digest.of(Array(text.utf8).span.bytesView)
    }

    private func makeLanes(for plan: ExportPlan, in staging: Staging) throws(IOError) -> ExportLanes {
        if staging.resumption != nil {
            try staging.removeContent(but: Set(plan.outputs.map { ByteKey($0.path) }))
        }
        return try ExportLanes(plan, digests: digests) { (name, byteCount) throws(IOError) in
            let path = Path.join(staging.path, name)
            guard staging.resumption != nil else { return try OutputFile(creating: path) }
            let file = try OutputFile(resuming: path)
            if let there = file.existingByteCount, there > byteCount { try file.truncate(to: byteCount) }
            return file
        }
    }

    private func checkRoom(
        for plan: ExportPlan, less done: UInt64, at path: String
    ) throws(ConversionError) {
        let needed = plan.byteCount - min(done, plan.byteCount)
        guard let free = FileSystem.availableByteCount(at: path), free < needed else { return }
        throw .io(
            IOError(
                .system, path: path, operation: "write to", errno: ENOSPC,
                detail: "\(ByteSize.describe(needed)) are needed and \(ByteSize.describe(free)) are free"))
    }

    private func run(
        _ plan: ExportPlan, _ lanes: ExportLanes, journal: Journal?
    ) throws(ConversionError) -> Manifest {
        var engine = DigestEngine(
            jobs: jobs, memory: memory, stopsAtFirstError: true, progress: progress, isCancelled: isCancelled)
        engine.counters = counters
        if let recordSpacing { (engine.recordInterval, engine.recordByteCount) = recordSpacing }
        if let journal {
            engine.record = { (lane, progress) throws(IOError) in
                try journal.record(lane: lane, progress)
            }
        }
        let outcomes = engine.run(lanes.lanes)
        if let error = outcomes.firstError { throw ConversionError(error) }
        let manifest = try lanes.manifest(tool: tool, outcomes)
        for input in plan.inputs { try inputOutput { () throws(IOError) in try input.checkUnchanged() } }
        return manifest
    }
}

extension IOError {
    /// What was written before is fine, and the next run may get further.
    fileprivate var isWorthAnotherTry: Bool {
        switch code {
        case .system, .cancelled, .transient: true
        case .notRegularFile, .unexpectedEnd, .damaged, .changedWhileReading, .unreadable: false
        }
    }
}

extension ExportPlan {
    /// The files that are read.
    var inputs: [InputFile] {
        checkpoint.files.compactMap(\.input) + sideFiles.compactMap { $0.source as? InputFile } + descriptions
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
            files.append(
                File(
                    path: output.path, role: output.role, byteCount: output.byteCount,
                    sha256: output.outcome.sha256))
            guard number < plan.shards.count else { continue }
            for (item, digest) in zip(plan.shards[number].tensors, output.outcome.segments) {
                tensors.append((item.order, Tensor(item, file: output.path, sha256: digest.sha256)))
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
}

extension Manifest.Tensor {
    init(_ item: ExportPlan.Item, file: String, sha256: SHA256Digest?) {
        self.init(
            name: item.tensor.name, dtype: item.tensor.dtype,
            sourceDType: item.sourceDType == item.tensor.dtype ? nil : item.sourceDType,
            encoding: item.encoding, shape: item.tensor.shape, file: file, offset: item.offset,
            byteCount: item.tensor.byteCount, sha256: sha256)
    }
}
