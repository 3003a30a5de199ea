public import SafeTensors
public import TensorCore

/// Checks a directory of SafeTensors files: files, index, headers and manifest against each other, both ways, and
/// every byte against the manifest's digests.
public struct DirectoryVerifier: Sendable {
    /// Where what is done is counted, if anywhere.
    public var counters: WorkCounters?
    /// The number of threads.
    public var jobs: Int
    /// How strictly headers are judged.
    public var validation: ValidationMode
    /// Whether only the structure is checked: files, index and headers, no contents.
    public var structureOnly: Bool
    /// Called once, with the bytes that will be read.
    public var willRead: @Sendable (UInt64) -> Void
    /// Called from any thread with bytes that have been read.
    public var progress: @Sendable (Int) -> Void
    /// Asked often; true ends the verification.
    public var isCancelled: @Sendable () -> Bool

    /// Makes a verifier.
    public init(
        jobs: Int = Workers.processorCount, validation: ValidationMode = .strict, structureOnly: Bool = false,
        willRead: @escaping @Sendable (UInt64) -> Void = { _ in },
        progress: @escaping @Sendable (Int) -> Void = { _ in },
        isCancelled: @escaping @Sendable () -> Bool = { false }
    ) {
        self.jobs = jobs
        self.validation = validation
        self.structureOnly = structureOnly
        self.willRead = willRead
        self.progress = progress
        self.isCancelled = isCancelled
    }

    /// Verifies the directory at `path`, or one file of it.
    ///
    /// - Parameter only: the name of the one file to look at; nil for the whole directory.
    /// - Throws: only where the directory itself cannot be listed.
    public func verify(directory path: String, only: String? = nil) throws(IOError) -> VerificationReport {
        var report = VerificationReport(path: only.map { Path.join(path, $0) } ?? path, record: nil)
        let manifest = readManifest(in: path, &report)
        report.record = manifest == nil ? nil : Manifest.fileName
        var listing = try DirectoryListing(path: path)
        if let only { listing.keep(only: only) }
        var files: [InputFile?] = []
        let expected = (manifest?.files ?? []).filter { only == nil || $0.path == only }
        for file in expected { files.append(open(file, listing, in: path, &report)) }
        if let manifest, only == nil || !expected.isEmpty {
            reportExtras(listing, manifest: manifest, &report)
        } else if !structureOnly, report.findings.isEmpty {
            report.findings.append(
                .init(
                    .undecided, "no-record",
                    "there is no \(Manifest.fileName)\(only == nil ? "" : " that lists it"), so contents have "
                        + "nothing to be compared with; check the structure alone with --structure"))
        }
        var structure = StructureCheck(
            directory: path, manifest: expected.isEmpty ? nil : manifest, only: only, validation: validation)
        try structure.run(&report)
        report.fileCount = max(expected.count, structure.fileCount)
        report.tensorCount = structure.tensorCount
        if !structureOnly, let manifest { digest(expected, files, manifest, &report) }
        return report
    }

    private func readManifest(in path: String, _ report: inout VerificationReport) -> Manifest? {
        let file = Path.join(path, Manifest.fileName)
        do {
            guard try FileSystem.kind(of: file, followingLinks: false) != nil else { return nil }
            return try Manifest(decoding: try FileSystem.contents(of: file, limit: 1 << 30))
        } catch let error as IOError {
            report.findings.append(
                .init(.unreadable, "manifest-unreadable", error.description, file: Manifest.fileName))
        } catch {
            report.findings.append(
                .init(
                    .error, "manifest-invalid", "the manifest cannot be trusted: \(error)",
                    file: Manifest.fileName))
        }
        return nil
    }

    /// Opens a file that the manifest lists, reporting one that is missing or has another size.
    private func open(
        _ file: Manifest.File, _ listing: DirectoryListing, in path: String,
        _ report: inout VerificationReport
    ) -> InputFile? {
        guard listing.contains(file.path) else {
            report.findings.append(
                .init(.error, "file-missing", "the manifest lists it, but it is not there", file: file.path))
            return nil
        }
        do {
            let input = try InputFile(path: Path.join(path, file.path))
            if input.byteCount == file.byteCount { return input }
            let isShort = input.byteCount < file.byteCount
            report.findings.append(
                .init(
                    .error, isShort ? "file-truncated" : "file-longer",
                    "it has \(input.byteCount) bytes, the manifest says \(file.byteCount)", file: file.path,
                    offset: min(input.byteCount, file.byteCount)))
        } catch  where error.code == .notRegularFile {
            report.findings.append(
                .init(.error, "not-a-regular-file", "it is not a regular file", file: file.path))
        } catch {
            report.findings.append(
                .init(.unreadable, "file-unreadable", error.description, file: file.path))
        }
        return nil
    }

    private func reportExtras(
        _ listing: DirectoryListing, manifest: Manifest, _ report: inout VerificationReport
    ) {
        let listed = Set(manifest.files.map { ByteKey($0.path) })
        for name in listing.names where name != Manifest.fileName && !listed.contains(ByteKey(name)) {
            report.findings.append(
                .init(.error, "file-extra", "it is there, but the manifest does not list it", file: name))
        }
    }

    /// Digests the files that are there with the right size and compares with the manifest.
    private func digest(
        _ expected: [Manifest.File], _ files: [InputFile?], _ manifest: Manifest,
        _ report: inout VerificationReport
    ) {
        let tensors = Dictionary(grouping: manifest.tensors) { ByteKey($0.file) }
        var work: [(file: Manifest.File, tensors: [Manifest.Tensor], lane: DigestLane)] = []
        for (file, input) in zip(expected, files) {
            guard let input else { continue }
            let inside = Self.disjoint(tensors[ByteKey(file.path)] ?? [], fileByteCount: file.byteCount)
            let segments = inside.map { DigestLane.Segment($0.offset..<$0.offset + $0.byteCount, .sha256) }
            let lane = DigestLane(source: input, segments: segments, digestsWhole: file.sha256 != nil)
            work.append((file, inside, lane))
        }
        work.sort { $0.file.byteCount > $1.file.byteCount }
        let total = work.reduce(UInt64(0)) { $0 + $1.file.byteCount }
        willRead(total)
        var engine = DigestEngine(
            jobs: jobs, stopsAtFirstError: false, progress: progress, isCancelled: isCancelled)
        engine.counters = counters
        let outcomes = engine.run(work.map(\.lane))
        for (item, outcome) in zip(work, outcomes) {
            judge(item.file, item.tensors, item.lane.source as? InputFile, outcome, &report)
        }
        // Files of other formats have no structure that is looked at, but tensors all the same.
        report.tensorCount = max(report.tensorCount, work.reduce(0) { $0 + $1.tensors.count })
        report.byteCount = zip(work, outcomes).reduce(0) {
            $0 + ($1.1.error == nil ? $1.0.file.byteCount : 0)
        }
    }

    /// The tensors in file order; ranges that overlap or leave the file are left to the structure check.
    private static func disjoint(_ tensors: [Manifest.Tensor], fileByteCount: UInt64) -> [Manifest.Tensor] {
        var end: UInt64 = 0
        return tensors.sorted { ($0.offset, $0.byteCount) < ($1.offset, $1.byteCount) }.filter { tensor in
            let (upper, overflow) = tensor.offset.addingReportingOverflow(tensor.byteCount)
            guard !overflow, upper <= fileByteCount, tensor.offset >= end else { return false }
            end = upper
            return true
        }
    }

    private func judge(
        _ file: Manifest.File, _ tensors: [Manifest.Tensor], _ input: InputFile?,
        _ outcome: DigestLane.Outcome, _ report: inout VerificationReport
    ) {
        if let error = outcome.error {
            let severity: VerificationReport.Finding.Severity =
                error.code == .unexpectedEnd ? .error : .unreadable
            report.findings.append(
                .init(severity, "file-unreadable", error.description, file: file.path, offset: error.offset))
            return
        }
        if let input, (try? input.checkUnchanged()) == nil {
            report.findings.append(
                .init(
                    .unreadable, "file-changed", "it was changed while it was being read", file: file.path))
            return
        }
        guard file.sha256 != nil || !tensors.isEmpty && tensors.allSatisfy({ $0.sha256 != nil }) else {
            report.findings.append(
                .init(
                    .undecided, "no-digest",
                    "the manifest has no SHA-256 of it, so its bytes have nothing to "
                        + "be compared with", file: file.path))
            return
        }
        let isAltered = file.sha256 == nil || outcome.sha256 != file.sha256
        var isExplained = false
        for (tensor, digest) in zip(tensors, outcome.segments)
        where tensor.sha256 != nil && digest.sha256 != tensor.sha256 {
            isExplained = true
            report.findings.append(
                .init(
                    .error, isAltered ? "tensor-altered" : "manifest-inconsistent",
                    isAltered
                        ? "its \(tensor.byteCount) bytes are not those that were exported"
                        : "the manifest's digest of it contradicts the manifest's digest of its file",
                    file: file.path, tensor: tensor.name, offset: tensor.offset))
        }
        guard let expected = file.sha256 else {
            if isExplained { return }
            report.findings.append(
                .init(
                    .undecided, "header-not-digested",
                    "every tensor is as exported, but the manifest has no SHA-256 of the file, so nothing "
                        + "vouches for what else is in its header", file: file.path))
            return
        }
        guard isAltered else { return }
        let place = isExplained ? "" : tensors.isEmpty ? "" : ", in the header: every tensor is as exported"
        report.findings.append(
            .init(
                .error, "file-altered",
                "its SHA-256 is \(outcome.sha256?.hex ?? "unknown"), the manifest says \(expected.hex)\(place)",
                file: file.path))
    }
}
