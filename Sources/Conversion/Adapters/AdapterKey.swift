/// What a tensor of an adapter is, told by its name.
enum AdapterKey {
    /// A part of a module's update; `depth` counts the wrappers around what is updated.
    case part(Part, module: String, depth: Int)
    /// Rows of an embedding.
    case tokenRows(module: String)
    /// A tensor that takes the place of the base's of this name.
    case replacement(String)
    /// Something else.
    case unknown

    enum Part: String {
        case a = "lora_A"
        case b = "lora_B"
        case embeddingA = "lora_embedding_A"
        case embeddingB = "lora_embedding_B"
        case magnitude = "lora_magnitude_vector"
        case bias
    }

    /// Reads a name as PEFT writes it, with or without the adapter's own name in it.
    init(peft name: String) {
        var path = name.split(separator: ".", omittingEmptySubsequences: false).map(String.init)
        if path.starts(with: ["base_model", "model"]) { path.removeFirst(2) }
        self = .unknown
        if let place = path.firstIndex(where: { $0.hasPrefix("lora_") }) {
            var module = Array(path[..<place])
            let rest = path[(place + 1)...]
            guard var part = Part(rawValue: path[place]), !module.isEmpty, rest.count <= 2 else { return }
            switch rest.last {
            case "weight": break
            case "bias":
                guard part == .b else { return }
                part = .bias
            // A parameter without a module of its own: nothing, or the adapter's name.
            default: guard rest.count <= 1, part != .a, part != .b else { return }
            }
            var depth = 0
            while module.last == "base_layer" {
                module.removeLast()
                depth += 1
            }
            self = .part(part, module: module.joined(separator: "."), depth: depth)
        } else if let place = path.firstIndex(of: "token_adapter") {
            guard place > 0, path.count > place + 1, path.count <= place + 3,
                path[place + 1] == "trainable_tokens_delta"
            else { return }
            self = .tokenRows(module: path[..<place].joined(separator: "."))
        } else if let place = path.firstIndex(of: "modules_to_save") {
            let rest = path[(place + 1)...]
            let own = rest.first == "default" ? rest.dropFirst() : rest
            guard !own.isEmpty else { return }
            self = .replacement((path[..<place] + own).joined(separator: "."))
        } else if !path.contains("original_module"), !path.isEmpty {
            self = .replacement(path.filter { $0 != "base_layer" }.joined(separator: "."))
        }
    }

    /// Reads a name as MLX writes it.
    init(mlx name: String) {
        let path = name.split(separator: ".", omittingEmptySubsequences: false)
        let module = path.dropLast().joined(separator: ".")
        switch path.last {
        case "lora_a": self = .part(.a, module: module, depth: 0)
        case "lora_b": self = .part(.b, module: module, depth: 0)
        case "m": self = .part(.magnitude, module: module, depth: 0)
        default:
            // A module in an adapter's wrapper keeps its own parameters below `linear` or `embedding`.
            self = .replacement(name)
        }
    }
}
