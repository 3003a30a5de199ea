public import Checkpoints
public import StrictJSON
internal import TensorCore

/// What a LoRA adapter says about itself: the settings that decide how it changes a model.
public struct AdapterSettings: Sendable {
    /// The rank of modules for which no pattern says another.
    public var rank: Int
    /// What the update of a module is multiplied by, times its rank (or the root of it).
    public var alpha: Double
    /// Whether the scale is `alpha / √rank` rather than `alpha / rank`.
    public var usesRootScale = false
    /// Whether weights are scaled to a magnitude for each output (DoRA).
    public var usesMagnitudes = false
    /// Whether weights are stored with the inputs first, as in GPT-2.
    public var isFanInFanOut = false
    /// Which biases were trained: `none`, `all` or `lora_only`.
    public var bias = "none"
    /// Whether the update of a module has a bias of its own.
    public var hasUpdateBias = false
    /// Modules that were trained as a whole.
    public var modulesToSave: [String] = []
    /// Parameters that were updated themselves, such as the stacked weights of experts.
    public var targetParameters: [String] = []
    /// The rows of embeddings that were trained, by the module's name; empty for the model's input embedding.
    public var tokenIndices: [(module: String, indices: [UInt64])] = []
    /// Whether tied embeddings were trained as one.
    public var ensuresTying = false
    /// The model that the adapter was trained on, as the trainer called it.
    public var baseModel: String?
    /// `task_type`, such as `CAUSAL_LM`.
    public var taskType: String?
    var rankPatterns: [(pattern: ModulePattern, value: Double)] = []
    var alphaPatterns: [(pattern: ModulePattern, value: Double)] = []

    /// Makes settings.
    public init(rank: Int, alpha: Double) {
        self.rank = rank
        self.alpha = alpha
    }

    /// The rank that a module should have.
    func rank(of module: String) -> Int {
        rankPatterns.first { $0.pattern.matches(module) }.map { Int($0.value) } ?? rank
    }

    /// Whether a tensor is of a module that was trained as a whole, by its path or a part of that.
    func saves(_ name: String) -> Bool {
        let path = name.split(separator: ".").dropLast().map(String.init)
        let whole = path.joined(separator: ".")
        return modulesToSave.contains { saved in
            whole.utf8.elementsEqual(saved.utf8) || whole.hasSuffix("." + saved)
                || path.contains { $0.utf8.elementsEqual(saved.utf8) }
        }
    }

    /// The size of all patterns.
    var patternSize: Int {
        (rankPatterns + alphaPatterns).reduce(0) { $0 + $1.pattern.instructionCount }
    }

    /// What the product of a module's factors is multiplied by.
    func scale(of module: String) -> Double {
        let alpha = alphaPatterns.first { $0.pattern.matches(module) }?.value ?? alpha
        let rank = Double(rank(of: module))
        return alpha / (usesRootScale ? rank.squareRoot() : rank)
    }
}

// MARK: - PEFT

extension AdapterSettings {
    /// Settings that change what an adapter does in ways that are not merged, with what they are.
    private static let refusals: [(key: String, what: String)] = [
        ("layer_replication", "copies layers of the base"),
        ("alora_invocation_tokens", "acts from certain tokens on only (aLoRA), so no weights are the same"),
        ("use_qalora", "pools inputs (QA-LoRA)"), ("use_bdlora", "has factors in diagonal blocks (BD-LoRA)"),
        ("arrow_config", "routes between adapters (Arrow)"), ("kasa_config", "truncates the base (KaSA)"),
        ("monteclora_config", "draws its weights (MonteCLoRA)"),
    ]

    /// The most names in a list: far more than any adapter has, and few enough to be compared with all tensors.
    private static let nameLimit = 4096
    /// The most rows of an embedding that are trained on their own.
    private static let tokenLimit = 1 << 16

    /// Ways to begin that change the base before training.
    private static let beginnings = ["pissa", "olora", "corda", "loftq", "lora_ga"]

    /// Reads `adapter_config.json`.
    ///
    /// - Parameters:
    ///   - json: the document.
    ///   - file: its path, for messages.
    public init(peft json: JSONValue, file: String) throws(CheckpointError) {
        func refuse(_ code: String, _ message: String) -> CheckpointError {
            CheckpointError(.unsupported, code, message, file: file)
        }
        guard let type = json["peft_type"]?.string else {
            throw CheckpointError(.malformed, "adapter-config", "it has no peft_type", file: file)
        }
        guard type == "LORA" else {
            throw refuse(
                "adapter-type", "the adapter is of type \(escapedForDisplay(type)); only LORA is merged")
        }
        for (key, what) in Self.refusals where json[key].map(Self.isSet) ?? false {
            throw refuse("adapter-kind", "\(key) is set: the adapter \(what), which is not merged")
        }
        if let begin = json["init_lora_weights"]?.string?.lowercased(),
            let known = Self.beginnings.first(where: begin.hasPrefix)
        {
            throw refuse(
                "adapter-base-changed",
                "init_lora_weights is \(known), which changes the base before training: save the adapter "
                    + "with path_initial_model_for_weight_conversion, so that it fits the original base")
        }
        let rank = json["r"]?.int64 ?? 8
        guard (1...Int64(Int32.max)).contains(rank) else {
            throw CheckpointError(.malformed, "adapter-config", "the rank r is \(rank)", file: file)
        }
        let alpha = json["lora_alpha"]?.double ?? 8
        guard Float(alpha).isFinite else {
            throw CheckpointError(.malformed, "adapter-config", "lora_alpha is \(alpha)", file: file)
        }
        self.init(rank: Int(rank), alpha: alpha)
        usesRootScale = json["use_rslora"]?.bool ?? false
        usesMagnitudes = json["use_dora"]?.bool ?? false
        isFanInFanOut = json["fan_in_fan_out"]?.bool ?? false
        bias = json["bias"]?.string ?? "none"
        hasUpdateBias = json["lora_bias"]?.bool ?? false
        modulesToSave = try Self.names(json["modules_to_save"], "modules_to_save", file)
        targetParameters = try Self.names(json["target_parameters"], "target_parameters", file)
        ensuresTying = json["ensure_weight_tying"]?.bool ?? false
        baseModel = json["base_model_name_or_path"]?.string
        taskType = json["task_type"]?.string
        rankPatterns = try Self.patterns(json["rank_pattern"], "rank_pattern", file)
        alphaPatterns = try Self.patterns(json["alpha_pattern"], "alpha_pattern", file)
        tokenIndices = try Self.tokens(json["trainable_token_indices"], file)
    }

    private static func isSet(_ value: JSONValue) -> Bool {
        switch value {
        case .null, .bool(false): false
        case .array(let elements): !elements.isEmpty
        case .object(let members): !members.isEmpty
        default: true
        }
    }

    private static func names(
        _ value: JSONValue?, _ key: String, _ file: String
    ) throws(CheckpointError) -> [String] {
        let names = value?.elements?.compactMap(\.string) ?? []
        guard names.count <= nameLimit else { throw tooMany(key, names.count, file) }
        return names
    }

    private static func tooMany(_ key: String, _ count: Int, _ file: String) -> CheckpointError {
        CheckpointError(
            .unsupported, "adapter-too-large", "\(key) has \(count) entries, more than are taken", file: file)
    }

    private static func patterns(
        _ value: JSONValue?, _ key: String, _ file: String
    ) throws(CheckpointError) -> [(pattern: ModulePattern, value: Double)] {
        var result: [(pattern: ModulePattern, value: Double)] = []
        for member in value?.members ?? [] {
            guard let number = member.value.double, Float(number).isFinite,
                key != "rank_pattern" || (1...Double(Int32.max)).contains(number)
            else {
                throw CheckpointError(
                    .malformed, "adapter-config",
                    "\(key) has no fit number for \(escapedForDisplay(member.key))", file: file)
            }
            do { result.append((try ModulePattern(parsing: member.key), number)) } catch {
                throw CheckpointError(
                    .unsupported, "adapter-pattern", "\(key): \(error.description)", file: file)
            }
        }
        let cost = result.reduce(0) { $0 + $1.pattern.instructionCount }
        guard result.count <= 1 << 16, cost <= PatternProgram.limit else {
            throw tooMany(key, result.count, file)
        }
        return result
    }

    private static func tokens(
        _ value: JSONValue?, _ file: String
    ) throws(CheckpointError) -> [(module: String, indices: [UInt64])] {
        func indices(_ list: [JSONValue]) throws(CheckpointError) -> [UInt64] {
            let result = list.compactMap(\.uint64)
            guard list.count <= tokenLimit else { throw tooMany("trainable_token_indices", list.count, file) }
            guard result.count == list.count, Set(result).count == result.count else {
                throw CheckpointError(
                    .malformed, "adapter-config",
                    "trainable_token_indices holds something else than different indices", file: file)
            }
            return result
        }
        if let list = value?.elements { return [("", try indices(list))] }
        guard value?.members?.count ?? 0 <= nameLimit else {
            throw tooMany("trainable_token_indices", value?.members?.count ?? 0, file)
        }
        var result: [(module: String, indices: [UInt64])] = []
        for member in value?.members ?? [] {
            result.append((member.key, try indices(member.value.elements ?? [])))
        }
        return result
    }
}
