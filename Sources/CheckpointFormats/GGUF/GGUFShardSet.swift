internal import Checkpoints
internal import TensorCore

/// The files of one model: a single one, or all that it was split into, in order.
struct GGUFShardSet {
    /// A file with its header.
    struct Shard {
        var source: any ByteSource
        var name: String
        var header: GGUFHeader
    }

    /// The files; at least one.
    private(set) var shards: [Shard]

    /// The header with the keys of the model.
    var main: GGUFHeader { shards[0].header }
    /// The name of the file with the keys of the model.
    var name: String { shards[0].name }

    /// The most files that a model may be split into.
    private static let countLimit = 4096

    /// Reads the header of a file, and of all that belong to it.
    init(_ file: WeightsFile) throws(CheckpointError) {
        let header = try GGUFHeader(reading: file.source, file: file.name)
        let count = header["split.count"]?.int ?? 0
        guard count > 1 else {
            shards = [Shard(source: file.source, name: file.name, header: header)]
            return
        }
        guard count <= Self.countLimit, let name = ShardName(file.name), name.set.count == count else {
            throw CheckpointError(
                .malformed, "gguf-split",
                "it is one of \(count) files, and its name is not such as model-00001-of-00002.gguf",
                file: file.name)
        }
        shards = []
        var byteCount = 0
        for number in 1...count {
            let shard =
                number == name.number
                ? Shard(source: file.source, name: file.name, header: header)
                : try Self.open(number, of: name.set, beside: file)
            try Self.check(shard, number: number, count: count)
            byteCount += shard.header.pairs.reduce(0) { $0 + $1.byteCount } + 200 * shard.header.tensors.count
            guard byteCount <= GGUFHeader.byteCountLimit else {
                throw CheckpointError(
                    .malformed, "gguf-header-too-large",
                    "the headers of the \(count) files together are too large", file: shard.name)
            }
            shards.append(shard)
        }
        try checkTensors()
    }

    private static func open(
        _ number: Int, of set: ShardName.Set, beside file: WeightsFile
    ) throws(CheckpointError) -> Shard {
        let name = "\(set.prefix)-\(padded(number))-of-\(padded(set.count))\(set.suffix)"
        let source = try file.sibling(name)
        return Shard(source: source, name: name, header: try GGUFHeader(reading: source, file: name))
    }

    private static func padded(_ number: Int) -> String {
        let digits = String(number)
        return String(repeating: "0", count: max(0, 5 - digits.count)) + digits
    }

    private static func check(_ shard: Shard, number: Int, count: Int) throws(CheckpointError) {
        let (own, total) = (shard.header["split.no"]?.int, shard.header["split.count"]?.int)
        guard own == number - 1, total == count else {
            throw CheckpointError(
                .malformed, "gguf-split",
                "it should be file \(number) of \(count), and its header says "
                    + "\(own.map { String($0 &+ 1) } ?? "nothing") of \(total.map { String($0) } ?? "nothing")",
                file: shard.name)
        }
    }

    /// All tensors are there, each once.
    private func checkTensors() throws(CheckpointError) {
        var names: Set<TensorName> = []
        for shard in shards {
            for tensor in shard.header.tensors where !names.insert(tensor.name).inserted {
                throw CheckpointError(
                    .malformed, "duplicate-across-shards", "the tensor is in another file of the set too",
                    file: shard.name, tensor: tensor.name)
            }
        }
        if let total = main["split.tensors.count"]?.int, total != names.count {
            throw CheckpointError(
                .malformed, "gguf-split", "the files have \(names.count) tensors, and should have \(total)",
                file: name)
        }
    }
}

extension GGUFPair {
    /// About the bytes that the pair takes in memory.
    fileprivate var byteCount: Int {
        switch value {
        case .strings(let strings): 100 + strings.byteCount + 4 * strings.count
        case .numbers(let numbers): 100 + numbers.bytes.count
        case .string(let text): 100 + text.utf8.count
        default: 100
        }
    }
}
