internal import Checkpoints
internal import SafeTensors
internal import TensorCore

/// PyTorch state dicts in zip archives, as `torch.save` writes them, sharded as transformers did.
struct PyTorchOutput: OutputFormat {
    let name = "pytorch"
    let summary = "PyTorch state dicts, one file or shards with an index, for torch.load(weights_only=True)"
    let patterns = "pytorch_model.bin pytorch_model.bin.index.json"
    let tieRule = TieRule.aliased

    func layOut(_ model: OutputModel) throws(ConversionError) -> OutputLayout {
        let split = ShardPlan(
            sizes: model.tensors.map(\.byteCount), limit: model.options.maxShardByteCount,
            split: model.options.layout.split,
            base: model.baseName == "model" ? "pytorch_model" : model.baseName,
            fileExtension: "bin")
        let names = model.namesInOrder
        var shards: [ExportPlan.Shard] = []
        var entries: [ShardIndex.Entry] = []
        for part in split.shards {
            let own = Set(part.tensors)
            let names = split.shards.count == 1 ? names : names.filter { own.contains($0.tensor) }
            entries += names.map { ShardIndex.Entry(tensor: $0.name, file: part.fileName) }
            shards.append(try Self.shard(part, names, of: model))
        }
        let index = ShardIndex(entries: entries, totalSize: split.totalSize)
        return OutputLayout(
            shards: shards, index: shards.count == 1 ? nil : (split.indexFileName, index.serialized()),
            skipped: model.metadataLeft("text beside the tensors, which a state dict has no place for"))
    }

    private static func shard(
        _ part: ShardPlan.Shard, _ names: [(name: TensorName, tensor: Int)], of model: OutputModel
    ) throws(ConversionError) -> ExportPlan.Shard {
        var pickled: [Int: PickledTensor] = [:]
        for (storage, number) in part.tensors.enumerated() {
            guard let tensor = PickledTensor(model.tensors[number], storage: storage) else {
                throw model.refusal(
                    number, "pytorch-dtype",
                    "PyTorch has no dtype for \(model.tensors[number].dtype.name) of shape "
                        + "\(model.tensors[number].shape): convert it with --dtype, or leave it out with --drop"
                )
            }
            pickled[number] = tensor
        }
        let state = PickleWriter(names.compactMap { name in pickled[name.tensor].map { (name.name, $0) } })
        let root = part.fileName.hasSuffix(".bin") ? String(part.fileName.dropLast(4)) : part.fileName
        var zip = ZipLayout()
        zip.add("\(root)/data.pkl", state.bytes)
        zip.add("\(root)/.format_version", Array("1".utf8))
        zip.add("\(root)/.storage_alignment", Array("\(ZipLayout.alignment)".utf8))
        zip.add("\(root)/byteorder", Array("little".utf8))
        let items = part.tensors.enumerated().map { storage, number in
            model.item(
                number,
                at: zip.add(
                    Array("\(root)/data/\(storage)".utf8), segment: storage,
                    byteCount: model.tensors[number].byteCount))
        }
        zip.add("\(root)/version", Array("3\n".utf8))
        zip.finish()
        return ExportPlan.Shard(fileName: part.fileName, zip, tensors: items)
    }
}

extension OutputModel {
    /// Every name with the number of its tensor, each alias right after the tensor whose storage it shares.
    fileprivate var namesInOrder: [(name: TensorName, tensor: Int)] {
        let aliases = Dictionary(grouping: aliases) { $0.tensor }
        return tensors.indices.flatMap { number in
            [(name: tensors[number].name, tensor: number)] + (aliases[number] ?? [])
        }
    }
}

extension ExportPlan.Shard {
    /// A file that is a zip archive.
    init(fileName: String, _ zip: ZipLayout, tensors: [ExportPlan.Item]) {
        self.init(
            fileName: fileName, frames: zip.frames, tensors: tensors, checksums: zip.checksums,
            byteCount: zip.byteCount)
    }
}
