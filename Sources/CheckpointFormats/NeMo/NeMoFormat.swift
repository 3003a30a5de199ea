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
        guard let weights = archive.entry(named: "model_weights.ckpt") else {
            throw Self.noWeights(in: archive, file.name)
        }
        var checkpoint = try PyTorchReader.read(
            archive.source, range: weights.dataRange, displayName: file.name, options: options)
        checkpoint.format = name
        checkpoint.files[0].source = file.source
        if archive.source.name != file.source.name { checkpoint.files[0].checksums = [] }
        for entry in archive.entries where entry != weights {
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

    private static func noWeights(in archive: TarArchive, _ file: String) -> CheckpointError {
        if archive.entries.contains(where: { $0.name.starts(with: "model_weights/".utf8) }) {
            return CheckpointError(
                .unsupported, "nemo-distributed",
                "its weights are a torch.distributed.checkpoint directory, which is not read from inside an "
                    + "archive: unpack it and name the directory model_weights", file: file)
        }
        return CheckpointError(
            .malformed, "no-weights", "the archive has no model_weights.ckpt", file: file)
    }
}
