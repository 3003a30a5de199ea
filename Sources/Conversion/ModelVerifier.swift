internal import CheckpointFormats
internal import Checkpoints
public import Integrity
public import SafeTensors
public import TensorCore

/// Verifies whatever stands at a path: a model directory, one of its files, or a checkpoint of another format.
public struct ModelVerifier: Sendable {
    private var directoryVerifier: DirectoryVerifier

    /// Where what is done is counted, if anywhere.
    public var counters: WorkCounters? {
        get { directoryVerifier.counters }
        set { directoryVerifier.counters = newValue }
    }

    /// Makes a verifier; the parameters are those of ``DirectoryVerifier``.
    public init(
        jobs: Int = Workers.processorCount, validation: ValidationMode = .strict, structureOnly: Bool = false,
        willRead: @escaping @Sendable (UInt64) -> Void = { _ in },
        progress: @escaping @Sendable (Int) -> Void = { _ in },
        isCancelled: @escaping @Sendable () -> Bool = { false }
    ) {
        directoryVerifier = DirectoryVerifier(
            jobs: jobs, validation: validation, structureOnly: structureOnly, willRead: willRead,
            progress: progress, isCancelled: isCancelled)
    }

    /// Verifies the model at `path`.
    public func verify(path: String) throws(ConversionError) -> VerificationReport {
        let kind = try inputOutput { () throws(IOError) in try FileSystem.kind(of: path) }
        switch kind {
        case nil: throw .io(IOError(.system, path: path, operation: "open", errno: 2))
        case .directory:
            let hasManifest = try inputOutput { () throws(IOError) in
                try FileSystem.kind(of: Path.join(path, Manifest.fileName), followingLinks: false) != nil
            }
            let isSafeTensors = try holdsSafeTensors(path)
            if hasManifest || isSafeTensors {
                return try inputOutput { () throws(IOError) in try directoryVerifier.verify(directory: path) }
            }
            return try verifyCheckpoint(path)
        default:
            let directory = Path.parent(of: path)
            let name = Path.name(of: path)
            let isListed = Self.manifest(in: directory)?.files.contains {
                $0.path.utf8.elementsEqual(name.utf8)
            }
            guard path.hasSuffix(".safetensors") || isListed == true else {
                return try verifyCheckpoint(path)
            }
            return try inputOutput { () throws(IOError) in
                try directoryVerifier.verify(directory: directory, only: name)
            }
        }
    }

    private static func manifest(in directory: String) -> Manifest? {
        (try? FileSystem.contents(of: Path.join(directory, Manifest.fileName), limit: 1 << 30))
            .flatMap { try? Manifest(decoding: $0) }
    }

    private func holdsSafeTensors(_ path: String) throws(ConversionError) -> Bool {
        try inputOutput { () throws(IOError) in try FileSystem.names(in: path) }
            .contains { $0.hasSuffix(".safetensors") || $0.hasSuffix(".safetensors.index.json") }
    }

    /// Checks a checkpoint by what its own format offers: its structure, and the CRC-32 of its parts.
    private func verifyCheckpoint(_ path: String) throws(ConversionError) -> VerificationReport {
        var report = VerificationReport(path: path, record: nil)
        let checkpoint: Checkpoint
        do {
            checkpoint = try FormatRegistry.open(
                path: path, options: ReadOptions(validation: directoryVerifier.validation)
            ).checkpoint
        } catch  where error.class == .malformed || error.class == .unsafe {
            report.findings.append(
                .init(
                    .error, error.code, error.message, file: Path.name(of: error.file), tensor: error.tensor,
                    offset: error.offset))
            return report
        } catch {
            throw .source(error)
        }
        report.fileCount = checkpoint.files.count
        report.tensorCount = checkpoint.tensors.count
        for warning in checkpoint.warnings {
            report.findings.append(
                .init(.warning, warning.code, warning.message, file: warning.file, tensor: warning.tensor))
        }
        if !directoryVerifier.structureOnly { checkSums(of: checkpoint, &report) }
        return report
    }

    private func checkSums(of checkpoint: Checkpoint, _ report: inout VerificationReport) {
        let files = checkpoint.files.flatMap { [$0] + $0.members }
        let lanes = files.map { file in
            DigestLane(
                source: file.source, segments: file.checksums.map { .init($0.range, .crc32) },
                digestsWhole: false)
        }
        let total = files.reduce(UInt64(0)) { $0 + $1.source.byteCount }
        directoryVerifier.willRead(total)
        var engine = DigestEngine(
            jobs: directoryVerifier.jobs, stopsAtFirstError: false, progress: directoryVerifier.progress,
            isCancelled: directoryVerifier.isCancelled)
        engine.counters = counters
        for (file, outcome) in zip(files, engine.run(lanes)) {
            if let error = outcome.error, error.code == .damaged {
                report.findings.append(
                    .init(.error, CheckpointError(error).code, error.description, file: file.path))
                continue
            }
            if let error = outcome.error {
                report.findings.append(
                    .init(.unreadable, "file-unreadable", error.description, file: file.path))
                continue
            }
            report.byteCount += file.source.byteCount
            for error in SourceCheck.mismatches(
                file, outcome.segments.map(\.crc32), tensors: checkpoint.tensors)
            {
                report.findings.append(
                    .init(
                        .error, error.code, "\(error.member ?? ""): \(error.message)", file: file.path,
                        tensor: error.tensor, offset: error.offset))
            }
        }
        let covered = checkpoint.tensors.allSatisfy { tensor in
            tensor.source.extents.allSatisfy { extent in
                files.contains { file in
                    file.source.name == extent.source.name
                        && file.checksums.contains { $0.range.contains(extent.offset) }
                }
            }
        }
        if covered {
            report.record = "the checkpoint's own CRC-32"
        } else {
            report.findings.append(
                .init(
                    .undecided, "no-record",
                    "the checkpoint states no checksum for some tensors, so their bytes have nothing to be "
                        + "compared with"))
        }
    }
}
