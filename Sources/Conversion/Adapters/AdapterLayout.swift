public import CheckpointFormats
internal import Checkpoints
internal import StrictJSON
internal import TensorCore

extension Adapter {
    /// The adapter in the layout of PEFT or mlx-lm, ready to be exported.
    ///
    /// - Throws: where that layout has no place for a part of the adapter.
    public func model(as target: Format) throws(ConversionError) -> OpenedModel {
        do throws(CheckpointError) {
            let layout =
                switch target {
                case .peft: try peftLayout()
                case .mlx: try mlxLayout()
                }
            var checkpoint = Checkpoint(
                format: "\(format.rawValue)-adapter", tensors: layout.records, files: files)
            checkpoint.embedded = tokenizer + [layout.config].compactMap(\.self)
            if target != format {
                checkpoint.changes = [
                    CheckpointChange(
                        kind: "adapter-layout",
                        parameters: [
                            .init("from", .string(format.rawValue)), .init("to", .string(target.rawValue)),
                        ], summary: "from the layout of \(format.rawValue) to that of \(target.rawValue)")
                ]
            }
            return OpenedModel(checkpoint: checkpoint, directory: nil)
        } catch { throw .source(error) }
    }

    /// Tensors and `adapter_config.json`.
    private struct Layout {
        var records: [TensorRecord] = []
        var config: EmbeddedFile?
    }

    private func refusal(_ target: Format, _ what: String) -> CheckpointError {
        CheckpointError(
            .unsupported, "adapter-layout",
            "\(what), for which the layout of \(target.rawValue) has no place",
            file: path)
    }

    private func add(
        _ name: String, to records: inout [TensorRecord],
        _ body: () throws(ExpressionError) -> TensorExpression
    ) throws(CheckpointError) {
        do { records.append(TensorRecord(name: TensorName(name), try body())) } catch {
            throw CheckpointError(
                .malformed, "adapter-shape", error.description, file: path, tensor: TensorName(name))
        }
    }

    // MARK: PEFT

    private func peftLayout() throws(CheckpointError) -> Layout {
        var layout = Layout()
        if format == .peft {
            layout.records = Array(checkpoint.tensors)
            layout.config = files.last.flatMap {
                EmbeddedFile(name: "adapter_config.json", source: $0.source)
            }
            return layout
        }
        guard replacements.isEmpty else {
            throw refusal(.peft, "weights were trained as a whole (\(replacements[0].name) and others)")
        }
        for module in modules {
            let prefix = "base_model.model.\(module.name)."
            let names =
                module.isEmbedding
                ? ["lora_embedding_A", "lora_embedding_B"] : ["lora_A.weight", "lora_B.weight"]
            try add(prefix + names[0], to: &layout.records) { () throws(ExpressionError) in module.a }
            try add(prefix + names[1], to: &layout.records) { () throws(ExpressionError) in module.b }
            guard let magnitude = module.magnitude else { continue }
            guard !module.isEmbedding else {
                throw refusal(.peft, "the embedding \(module.name) has a magnitude for each token")
            }
            try add(prefix + "lora_magnitude_vector", to: &layout.records) { () throws(ExpressionError) in
                magnitude
            }
        }
        layout.config =
            PEFTConfig(
                settings, targets: PEFTConfig.targets(modules.map(\.name)), ranks: [:]
            ).file
        return layout
    }

    // MARK: mlx-lm

    private func mlxLayout() throws(CheckpointError) -> Layout {
        var layout = Layout()
        if format == .mlx {
            layout.records = Array(checkpoint.tensors)
            layout.config = files.last.flatMap {
                EmbeddedFile(name: "adapter_config.json", source: $0.source)
            }
            return layout
        }
        if let first = replacements.first {
            throw refusal(.mlx, "\(first.name) was trained as a whole (modules_to_save, bias)")
        }
        if let first = tokenRows.first { throw refusal(.mlx, "rows of \(first.module) were trained") }
        guard let first = modules.first else { throw refusal(.mlx, "there is no update") }
        for module in modules {
            if module.depth > 0 || !settings.targetParameters.isEmpty {
                throw refusal(.mlx, "parameters of \(module.name) are updated (target_parameters)")
            }
            guard module.bias == nil else {
                throw refusal(.mlx, "the update of \(module.name) has a bias (lora_bias)")
            }
            guard module.rank == first.rank, Float(module.scale) == Float(first.scale) else {
                throw refusal(
                    .mlx,
                    "\(module.name) has rank \(module.rank) and scale \(module.scale), \(first.name) rank "
                        + "\(first.rank) and scale \(first.scale)")
            }
            guard module.a.shape.count == 2, !(module.isEmbedding && module.magnitude != nil) else {
                throw refusal(.mlx, "\(module.name) is a convolution, or an embedding with magnitudes")
            }
            try add(module.name + ".lora_a", to: &layout.records) { () throws(ExpressionError) in
                try module.a.transposed()
            }
            try add(module.name + ".lora_b", to: &layout.records) { () throws(ExpressionError) in
                try module.b.transposed()
            }
            guard let magnitude = module.magnitude else { continue }
            try add(module.name + ".m", to: &layout.records) { () throws(ExpressionError) in magnitude }
        }
        layout.config = mlxConfig(rank: first.rank, scale: first.scale)
        return layout
    }

    private func mlxConfig(rank: Int, scale: Double) -> EmbeddedFile? {
        var keys: [String] = []
        for module in modules {
            // Keys are relative to a layer, or to the model for modules outside of layers.
            let path = module.name.split(separator: ".").map(String.init)
            let layer = path.firstIndex { Int($0) != nil }
            let key = layer.map { path[($0 + 1)...].joined(separator: ".") } ?? module.name
            if !keys.contains(key) { keys.append(key) }
        }
        var members: [JSONMember] = []
        if let model = settings.baseModel { members.append(.init("model", .string(model))) }
        members += [
            .init("fine_tune_type", .string(settings.usesMagnitudes ? "dora" : "lora")),
            // All layers: those without weights of their own stay as they are.
            .init("num_layers", .integer(-1)),
            .init(
                "lora_parameters",
                .object([
                    .init("rank", .integer(rank)), .init("scale", .number("\(scale)")),
                    .init("dropout", .number("0.0")), .init("keys", .array(keys.map { .string($0) })),
                ])),
        ]
        let text = JSONValue.object(members).serialized(indent: 4)
        return EmbeddedFile(
            name: "adapter_config.json", source: MemorySource(name: "adapter_config.json", contents: text))
    }
}

/// An `adapter_config.json` that PEFT reads.
struct PEFTConfig {
    private let settings: AdapterSettings
    private let targets: [String]
    /// The ranks of modules that have another than the settings'; each is its own alpha too.
    private let ranks: [String: Int]

    init(_ settings: AdapterSettings, targets: [String], ranks: [String: Int]) {
        self.settings = settings
        self.targets = targets
        self.ranks = ranks
    }

    var file: EmbeddedFile? {
        let patterns = JSONValue.object(
            ranks.sorted { $0.key < $1.key }.map { JSONMember($0.key, .integer($0.value)) })
        let alpha = settings.alpha
        let isWhole = alpha == alpha.rounded() && abs(alpha) < 1e15
        let members: [JSONMember] = [
            .init("peft_type", .string("LORA")),
            .init("task_type", settings.taskType.map { .string($0) } ?? .null),
            .init("base_model_name_or_path", settings.baseModel.map { .string($0) } ?? .null),
            .init("r", .integer(settings.rank)),
            .init("lora_alpha", isWhole ? .integer(Int64(alpha)) : .number("\(alpha)")),
            .init("lora_dropout", .number("0.0")), .init("use_dora", .bool(settings.usesMagnitudes)),
            .init("use_rslora", .bool(settings.usesRootScale)), .init("bias", .string(settings.bias)),
            .init("fan_in_fan_out", .bool(settings.isFanInFanOut)), .init("inference_mode", .bool(true)),
            .init("init_lora_weights", .bool(true)), .init("rank_pattern", patterns),
            .init("alpha_pattern", patterns), .init("target_modules", .array(targets.map { .string($0) })),
            .init(
                "modules_to_save",
                settings.modulesToSave.isEmpty
                    ? .null : .array(settings.modulesToSave.map { .string($0) })),
        ]
        let text = JSONValue.object(members).serialized(indent: 2) + [0x0A]
        return EmbeddedFile(
            name: "adapter_config.json", source: MemorySource(name: "adapter_config.json", contents: text))
    }

    /// What names the modules: their last components where every layer has the same, else whole paths.
    static func targets(_ modules: [String]) -> [String] {
        var layers: [Int: Set<String>] = [:]
        for module in modules {
            let path = module.split(separator: ".").map(String.init)
            guard let place = path.firstIndex(where: { Int($0) != nil }), let layer = Int(path[place]) else {
                return modules.sorted()
            }
            layers[layer, default: []].insert(path.last ?? "")
        }
        let numbers = layers.keys.sorted()
        guard numbers == Array(0..<numbers.count), let first = layers[0],
            layers.values.allSatisfy({ $0 == first }), modules.count == first.count * numbers.count
        else { return modules.sorted() }
        return first.sorted()
    }
}
