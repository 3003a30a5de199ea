public import CheckpointFormats
public import Checkpoints
public import Integrity
internal import StrictJSON
public import TensorCore

/// Everything that an export will write, known before a byte moves.
public struct ExportPlan: Sendable {
    /// The weights that are read.
    public let checkpoint: Checkpoint
    /// The weights files, in order.
    public let shards: [Shard]
    /// The index, where there are several weights files.
    public let index: (name: String, contents: [UInt8])?
    /// The files that travel along.
    public let sideFiles: [SideFileItem]
    /// Names that are dropped because another name holds the same storage.
    public let ties: [(dropped: TensorName, kept: TensorName)]
    /// Names that shared storage with another and get bytes of their own, because the config or a transform says
    /// so.
    public let untied: [TensorName]
    /// Those of them where no transform says so.
    public let untiedByConfig: [TensorName]
    /// What each transform did, in order.
    public let effects: [TransformEffect]
    /// What the format did to the tensors.
    let outputTransforms: [Manifest.Transform]
    /// The files that were read to make the plan, beside the weights and those that are carried over.
    let descriptions: [InputFile]
    /// What stays behind.
    public let skipped: [SkippedItem]

    /// One weights file.
    public struct Shard: Sendable {
        /// The file's name.
        public let fileName: String
        /// The bytes around the tensors: headers, padding, directories.
        public let frames: [Frame]
        /// The tensors in file order.
        public let tensors: [Item]
        /// Places in the frames where the CRC-32 of a tensor stands, by its number in the file.
        public let checksums: [DigestLane.ChecksumField]
        /// The size of the file, in bytes.
        public let byteCount: UInt64

        init(
            fileName: String, frames: [Frame], tensors: [Item],
            checksums: [DigestLane.ChecksumField] = [], byteCount: UInt64
        ) {
            self.fileName = fileName
            self.frames = frames
            self.tensors = tensors
            self.checksums = checksums
            self.byteCount = byteCount
        }
    }

    /// Bytes of a file that are no tensor's, and their place.
    public struct Frame: Sendable {
        /// The first byte in the file.
        public let offset: UInt64
        /// The bytes.
        public let bytes: [UInt8]
    }

    /// A tensor and its place.
    public struct Item: Sendable {
        /// The tensor as it is written.
        public let tensor: TensorRecord
        /// Its dtype in the source.
        public let sourceDType: DType
        /// Its first byte in the file.
        public let offset: UInt64
        /// Its row in the source's table.
        public let order: Int
        /// The type of the blocks that its numbers are packed in, such as `Q4_K`; nil where they stand plainly.
        public let encoding: String?
    }

    /// A file that is carried over, as it is or edited.
    public struct SideFileItem: Sendable {
        /// The file.
        public let file: SideFile
        /// The bytes to write.
        public let source: any ByteSource
        /// Whether the bytes differ from the source's.
        public let isEdited: Bool
    }
}

extension ExportPlan {
    /// Plans the export of `model`.
    ///
    /// Reads the config, nothing else.
    public init(model: OpenedModel, options: ExportOptions) throws(ConversionError) {
        var checkpoint = model.checkpoint
        guard !checkpoint.tensors.isEmpty else {
            let held = checkpoint.skipped.first.map { ", only \($0.name): \($0.reason)" } ?? ""
            throw .source(
                CheckpointError(
                    .malformed, "no-tensors", "there is no tensor in it\(held)",
                    file: checkpoint.files.first?.path ?? ""))
        }
        let config = try ModelConfig(of: model)
        if let warning = config.warning { checkpoint.warnings.append(warning) }
        var table = try TransformedTable(
            checkpoint, options.transforms, allowsUnmatched: options.allowsUnmatched)
        checkpoint.warnings += table.warnings
        let format = options.format
        if case .aligned = options.layout, !(format is SafeTensorsOutput) {
            throw .options("--layout aligned goes with --to safetensors")
        }
        let ties = TieResolution(
            table.rows, configTies: config.tiesEmbeddings, onlyAsked: format.tieRule == .copied)
        let kept = table.resolve(ties)
        let written = kept.map(\.written)
        let numbers = Dictionary(uniqueKeysWithValues: written.enumerated().map { ($1.name, $0) })
        let layout = try format.layOut(
            OutputModel(
                tensors: written, sourceDTypes: kept.map(\.tensor.dtype),
                aliases: ties.kept.compactMap { tie in numbers[tie.kept].map { (tie.dropped, $0) } },
                metadata: Array(checkpoint.metadata), sourceName: checkpoint.files.first?.path ?? "",
                baseName: options.baseName ?? model.directory?.weights.outputBaseName ?? "model",
                config: config.contents.flatMap { try? JSONValue(parsing: $0) }, source: model,
                options: options))
        checkpoint.warnings += layout.warnings
        self.checkpoint = checkpoint
        shards = layout.shards
        index = layout.index
        outputTransforms = layout.transforms
        descriptions = (config.input.map { [$0] } ?? []) + layout.inputs
        let side = try Self.sideFiles(
            of: model, config: config, format: format,
            dtype: options.transforms.reversed().lazy.compactMap(\.modelDType).first)
        sideFiles = side.items
        self.ties = ties.kept
        untied = ties.untied + ties.untiedByTransform
        untiedByConfig = ties.untied
        effects = table.effects
        skipped = checkpoint.skipped + (model.directory?.left ?? []) + side.left + layout.skipped
    }

    /// The bytes of all files but the manifest.
    public var byteCount: UInt64 {
        shards.reduce(0) { $0 + $1.byteCount } + UInt64(index?.contents.count ?? 0)
            + sideFiles.reduce(0) { $0 + $1.source.byteCount }
    }
}
