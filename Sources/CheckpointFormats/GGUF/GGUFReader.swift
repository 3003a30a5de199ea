internal import Checkpoints
internal import TensorCore

/// Makes a checkpoint of GGUF headers.
struct GGUFReader {
    private let options: ReadOptions

    init(_ options: ReadOptions) { self.options = options }

    func read(_ set: GGUFShardSet) throws(CheckpointError) -> Checkpoint {
        var checkpoint = Checkpoint(
            format: "gguf", tensors: [],
            files: set.shards.map { SourceFile(path: $0.name, source: $0.source) })
        var tensors: [TensorRecord] = []
        for shard in set.shards {
            for info in shard.header.tensors {
                guard let expression = try expression(info, in: shard) else {
                    checkpoint.skipped.append(
                        SkippedItem(
                            name: info.name.string, reason: "\(info.type.name) blocks, which are not decoded",
                            tensorCount: 1))
                    continue
                }
                tensors.append(TensorRecord(name: info.name, expression))
            }
            addTrailingWarning(shard, to: &checkpoint)
        }
        checkpoint.tensors = TensorTable(tensors)
        return checkpoint
    }

    /// The numbers of a tensor; nil where they cannot be decoded and may be left out.
    private func expression(
        _ info: GGUFTensorInfo, in shard: GGUFShardSet.Shard
    ) throws(CheckpointError) -> TensorExpression? {
        let extent = TensorSource.extent(
            Extent(
                source: shard.source, offset: shard.header.dataOffset + info.offset,
                byteCount: info.byteCount))
        do throws(ExpressionError) {
            if let dtype = info.type.dtype {
                return try TensorExpression(dtype: dtype, shape: info.shape, source: extent)
            }
            if let format = info.type.format {
                let source = try BlockMap(extent, codec: BlockDecoder(format))
                return try TensorExpression(dtype: .f32, shape: info.shape, source: .computed(source))
            }
        } catch {
            throw CheckpointError(
                .malformed, "gguf-shape", error.description, file: shard.name, tensor: info.name)
        }
        if options.skipsUnsupported || options.listsUnsupported { return nil }
        throw CheckpointError(
            .unsupported, "gguf-tensor-type",
            "its elements are \(info.type.name) blocks, which are not decoded: leave such tensors out with "
                + "--skip-unsupported", file: shard.name, tensor: info.name)
    }

    private func addTrailingWarning(_ shard: GGUFShardSet.Shard, to checkpoint: inout Checkpoint) {
        let end = shard.header.dataOffset + shard.header.dataByteCount
        guard shard.source.byteCount > end else { return }
        checkpoint.warnings.append(
            CheckpointWarning(
                "trailing-bytes", "\(shard.source.byteCount - end) bytes follow the last tensor",
                file: shard.name, offset: end))
    }
}
