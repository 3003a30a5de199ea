internal import Checkpoints
internal import StrictJSON
internal import TensorCore

/// Walks an ONNX model: the initializers of its main graph are the tensors, what else holds tensors is listed.
struct ONNXReader {
    private let file: WeightsFile
    private let options: ReadOptions
    private var tensors: ONNXTensorReader
    private var records: [TensorRecord] = []
    private var names: Set<TensorName> = []
    private var skipped: [SkippedItem] = []
    private var unlisted = 0
    private var metadata: [(key: String, value: String)] = []
    private var values: [JSONMember] = []
    private var opsets: [JSONValue] = []
    private var hasGraph = false

    /// How deep graphs may stand in each other, how many tensors there may be, and how many are listed by name
    /// that are left out.
    private static let depthLimit = 32
    private static let tensorLimit = 1_000_000
    private static let listLimit = 1000

    init(file: WeightsFile, options: ReadOptions) {
        self.file = file
        self.options = options
        tensors = ONNXTensorReader(file: file)
    }

    /// Reads the model that the file is.
    mutating func read() throws(CheckpointError) -> Checkpoint {
        var model = ProtobufFile(file.source, name: file.name).message
        while let field = try model.next() {
            switch field.number {
            case 1: set("ir_version", .integer(try model.number(field)))
            case 2: set("producer_name", .string(try model.text(field)))
            case 3: set("producer_version", .string(try model.text(field)))
            case 5: set("model_version", .integer(try model.number(field)))
            case 7:
                hasGraph = true
                try readGraph(try model.message(field), depth: 0)
            case 8: try readOpset(try model.message(field))
            case 14: try readProperty(try model.message(field))
            case 20: try readTraining(try model.message(field))
            case 25: try readFunction(try model.message(field))
            default: break
            }
        }
        guard hasGraph else {
            throw CheckpointError(
                .malformed, "not-onnx", "it has no graph, so it is no ONNX model", file: file.name)
        }
        return checkpoint
    }

    private var checkpoint: Checkpoint {
        var result = Checkpoint(
            format: "onnx", tensors: records,
            files: [SourceFile(path: file.name, source: file.source)]
                + tensors.externalFiles.map {
                    SourceFile(path: String(decoding: $0.location, as: UTF8.self), source: $0.source)
                }, skipped: skipped, warnings: warnings)
        if unlisted > 0 {
            result.skipped.append(
                SkippedItem(
                    name: "\(unlisted) more", reason: "left out for reasons like these", tensorCount: unlisted
                ))
        }
        var known: Set<ByteKey> = []
        result.metadata = MetadataTable(metadata.filter { known.insert(ByteKey($0.key)).inserted })
        result.values = values
        if !opsets.isEmpty { result.values.append(JSONMember("opset_import", .array(opsets))) }
        return result
    }

    /// Notes a value; of a field that comes twice the last counts.
    private mutating func set(_ key: String, _ value: JSONValue) {
        values.removeAll { $0.key == key }
        values.append(JSONMember(key, value))
    }

    private var warnings: [CheckpointWarning] {
        var result = tensors.widened.sorted { $0.key < $1.key }.map { item in
            CheckpointWarning(
                "widened",
                "\(item.value) tensors of \(item.key) are read with a byte for each number, as no dtype is so narrow",
                file: file.name)
        }
        if tensors.hasChecksum {
            result.append(
                CheckpointWarning(
                    "checksum-unchecked", "the SHA-1 that it states for external data is not checked",
                    file: file.name))
        }
        return result
    }

    // MARK: - Graphs

    private mutating func readGraph(_ message: ProtobufMessage, depth: Int) throws(CheckpointError) {
        guard depth < Self.depthLimit else {
            throw message.file.error(
                "nesting-limit", "graphs stand in each other more than \(Self.depthLimit) deep",
                at: message.range.lowerBound)
        }
        var graph = message
        while let field = try graph.next() {
            switch field.number {
            case 1: try readNode(try graph.message(field), depth: depth)
            case 2 where depth == 0: set("graph_name", .string(try graph.text(field)))
            case 5: try readInitializer(try graph.message(field), isMain: depth == 0)
            case 15: try readSparse(try graph.message(field), isMain: depth == 0)
            default: break
            }
        }
    }

    private mutating func readInitializer(
        _ message: ProtobufMessage, isMain: Bool
    ) throws(CheckpointError) {
        let tensor = try ONNXTensor(message)
        let name = TensorName(utf8: tensor.name)
        guard isMain else { return list(name.string, "an initializer of a graph inside the computation") }
        guard !tensor.name.isEmpty, String(validating: tensor.name, as: UTF8.self) != nil else {
            throw message.file.error(
                "name-missing", "an initializer has no name in UTF-8", at: message.range.lowerBound)
        }
        // Texts are no weights.
        if tensor.type == 8 { return list(name.string, "strings") }
        guard records.count < Self.tensorLimit else {
            throw message.file.error(
                "tensor-limit", "it has more than \(Self.tensorLimit) initializers", at: tensor.offset)
        }
        do {
            let expression = try tensors.expression(tensor)
            try claim(name, at: tensor.offset)
            records.append(TensorRecord(name: name, expression))
        } catch {
            guard options.skipsUnsupported, error.class == .unsupported else { throw error }
            list(name.string, error.message)
        }
    }

    private mutating func claim(_ name: TensorName, at offset: UInt64) throws(CheckpointError) {
        guard names.insert(name).inserted else {
            throw CheckpointError(
                .malformed, "duplicate-name", "two initializers have this name", file: file.name,
                tensor: name,
                offset: offset)
        }
    }

    private mutating func readSparse(_ message: ProtobufMessage, isMain: Bool) throws(CheckpointError) {
        var sparse = message
        var name = ""
        while let field = try sparse.next() {
            guard field.number == 1 else { continue }
            name = String(decoding: try ONNXTensor(try sparse.message(field)).name, as: UTF8.self)
        }
        guard isMain, !options.skipsUnsupported else { return list(name, "a sparse initializer") }
        throw CheckpointError(
            .unsupported, "sparse-tensor",
            "it is stored as its elements other than zero, which is not read; --skip-unsupported leaves it out",
            file: file.name, tensor: TensorName(name), offset: message.range.lowerBound)
    }

    /// A node: constants are listed, and graphs that it holds are walked.
    private mutating func readNode(_ message: ProtobufMessage, depth: Int) throws(CheckpointError) {
        var node = message
        var (output, operation): ([UInt8], [UInt8]) = ([], [])
        var holdsTensor = false
        while let field = try node.next() {
            switch field.number {
            case 2 where output.isEmpty: output = try node.rawText(field)
            case 4: operation = try node.rawText(field)
            case 5:
                var attribute = try node.message(field)
                while let part = try attribute.next() {
                    switch part.number {
                    case 5, 10, 22, 23: holdsTensor = true
                    case 6, 11: try readGraph(try attribute.message(part), depth: depth + 1)
                    default: break
                    }
                }
            default: break
            }
        }
        if holdsTensor, operation.elementsEqual("Constant".utf8) {
            list(String(decoding: output, as: UTF8.self), "a constant inside the computation")
        }
    }

    private mutating func list(_ name: String, _ reason: String) {
        guard skipped.count < Self.listLimit else {
            unlisted += 1
            return
        }
        skipped.append(SkippedItem(name: name, reason: reason, tensorCount: 1))
    }

    // MARK: - What stands beside the graph

    private mutating func readOpset(_ message: ProtobufMessage) throws(CheckpointError) {
        var message = message
        var (domain, version) = ("", 0 as UInt64)
        while let field = try message.next() {
            if field.number == 1 { domain = try message.text(field) }
            if field.number == 2 { version = try message.number(field) }
        }
        guard opsets.count < Self.listLimit else { return }
        opsets.append(
            .object([JSONMember("domain", .string(domain)), JSONMember("version", .integer(version))]))
    }

    private mutating func readProperty(_ message: ProtobufMessage) throws(CheckpointError) {
        var message = message
        var (key, value) = ("", "")
        while let field = try message.next() {
            if field.number == 1 { key = try message.text(field) }
            if field.number == 2 {
                guard let range = field.bytes, range.upperBound - range.lowerBound <= 1 << 20 else { return }
                value = try message.text(field, limit: 1 << 20)
            }
        }
        if metadata.count < Self.listLimit { metadata.append((key, value)) }
    }

    /// The graphs for training hold values of their own, which are no weights of the model.
    private mutating func readTraining(_ message: ProtobufMessage) throws(CheckpointError) {
        var message = message
        while let field = try message.next() {
            guard field.number == 1 || field.number == 2 else { continue }
            try readGraph(try message.message(field), depth: 1)
        }
    }

    private mutating func readFunction(_ message: ProtobufMessage) throws(CheckpointError) {
        var message = message
        while let field = try message.next() {
            if field.number == 7 { try readNode(try message.message(field), depth: 1) }
        }
    }
}
