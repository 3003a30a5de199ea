internal import Archives
public import Checkpoints
internal import TensorCore

/// NVIDIA NeMo's `.nemo`: a tar archive, compressed or not, of a config, the weights and the tokenizer's files.
public struct NeMoFormat: FileFormat {
    /// Makes the format.
    public init() {}

    /// The identifier.
    public var name: String { "nemo" }
    /// One line for people.
    public var summary: String {
        "NeMo .nemo archives: config, PyTorch weights and tokenizer in a tar, never unpacked"
    }
    /// The usual file names.
    public var patterns: String { "*.nemo" }

    /// A tar archive, or a compressed one, of that name; or one that begins with NeMo's own members.
    public func recognizes(_ file: WeightsFile) -> Bool {
        let isTar = file.head.count >= 262 && file.head[257..<262].elementsEqual("ustar".utf8)
        if isTar {
            let first = file.head[..<100].prefix { $0 != 0 }
            let own = [
                "./model_config.yaml", "model_config.yaml", "./model_weights.ckpt", "model_weights.ckpt",
            ]
            if own.contains(where: { first.elementsEqual($0.utf8) }) { return true }
        }
        return file.name.hasSuffix(".nemo") && (isTar || file.head.starts(with: [0x1F, 0x8B]))
    }

    /// Reads the headers of the archive and of the weights in it.
    public func read(_ file: WeightsFile, options: ReadOptions) throws(CheckpointError) -> Checkpoint {
        let archive = try Self.archive(file)
        var checkpoint: Checkpoint
        var isWeights: (TarEntry) -> Bool
        if let weights = archive.entry(named: "model_weights.ckpt") {
            checkpoint = try PyTorchReader.read(
                archive.source, range: weights.dataRange, displayName: file.name, options: options)
            checkpoint.files[0].source = file.source
            if archive.source.name != file.source.name { checkpoint.files[0].checksums = [] }
            isWeights = { $0 == weights }
        } else {
            checkpoint = try Self.distributed(archive, file, options)
            isWeights = { Self.name(inDirectory: $0) != nil }
        }
        checkpoint.format = name
        for entry in archive.entries where !isWeights(entry) {
            let source = SourceRange(
                name: file.source.name + ": " + entry.text, of: archive.source, range: entry.dataRange)
            if let embedded = EmbeddedFile(name: entry.text, source: source) {
                checkpoint.embedded.append(embedded)
            } else {
                checkpoint.skipped.append(SkippedItem(name: entry.text, reason: "not part of a model"))
            }
        }
        return checkpoint
    }

    private static func archive(_ file: WeightsFile) throws(CheckpointError) -> TarArchive {
        do throws(ArchiveError) {
            guard file.head.starts(with: [0x1F, 0x8B]) else { return try TarArchive(reading: file.source) }
            // Weights hardly shrink; what claims to hold far more than its size does not.
            let size = file.source.byteCount
            let most = min(size, 1 << 58) * 32 + (64 << 20)
            let stream = DecompressedSource(
                name: file.source.name + ": tar", of: file.source, range: 0..<size, compression: .gzip,
                byteCount: most)
            return try TarArchive(reading: stream)
        } catch {
            throw CheckpointError(error, file: file.name)
        }
    }

    /// The name of an entry of the directory of distributed weights, within that directory.
    private static func name(inDirectory entry: TarEntry) -> String? {
        let parts = entry.text.split(separator: "/").drop { $0 == "." }
        guard parts.first == "model_weights", parts.count == 2 else { return nil }
        return String(parts[parts.startIndex + 1])
    }

    /// Reads weights that are a directory of `torch.distributed.checkpoint` inside the archive.
    private static func distributed(
        _ archive: TarArchive, _ file: WeightsFile, _ options: ReadOptions
    ) throws(CheckpointError) -> Checkpoint {
        var starts: [ByteKey: UInt64] = [:]
        var sources: [(name: String, source: any ByteSource)] = []
        for entry in archive.entries {
            guard let name = name(inDirectory: entry) else { continue }
            let source = SourceRange(
                name: file.source.name + ": " + entry.text, of: archive.source, range: entry.dataRange)
            starts[ByteKey(source.name)] = entry.dataRange.lowerBound
            sources.append((name, source))
        }
        guard !sources.isEmpty else {
            throw CheckpointError(
                .malformed, "no-weights", "the archive has neither model_weights.ckpt nor model_weights/",
                file: file.name)
        }
        var checkpoint = try DCPFormat.read(sources, location: file.name, options: options)
        var whole = SourceFile(path: file.name, source: file.source)
        whole.members = checkpoint.files
        if archive.source.name == file.source.name {
            // The same checksums, counted from the start of the archive.
            whole.checksums = checkpoint.files.flatMap { part in
                let start = starts[ByteKey(part.source.name)] ?? 0
                return part.checksums.map { sum in
                    let range = start + sum.range.lowerBound..<start + sum.range.upperBound
                    return RangeChecksum(range: range, crc32: sum.crc32, label: part.path + ": " + sum.label)
                }
            }.sorted { $0.range.lowerBound < $1.range.lowerBound }
        }
        checkpoint.files = [whole]
        return checkpoint
    }
}
