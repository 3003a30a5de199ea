internal import Architectures
internal import CheckpointFormats
public import Checkpoints
internal import Integrity
internal import SafeTensors
internal import StrictJSON
internal import TensorCore

/// GGUF files, as llama.cpp's own converter and quantiser make them.
public struct GGUFOutput: OutputFormat {
    /// How tensors are quantised; nil to keep their dtypes.
    public let quantization: GGUFQuantization?

    /// Makes the format.
    public init(_ quantization: GGUFQuantization? = nil) { self.quantization = quantization }

    /// `gguf`.
    public var name: String { "gguf" }
    /// What it is and who reads it.
    public var summary: String {
        "GGUF with its tokenizer, one file or shards, quantised with --quantize, for llama.cpp and its kin"
    }
    /// The names of the files.
    public var patterns: String { "*.gguf" }
    /// llama.cpp ties the head to the embedding.
    public var tieRule: TieRule { .dropped }

    /// What describes the model is in the file; the terms of use and the card go beside it.
    public func carries(_ role: SideFile.Role) -> Bool { role == .licence || role == .card }

    /// Lays out the files of a model whose `config.json` says what it is.
    public func layOut(_ model: OutputModel) throws(ConversionError) -> OutputLayout {
        guard let config = model.config else {
            guard model.source.has("config.json") else {
                throw .options(
                    "--to gguf needs the model's config.json beside the weights, to know what it is")
            }
            throw .source(
                CheckpointError(
                    .malformed, "config-not-json", "it is no JSON object, and --to gguf needs what it says",
                    file: model.source.place(of: "config.json")))
        }
        do throws(CheckpointError) {
            let map = try ArchitectureMap.find(config: config, file: "config.json")
            let dimensions = map.dimensions(config: config)
            let table = try map.map(
                model.tensors, from: ArchitectureMap.canonicalScheme, to: "gguf", dimensions: dimensions,
                file: model.sourceName)
            let context = GGUFMixContext(
                layerCount: Int(clamping: dimensions["layers"] ?? 0),
                expertCount: Int(clamping: dimensions["experts"] ?? 0),
                groupsQueries: dimensions["heads"] != dimensions["kv_heads"],
                isTied: !table.tensors.contains { $0.name == "output.weight" })
            var inputs: [InputFile] = []
            let metadata = try Self.metadata(config, of: model, &inputs)
            var tensors: [GGUFTensor] = []
            for tensor in table.tensors + metadata.tensors.map(Self.record) {
                tensors.append(try GGUFTensor(tensor, quantization, context, file: model.sourceName))
            }
            let fileType = quantization ?? Self.commonType(of: tensors)
            let pairs =
                metadata.pairs + [
                    GGUFPair("general.file_type", .uint32(fileType.fileType)),
                    GGUFPair("general.quantization_version", .uint32(2)),
                ]
            var layout = try Self.layOut(tensors, pairs, of: model)
            layout.skipped =
                table.ignored.map {
                    SkippedItem(name: $0.string, reason: "has no place in GGUF, or follows from the config")
                }
                + model.metadataLeft("text beside the tensors, which GGUF has other keys for")
            layout.warnings = metadata.warnings
            layout.inputs = inputs
            layout.transforms = [
                Manifest.Transform(
                    kind: "map", parameters: [.init("map", .string(map.name)), .init("to", .string("gguf"))])
            ]
            if let quantization {
                layout.transforms.append(
                    Manifest.Transform(
                        kind: "quantize", parameters: [.init("type", .string(quantization.name))]))
            }
            return layout
        } catch {
            var error = error
            error.file = model.source.place(of: error.file)
            throw .source(error)
        }
    }

    /// The keys that follow from the config and the tokenizer.
    private static func metadata(
        _ config: JSONValue, of model: OutputModel, _ inputs: inout [InputFile]
    ) throws(CheckpointError) -> GGUFMetadata {
        var read: [InputFile] = []
        defer { inputs += read }
        // Nothing of this machine: equal models give equal files. A made-up name would make llama.cpp look for the
        // tokens of its namesakes; without one, Mistral is taken for Llama when the file is read again.
        let known = config["_name_or_path"]?.string.map { Path.name(of: $0) } ?? ""
        let usual = config["model_type"]?.string == "mistral" ? "Mistral" : nil
        return try GGUFMetadata(config: config, name: known.isEmpty ? usual : known) {
            (name) throws(CheckpointError) in try model.source.contents(of: name, &read)
        }
    }

    private static func record(_ tensor: (name: TensorName, values: [Float])) -> TensorRecord {
        let bytes = tensor.values.flatMap { LittleEndian($0.bitPattern).bytes }
        return TensorRecord(
            name: tensor.name, dtype: .f32, shape: [UInt64(tensor.values.count)],
            source: .extent(
                Extent(
                    source: MemorySource(name: tensor.name.string, contents: bytes), offset: 0,
                    byteCount: UInt64(bytes.count))))
    }

    /// The plain type that most of the large tensors' bytes have.
    private static func commonType(of tensors: [GGUFTensor]) -> GGUFQuantization {
        let large = tensors.filter { GGUFQuantization.isLarge($0.record.name.string, shape: $0.record.shape) }
        let sizes = GGUFQuantization.all.filter { $0.base.dtype != nil }.map { type in
            (type, large.reduce(UInt64(0)) { $0 + ($1.type == type.base ? $1.record.byteCount : 0) })
        }
        return sizes.max { $0.1 < $1.1 }?.0 ?? GGUFQuantization.all[0]
    }

    private static func layOut(
        _ tensors: [GGUFTensor], _ pairs: [GGUFPair], of model: OutputModel
    ) throws(CheckpointError) -> OutputLayout {
        let split = ShardPlan(
            sizes: tensors.map(\.record.byteCount), limit: model.options.maxShardByteCount,
            split: model.options.layout.split, base: model.baseName, fileExtension: "gguf")
        var shards: [ExportPlan.Shard] = []
        for (number, part) in split.shards.enumerated() {
            // As gguf-split does it: the first file has the keys.
            var own = number == 0 ? pairs : []
            if split.shards.count > 1 {
                own += [
                    GGUFPair("split.no", .uint16(UInt16(clamping: number))),
                    GGUFPair("split.count", .uint16(UInt16(clamping: split.shards.count))),
                    GGUFPair("split.tensors.count", .int32(Int32(clamping: tensors.count))),
                ]
            }
            let inside = part.tensors.map { tensors[$0] }
            let header = try GGUFHeader(
                pairs: own, tensors: inside.map { ($0.record.name, $0.record.shape, $0.type) },
                file: part.fileName)
            shards.append(shard(part, header, inside))
        }
        return OutputLayout(shards: shards)
    }

    private static func shard(
        _ part: ShardPlan.Shard, _ header: GGUFHeader, _ tensors: [GGUFTensor]
    ) -> ExportPlan.Shard {
        var frames = [ExportPlan.Frame(offset: 0, bytes: header.encoded())]
        var items: [ExportPlan.Item] = []
        let end = header.dataOffset + header.dataByteCount
        for (index, info) in header.tensors.enumerated() {
            let start = header.dataOffset + info.offset
            items.append(
                ExportPlan.Item(
                    tensor: tensors[index].record, sourceDType: tensors[index].sourceDType, offset: start,
                    order: part.tensors[index], encoding: tensors[index].encoding))
            let next =
                index + 1 < header.tensors.count ? header.dataOffset + header.tensors[index + 1].offset : end
            let padding = Int(next - start - info.byteCount)
            if padding > 0 {
                frames.append(
                    .init(offset: start + info.byteCount, bytes: [UInt8](repeating: 0, count: padding)))
            }
        }
        return ExportPlan.Shard(fileName: part.fileName, frames: frames, tensors: items, byteCount: end)
    }
}
