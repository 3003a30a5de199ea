public import CheckpointFormats
public import Checkpoints
internal import Integrity
internal import SafeTensors
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
    /// What stays behind.
    public let skipped: [SkippedItem]

    /// One weights file.
    public struct Shard: Sendable {
        /// The file's name.
        public let fileName: String
        /// The length prefix, the JSON header and its padding.
        public let header: [UInt8]
        /// The tensors in file order.
        public let tensors: [Item]
        /// The size of the file, in bytes.
        public let byteCount: UInt64
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
        let ties = TieResolution(table.rows, configTies: config.tiesEmbeddings)
        let kept = table.resolve(ties)
        let written = kept.map(\.written)
        let base = options.baseName ?? model.directory?.weights.outputBaseName ?? "model"

        let split = ShardPlan(
            sizes: written.map(\.byteCount), limit: options.maxShardByteCount, split: options.layout.split,
            base: base)
        let notes = ties.kept.map { (key: $0.dropped.string, value: $0.kept.string) }
        let carried = checkpoint.metadata.filter { $0.key != "format" }
        let format = checkpoint.metadata.first { $0.key == "format" }?.value ?? "pt"
        var shards: [Shard] = []
        for part in split.shards {
            let metadata =
                [(key: "format", value: format)]
                + (split.shards.count == 1 ? Self.unique(carried + notes) : [])
            shards.append(
                try Self.shard(
                    name: part.fileName,
                    tensors: part.tensors.map { (written[$0], kept[$0].tensor.dtype, $0) },
                    metadata: metadata, alignment: options.layout.alignment))
        }

        self.checkpoint = checkpoint
        self.shards = shards
        index =
            shards.count == 1
            ? nil
            : (
                name: split.indexFileName,
                contents: Self.index(of: shards, notes: Self.unique(carried + notes))
            )
        let side = try Self.sideFiles(
            of: model, config: config,
            dtype: options.transforms.reversed().lazy.compactMap(\.modelDType).first)
        sideFiles = side.items
        self.ties = ties.kept
        untied = ties.untied + ties.untiedByTransform
        untiedByConfig = ties.untied
        effects = table.effects
        skipped = checkpoint.skipped + (model.directory?.left ?? []) + side.left
    }

    /// The bytes of all files but the manifest.
    public var byteCount: UInt64 {
        shards.reduce(0) { $0 + $1.byteCount } + UInt64(index?.contents.count ?? 0)
            + sideFiles.reduce(0) { $0 + $1.source.byteCount }
    }

    private static func unique(_ metadata: [(key: String, value: String)]) -> [(key: String, value: String)] {
        var seen: Set<ByteKey> = [ByteKey("format")]
        return metadata.filter { seen.insert(ByteKey($0.key)).inserted }
    }

    private static func shard(
        name: String, tensors: [(tensor: TensorRecord, sourceDType: DType, order: Int)],
        metadata: [(key: String, value: String)], alignment: UInt64
    ) throws(ConversionError) -> Shard {
        let layout: SafeTensorsLayout
        do {
            layout = try SafeTensorsLayout(
                tensors: tensors.map { ($0.tensor.name, $0.tensor.dtype, $0.tensor.shape) },
                metadata: metadata, alignment: alignment)
        } catch {
            throw .source(
                CheckpointError(
                    .unsupported, error.code.rawValue, error.message, file: name, tensor: error.tensor))
        }
        let rows = Dictionary(
            uniqueKeysWithValues: tensors.enumerated().map { ($0.element.tensor.name, $0.offset) })
        let items = layout.tensors.compactMap { place in
            rows[place.name].map { row in
                Item(
                    tensor: tensors[row].tensor, sourceDType: tensors[row].sourceDType,
                    offset: place.fileRange.lowerBound, order: tensors[row].order)
            }
        }
        return Shard(
            fileName: name, header: layout.header, tensors: items, byteCount: layout.fileByteCount)
    }

    private static func index(of shards: [Shard], notes: [(key: String, value: String)]) -> [UInt8] {
        var entries: [ShardIndex.Entry] = []
        var parameters: UInt64 = 0
        var bytes: UInt64 = 0
        for shard in shards {
            for item in shard.tensors {
                entries.append(.init(tensor: item.tensor.name, file: shard.fileName))
                parameters += item.tensor.elementCount
                bytes += item.tensor.byteCount
            }
        }
        return ShardIndex(
            entries: entries, totalSize: bytes, totalParameters: parameters,
            extra: notes.filter { !["total_size", "total_parameters"].contains($0.key) }
                .map { JSONMember($0.key, .string($0.value)) }
        ).serialized()
    }
}
