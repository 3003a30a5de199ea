internal import SafeTensors
internal import TensorCore

/// Compares headers, indexes and manifest of a directory with each other, both ways.
struct StructureCheck {
    private let directory: String
    private let manifest: Manifest?
    private let only: String?
    private let validation: ValidationMode
    /// SafeTensors files looked at.
    private(set) var fileCount = 0
    /// Tensors looked at.
    private(set) var tensorCount = 0

    init(directory: String, manifest: Manifest?, only: String?, validation: ValidationMode) {
        self.directory = directory
        self.manifest = manifest
        self.only = only
        self.validation = validation
    }

    mutating func run(_ report: inout VerificationReport) throws(IOError) {
        let audit = try ShardSetAudit(directory: directory, only: only, mode: validation)
        fileCount = audit.shards.count
        tensorCount = audit.shards.reduce(0) { $0 + ($1.header?.count ?? 0) }
        report.findings += audit.findings.map { VerificationReport.Finding($0) }
        for code in Set(audit.findings.map(\.code)) where audit.count(of: code) > ShardSetAudit.limit {
            report.findings.append(
                .init(
                    .warning, code.rawValue,
                    "\(audit.count(of: code) - ShardSetAudit.limit) more findings of this kind are not listed"
                ))
        }
        guard let manifest else { return }
        let recorded = Dictionary(grouping: manifest.tensors) { $0.file }
        for shard in audit.shards {
            let tensors = recorded[shard.name] ?? []
            if let header = shard.header {
                compare(header, with: tensors, file: shard.name, &report)
            } else {
                reportTruncated(shard.name, tensors, &report)
            }
        }
    }

    private func compare(
        _ header: SafeTensorsHeader, with recorded: [Manifest.Tensor], file: String,
        _ report: inout VerificationReport
    ) {
        var expected = Dictionary(recorded.map { ($0.name, $0) }) { first, _ in first }
        for tensor in header {
            compare(tensor, with: expected.removeValue(forKey: tensor.name), file: file, &report)
        }
        for tensor in recorded where expected[tensor.name] != nil {
            report.findings.append(
                .init(
                    .error, "tensor-missing", "the manifest lists it, but the header does not", file: file,
                    tensor: tensor.name))
        }
    }

    /// Names the tensors of a shortened file whose bytes are gone.
    private func reportTruncated(
        _ name: String, _ recorded: [Manifest.Tensor], _ report: inout VerificationReport
    ) {
        guard let file = try? InputFile(path: Path.join(directory, name)) else { return }
        for tensor in recorded where tensor.end > file.byteCount {
            report.findings.append(
                .init(
                    .error, "tensor-truncated",
                    "it ends at byte \(tensor.end), the file at \(file.byteCount)",
                    file: name, tensor: tensor.name, offset: tensor.offset))
        }
    }

    private func compare(
        _ tensor: TensorInfo, with recorded: Manifest.Tensor?, file: String,
        _ report: inout VerificationReport
    ) {
        guard let recorded else {
            report.findings.append(
                .init(
                    .error, "tensor-extra", "the header lists it, but the manifest does not", file: file,
                    tensor: tensor.name))
            return
        }
        var differences: [String] = []
        if tensor.dtype != recorded.dtype {
            differences.append("dtype \(tensor.dtype.name) instead of \(recorded.dtype.name)")
        }
        if tensor.shape != recorded.shape {
            differences.append("shape \(tensor.shape) instead of \(recorded.shape)")
        }
        let size = tensor.fileRange.upperBound - tensor.fileRange.lowerBound
        if tensor.fileRange.lowerBound != recorded.offset || size != recorded.byteCount {
            differences.append(
                "\(size) bytes at \(tensor.fileRange.lowerBound) instead of \(recorded.byteCount) at "
                    + "\(recorded.offset)")
        }
        guard !differences.isEmpty else { return }
        report.findings.append(
            .init(
                .error, "tensor-differs",
                "the header says \(differences.joined(separator: ", "))", file: file, tensor: tensor.name))
    }
}

extension VerificationReport.Finding {
    /// A finding of the audit; what could not be read has the same code as any other such file.
    fileprivate init(_ finding: ShardSetAudit.Finding) {
        let severity: Severity =
            switch finding.severity {
            case .error: .error
            case .unreadable: .unreadable
            case .warning: .warning
            }
        self.init(
            severity, finding.code == .shardUnreadable ? "file-unreadable" : finding.code.rawValue,
            finding.message, file: finding.file, tensor: finding.tensor, offset: finding.offset)
    }
}
