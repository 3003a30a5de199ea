public import Checkpoints
internal import SafeTensors
internal import TensorCore

/// SafeTensors files.
public struct SafeTensorsFormat: FileFormat {
    /// Makes the format.
    public init() {}

    /// The identifier.
    public var name: String { "safetensors" }
    /// One line for people.
    public var summary: String { "SafeTensors, single or sharded" }

    /// The usual file names.
    public var patterns: String { "*.safetensors" }

    /// A header length that a header can have, then a brace or white space; or the file's own extension.
    public func recognizes(_ file: WeightsFile) -> Bool {
        if file.name.hasSuffix(".safetensors") { return true }
        let head = file.head
        guard head.count >= 10 else { return false }
        let length = head.span.bytesView.load(littleEndian: UInt64.self, at: 0)
        return length >= 2 && length <= 100_000_000 && (head[8] == 0x7B || head[8] == 0x20)
    }

    /// Reads the headers of a file.
    public func read(_ file: WeightsFile, options: ReadOptions) throws(CheckpointError) -> Checkpoint {
        let (file, path) = (file.source, file.name)
        let header: SafeTensorsHeader
        var warnings: [SafeTensorsWarning]
        do {
            header = try SafeTensorsHeader(reading: file, mode: options.validation)
            warnings = header.warnings.kept
            if options.scansValues {
                warnings += try SafeTensorsReader(file, header: header).scanValues().kept
            }
        } catch {
            throw CheckpointError(error, file: file.name)
        }
        guard
            HubShardsFormat.rank(of: path) == nil
                || !header.metadata.contains(where: { $0.key == "DCP_SHARDING_INFO" })
        else {
            throw CheckpointError(
                .unsupported, "partial-shard",
                "it holds the parts of tensors that one rank had: name the directory of all parts",
                file: file.name)
        }
        return Checkpoint(
            format: name, tensors: TensorTable(header, of: file), metadata: MetadataTable(header.metadata),
            files: [SourceFile(path: path, source: file)],
            warnings: warnings.map { warning in
                CheckpointWarning(
                    warning.code.rawValue, warning.message, file: path, tensor: warning.tensor,
                    offset: warning.offset)
            })
    }
}

extension CheckpointError {
    /// The error of a SafeTensors file or index.
    init(_ error: SafeTensorsError, file: String) {
        let kind: CheckpointError.Class = error.code == .io ? .io : .malformed
        self.init(
            kind, error.code.rawValue, error.message, file: file, tensor: error.tensor, offset: error.offset)
        reference = error.referenceName
    }
}
