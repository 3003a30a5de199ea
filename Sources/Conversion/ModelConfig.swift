internal import CheckpointFormats
internal import Checkpoints
internal import StrictJSON
internal import TensorCore

/// The parts of `config.json` that an export looks at.
struct ModelConfig {
    /// `architectures[0]`.
    private(set) var architecture: String?
    /// `model_type`.
    private(set) var modelType: String?
    /// `tie_word_embeddings`, where it is said.
    private(set) var tiesEmbeddings: Bool?
    /// `_name_or_path`: where the model came from.
    private(set) var nameOrPath: String?
    /// Whether the model's code comes with it (`auto_map`).
    private(set) var hasOwnCode = false
    /// The file that was read, where it is one.
    private(set) var input: InputFile?
    /// The file's bytes, where they could be understood.
    private(set) var contents: [UInt8]?
    /// Set where the file is there and could not be understood.
    private(set) var warning: CheckpointWarning?

    /// Far more than any config has.
    private static let limit = 16 << 20

    /// Whether the architecture stacks the weights of experts with the inputs before the outputs.
    var hasInputsFirst: Bool { ["gpt_oss", "llama4", "llama4_text"].contains(modelType ?? "") }

    init() {}

    /// Reads the `config.json` of a model.
    ///
    /// A model without one is fine. One that is no strict JSON (Python writes `NaN` and `Infinity`, which
    /// JSON has not) travels as it is, with a warning.
    init(of model: OpenedModel) throws(ConversionError) {
        self.init()
        guard let side = model.sideFiles.first(where: { $0.file.name == "config.json" }) else { return }
        let bytes: [UInt8]
        if let source = side.embedded {
            guard source.byteCount <= UInt64(Self.limit) else { return }
            bytes = try inputOutput { () throws(IOError) in
                try source.bytes(at: 0, count: Int(source.byteCount))
            }
        } else {
            let path = Path.join(model.directory?.path ?? "", "config.json")
            let file = try inputOutput { () throws(IOError) in try InputFile(path: path) }
            input = file
            bytes = try inputOutput { () throws(IOError) in try file.contents(limit: Self.limit) }
        }
        do {
            read(try JSONValue(parsing: bytes))
            contents = bytes
        } catch {
            warning = CheckpointWarning(
                "config-not-json",
                "\(error.message), so it is carried as it is and nothing in it is looked at or changed",
                file: "config.json", offset: UInt64(error.offset))
        }
    }

    private mutating func read(_ json: JSONValue) {
        if case .array(let names)? = json["architectures"] { architecture = names.first?.string }
        modelType = json["model_type"]?.string
        tiesEmbeddings =
            json["tie_word_embeddings"]?.bool ?? json["text_config"]?["tie_word_embeddings"]?.bool
        hasOwnCode = json["auto_map"] != nil
        nameOrPath = json["_name_or_path"]?.string
    }
}

extension ExportPlan {
    /// The side files to write: those of the model, with the config's dtype changed where tensors are cast.
    static func sideFiles(
        of model: OpenedModel, config: ModelConfig, format: any OutputFormat, dtype: DType?
    ) throws(ConversionError) -> (items: [SideFileItem], left: [SkippedItem]) {
        var items: [SideFileItem] = []
        var left: [SkippedItem] = []
        for side in model.sideFiles {
            let file = side.file
            guard format.carries(file.role) else {
                left.append(SkippedItem(name: file.name, reason: "the \(format.name) file takes its place"))
                continue
            }
            if file.role == .code && !config.hasOwnCode {
                left.append(SkippedItem(name: file.name, reason: "code that the config does not name"))
                continue
            }
            if file.name == "config.json", let dtype, let contents = config.contents,
                let edited = try castConfig(contents, to: dtype)
            {
                items.append(
                    SideFileItem(
                        file: file, source: MemorySource(name: file.name, contents: edited), isEdited: true))
                continue
            }
            if let source = side.embedded {
                items.append(SideFileItem(file: file, source: source, isEdited: false))
                continue
            }
            let path = Path.join(model.directory?.path ?? "", file.name)
            let source = try inputOutput { () throws(IOError) in try InputFile(path: path) }
            items.append(SideFileItem(file: file, source: source, isEdited: false))
        }
        return (items, left)
    }

    /// The config with `dtype` and `torch_dtype` naming the new dtype, or nil where nothing changes.
    ///
    /// Loaders take the dtype from there, so a config that still said `float32` would undo the cast in memory.
    private static func castConfig(_ contents: [UInt8], to dtype: DType) throws(ConversionError) -> [UInt8]? {
        let names: [DType: String] = [.f32: "float32", .f16: "float16", .bf16: "bfloat16", .f64: "float64"]
        guard let name = names[dtype] else { return nil }
        do {
            let edit = try JSONEdit.replacingStringValues(in: contents, keys: ["dtype", "torch_dtype"]) {
                value in
                names.values.contains(value) && value != name ? name : nil
            }
            return edit.count > 0 ? edit.bytes : nil
        } catch {
            throw .source(
                CheckpointError(
                    .malformed, "bad-config", error.message, file: "config.json", offset: UInt64(error.offset)
                ))
        }
    }
}
