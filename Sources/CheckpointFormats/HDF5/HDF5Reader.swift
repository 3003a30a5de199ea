internal import Checkpoints
internal import StrictJSON
internal import TensorCore

/// Walks the groups of an HDF5 file: every dataset is a tensor with its path as its name.
struct HDF5Reader {
    private let file: HDF5File
    private let display: WeightsFile
    private let options: ReadOptions
    private let cache = HDF5ChunkCache()
    private var tensors: [TensorRecord] = []
    private var names: Set<TensorName> = []
    private var skipped: [SkippedItem] = []
    private var layerNames: [JSONMember] = []
    private var visited: Set<UInt64> = []
    private var nameByteCount = 0

    private static let depthLimit = 64
    private static let nameByteLimit = 64 << 20

    init(_ file: HDF5File, of display: WeightsFile, options: ReadOptions) {
        self.file = file
        self.display = display
        self.options = options
    }

    /// The table of the file.
    mutating func read(format: String) throws(CheckpointError) -> Checkpoint {
        let top = try HDF5Object(in: file, at: file.root)
        var values: [JSONMember] = []
        for name in ["keras_version", "backend", "model_config", "training_config"] {
            guard let text = try top.text(ofAttribute: name) else { continue }
            let json = (try? JSONValue(parsing: text)) ?? .string(String(decoding: text, as: UTF8.self))
            values.append(JSONMember(name, json))
        }
        let (start, root) = try selection(top)
        try walk(start, path: [], depth: 0, isTop: true)
        var checkpoint = Checkpoint(
            format: format, tensors: tensors, files: [SourceFile(path: display.name, source: display.source)],
            skipped: skipped, root: root)
        if !layerNames.isEmpty { values.append(JSONMember("layer_names", .object(layerNames))) }
        checkpoint.values = values
        checkpoint.warnings += KerasConfig.warnings(
            values.first { $0.key == "model_config" }?.value, file: display.name)
        return checkpoint
    }

    /// The group that holds the weights: the one that was asked for, or that of a whole model.
    private mutating func selection(
        _ top: HDF5Object
    ) throws(CheckpointError) -> (group: HDF5Object, root: String?) {
        guard let wanted = options.root else {
            guard let links = try HDF5Group(top)?.links,
                let address = links.first(where: { $0.name.elementsEqual("model_weights".utf8) })?.address
            else { return (top, nil) }
            for link in links where !link.name.elementsEqual("model_weights".utf8) {
                skipped.append(
                    SkippedItem(
                        name: String(decoding: link.name, as: UTF8.self), reason: "not the model's weights"))
            }
            return (try HDF5Object(in: file, at: address), "model_weights")
        }
        var group = top
        for part in wanted.utf8.split(separator: 0x2F) {
            let link = try HDF5Group(group)?.links.first { $0.name.elementsEqual(part) }
            guard let address = link?.address else {
                throw file.error(
                    .malformed, "root-missing", "it has no group '\(escapedForDisplay(wanted))'", at: 0)
            }
            group = try HDF5Object(in: file, at: address)
        }
        return (group, wanted)
    }

    private mutating func walk(
        _ object: HDF5Object, path: [UInt8], depth: Int, isTop: Bool = false
    ) throws(CheckpointError) {
        guard let group = try HDF5Group(object) else { return try addDataset(object, path) }
        guard depth < Self.depthLimit else {
            throw file.error(
                .malformed, "nesting-limit", "groups are nested more than \(Self.depthLimit) deep",
                at: object.address)
        }
        let name = String(decoding: path, as: UTF8.self)
        guard visited.insert(object.address).inserted else {
            skipped.append(SkippedItem(name: name, reason: "a second name of a group"))
            return
        }
        if path.suffix(5).elementsEqual("/vars".utf8), let title = try object.text(ofAttribute: "name") {
            layerNames.append(
                JSONMember(String(name.dropLast(5)), .string(String(decoding: title, as: UTF8.self))))
        }
        let isKeras = isTop && group.links.contains { Self.kerasGroups.contains(ByteKey($0.name)) }
        for link in group.links {
            let inner = path.isEmpty ? link.name : path + [0x2F] + link.name
            nameByteCount += inner.count
            guard nameByteCount <= Self.nameByteLimit else {
                throw file.error(.malformed, "hdf5-limit", "its names are longer than any model's", at: 0)
            }
            let text = String(decoding: inner, as: UTF8.self)
            if isKeras, link.name.elementsEqual("optimizer".utf8) {
                skipped.append(SkippedItem(name: text, reason: "optimizer state"))
            } else if let address = link.address {
                try walk(try HDF5Object(in: file, at: address), path: inner, depth: depth + 1)
            } else {
                skipped.append(SkippedItem(name: text, reason: "a link by a path"))
            }
        }
    }

    private static let kerasGroups: Set<ByteKey> = [
        ByteKey("layers"), ByteKey("_layer_checkpoint_dependencies"),
    ]

    private mutating func addDataset(_ object: HDF5Object, _ path: [UInt8]) throws(CheckpointError) {
        let name = TensorName(utf8: path)
        do throws(CheckpointError) {
            guard let dataset = try HDF5Dataset(object, options: options) else {
                skipped.append(SkippedItem(name: name.string, reason: "no dataset"))
                return
            }
            guard String(validating: path, as: UTF8.self) != nil, !path.isEmpty, names.insert(name).inserted
            else {
                throw file.error(
                    .malformed, "bad-name", "its name is not UTF-8 or not the only one of its kind",
                    at: object.address)
            }
            tensors.append(TensorRecord(name: name, try dataset.expression(cache)))
        } catch {
            guard options.skipsUnsupported, error.class == .unsupported else {
                var named = error
                named.tensor = name
                throw named
            }
            skipped.append(SkippedItem(name: name.string, reason: error.message, tensorCount: 1))
        }
    }
}

/// What a Keras config says that a reader should know of.
enum KerasConfig {
    /// A warning where layers hold code, which is never run.
    static func warnings(_ config: JSONValue?, file: String) -> [CheckpointWarning] {
        guard let config, holdsLambda(config) else { return [] }
        return [
            CheckpointWarning(
                "lambda-layer",
                "the model has Lambda layers, whose code stands in its config; nothing was run",
                file: file)
        ]
    }

    private static func holdsLambda(_ json: JSONValue) -> Bool {
        if let items = json.elements { return items.contains(where: holdsLambda) }
        guard let members = json.members else { return false }
        return members.contains { member in
            member.key.utf8.elementsEqual("class_name".utf8)
                && member.value.string?.utf8.elementsEqual("Lambda".utf8) == true || holdsLambda(member.value)
        }
    }
}
