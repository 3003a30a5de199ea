internal import Checkpoints
internal import SafeTensors
internal import StrictJSON
internal import TensorCore

/// SafeTensors files of bounded size with their index, as the hub has them.
struct SafeTensorsOutput: OutputFormat {
    let name = "safetensors"
    let summary = "SafeTensors, one file or shards with an index, for the hub and every server"
    let patterns = "*.safetensors *.safetensors.index.json"
    let tieRule = TieRule.dropped

    func layOut(_ model: OutputModel) throws(ConversionError) -> OutputLayout {
        let options = model.options
        let split = ShardPlan(
            sizes: model.tensors.map(\.byteCount), limit: options.maxShardByteCount,
            split: options.layout.split, base: model.baseName)
        let format = model.metadata.first { $0.key == "format" }?.value ?? "pt"
        let notes = Self.unique(
            model.metadata.filter { $0.key != "format" }
                + model.aliases.map { ($0.name.string, model.tensors[$0.tensor].name.string) })
        var shards: [ExportPlan.Shard] = []
        for part in split.shards {
            shards.append(
                try Self.shard(
                    part, of: model,
                    metadata: [("format", format)] + (split.shards.count == 1 ? notes : [])))
        }
        let index = split.index(
            names: model.tensors.map(\.name),
            totalParameters: model.tensors.reduce(0) { $0 + $1.elementCount },
            extra: notes.filter { !["total_size", "total_parameters"].contains($0.key) }
                .map { JSONMember($0.key, .string($0.value)) })
        return OutputLayout(
            shards: shards, index: index.map { (split.indexFileName, $0.serialized()) })
    }

    private static func unique(_ metadata: [(key: String, value: String)]) -> [(key: String, value: String)] {
        var seen: Set<ByteKey> = [ByteKey("format")]
        return metadata.filter { seen.insert(ByteKey($0.key)).inserted }
    }

    private static func shard(
        _ part: ShardPlan.Shard, of model: OutputModel, metadata: [(key: String, value: String)]
    ) throws(ConversionError) -> ExportPlan.Shard {
        let layout: SafeTensorsLayout
        do {
            layout = try SafeTensorsLayout(
                tensors: part.tensors.map {
                    (model.tensors[$0].name, model.tensors[$0].dtype, model.tensors[$0].shape)
                }, metadata: metadata, alignment: model.options.layout.alignment)
        } catch {
            throw .source(
                CheckpointError(
                    .unsupported, error.code.rawValue, error.message, file: part.fileName,
                    tensor: error.tensor))
        }
        let numbers = Dictionary(uniqueKeysWithValues: part.tensors.map { (model.tensors[$0].name, $0) })
        return ExportPlan.Shard(
            fileName: part.fileName, frames: [.init(offset: 0, bytes: layout.header)],
            tensors: layout.tensors.compactMap { place in
                numbers[place.name].map { model.item($0, at: place.fileRange.lowerBound) }
            }, byteCount: layout.fileByteCount)
    }
}
