internal import SafeTensors
internal import TensorCore

/// Compares headers, index and manifest of a directory with each other, both ways.
struct StructureCheck {
    private let directory: String
    private let manifest: Manifest?
    private let only: String?
    private let validation: ValidationMode
    private let shardNames: [String]
    private let indexNames: [String]
    private let listing: DirectoryListing
    /// The file of each tensor, by the headers.
    private var locations: [TensorName: String] = [:]
    private var readable: Set<String> = []
    /// SafeTensors files looked at.
    private(set) var fileCount = 0
    /// Tensors looked at.
    private(set) var tensorCount = 0

    init(
        directory: String, listing: DirectoryListing, manifest: Manifest?, only: String?,
        validation: ValidationMode
    ) {
        self.directory = directory
        self.manifest = manifest
        self.only = only
        self.validation = validation
        self.listing = listing
        let top = listing.names.filter { !$0.utf8.contains(0x2F) }
        shardNames = top.filter { $0.hasSuffix(".safetensors") }
        indexNames = top.filter { $0.hasSuffix(".safetensors.index.json") }
    }

    mutating func run(_ report: inout VerificationReport) {
        let recorded = Dictionary(grouping: manifest?.tensors ?? []) { $0.file }
        for name in shardNames { checkHeader(of: name, recorded: recorded[name] ?? [], &report) }
        fileCount = shardNames.count
        for name in indexNames where only == nil { checkIndex(name, &report) }
    }

    private mutating func checkHeader(
        of name: String, recorded: [Manifest.Tensor], _ report: inout VerificationReport
    ) {
        let header: SafeTensorsHeader
        do {
            let file = try InputFile(path: Path.join(directory, name))
            header = try SafeTensorsHeader(reading: file, mode: validation)
        } catch let error as SafeTensorsError where error.code != .io {
            report.findings.append(
                .init(
                    .error, error.code.rawValue, error.message, file: name, tensor: error.tensor,
                    offset: error.offset))
            reportTruncated(name, recorded, &report)
            return
        } catch {
            report.findings.append(.init(.unreadable, "file-unreadable", "\(error)", file: name))
            return
        }
        readable.insert(name)
        for warning in header.warnings.kept {
            report.findings.append(
                .init(
                    .warning, warning.code.rawValue, warning.message, file: name, tensor: warning.tensor,
                    offset: warning.offset))
        }
        var expected = Dictionary(recorded.map { ($0.name, $0) }) { first, _ in first }
        for tensor in header {
            tensorCount += 1
            if let other = locations.updateValue(name, forKey: tensor.name) {
                report.findings.append(
                    .init(
                        .error, "duplicateAcrossShards", "it is in \(escapedForDisplay(other)) too",
                        file: name,
                        tensor: tensor.name))
            }
            guard manifest != nil else { continue }
            compare(tensor, with: expected.removeValue(forKey: tensor.name), file: name, &report)
        }
        for tensor in recorded where expected[tensor.name] != nil {
            report.findings.append(
                .init(
                    .error, "tensor-missing", "the manifest lists it, but the header does not", file: name,
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

    private func checkIndex(_ name: String, _ report: inout VerificationReport) {
        let index: ShardIndex
        do {
            let path = Path.join(directory, name)
            index = try ShardIndex(
                parsing: try FileSystem.contents(of: path, limit: ShardIndex.byteCountLimit))
        } catch let error as SafeTensorsError where error.code != .io {
            report.findings.append(
                .init(
                    .error, error.code.rawValue, error.message, file: name, tensor: error.tensor,
                    offset: error.offset))
            return
        } catch {
            report.findings.append(.init(.unreadable, "file-unreadable", "\(error)", file: name))
            return
        }
        let listed = Set(index.files.map { ByteKey($0) })
        for file in index.files where !listing.contains(file) {
            report.findings.append(
                .init(
                    .error, "shardMissing", "the index lists \(escapedForDisplay(file)), which is not there",
                    file: name))
        }
        var indexed: Set<TensorName> = []
        for entry in index.entries {
            indexed.insert(entry.tensor)
            guard readable.contains(entry.file), locations[entry.tensor] != entry.file else { continue }
            report.findings.append(
                .init(
                    .error, "tensorMissing",
                    "the index says that it is in \(escapedForDisplay(entry.file)), but it is "
                        + (locations[entry.tensor].map { "in \(escapedForDisplay($0))" } ?? "nowhere"),
                    file: name, tensor: entry.tensor))
        }
        for (tensor, file) in locations.sorted(by: { $0.key < $1.key })
        where listed.contains(ByteKey(file)) && !indexed.contains(tensor) {
            report.findings.append(
                .init(
                    .error, "tensorNotIndexed",
                    "it is in \(escapedForDisplay(file)), but the index does not list it", file: name,
                    tensor: tensor))
        }
        for file in shardNames where !listed.contains(ByteKey(file)) {
            report.findings.append(
                .init(.warning, "unreferencedShard", "the index does not list it", file: file))
        }
    }
}
