internal import Architectures
internal import Checkpoints
internal import StrictJSON
internal import TensorCore

/// Makes a checkpoint of GGUF headers.
struct GGUFReader {
    private let options: ReadOptions

    init(_ options: ReadOptions) { self.options = options }

    func read(_ set: GGUFShardSet) throws(CheckpointError) -> Checkpoint {
        var checkpoint = Checkpoint(
            format: "gguf", tensors: [],
            files: set.shards.map { SourceFile(path: $0.name, source: $0.source) })
        var tensors: [TensorRecord] = []
        for shard in set.shards {
            for info in shard.header.tensors {
                guard let expression = try expression(info, in: shard) else {
                    checkpoint.skipped.append(
                        SkippedItem(
                            name: info.name.string, reason: "\(info.type.name) blocks, which are not decoded",
                            tensorCount: 1))
                    continue
                }
                tensors.append(TensorRecord(name: info.name, expression))
            }
            addTrailingWarning(shard, to: &checkpoint)
        }
        checkpoint.values = Self.values(set.main)
        let config = try addModel(set, tensors, to: &checkpoint)
        checkpoint.tensors = TensorTable(try renamed(tensors, set, config, &checkpoint))
        addTokenizer(set, to: &checkpoint)
        return checkpoint
    }

    /// The keys whose values are short.
    private static func values(_ header: GGUFHeader) -> [JSONMember] {
        header.pairs.prefix(1024).compactMap { pair in
            let value: JSONValue? =
                switch pair.value {
                case .string(let text): text.utf8.count <= 1024 ? .string(text) : nil
                case .bool(let value): .bool(value)
                case .uint64(let value): .integer(value)
                case .float32(let value): value.isFinite ? .number("\(value)") : nil
                case .float64(let value): value.isFinite ? .number("\(value)") : nil
                case .strings, .numbers: nil
                default: pair.value.int.map { .integer($0) }
                }
            return value.map { JSONMember(pair.key, $0) }
        }
    }

    /// The numbers of a tensor; nil where they cannot be decoded and may be left out.
    private func expression(
        _ info: GGUFTensorInfo, in shard: GGUFShardSet.Shard
    ) throws(CheckpointError) -> TensorExpression? {
        let extent = TensorSource.extent(
            Extent(
                source: shard.source, offset: shard.header.dataOffset + info.offset,
                byteCount: info.byteCount))
        do throws(ExpressionError) {
            if let dtype = info.type.dtype {
                return try TensorExpression(dtype: dtype, shape: info.shape, source: extent)
            }
            if let format = info.type.format {
                let source = try BlockMap(extent, codec: BlockDecoder(format))
                return try TensorExpression(dtype: .f32, shape: info.shape, source: .computed(source))
            }
        } catch {
            throw CheckpointError(
                .malformed, "gguf-shape", error.description, file: shard.name, tensor: info.name)
        }
        if options.skipsUnsupported || options.listsUnsupported { return nil }
        throw CheckpointError(
            .unsupported, "gguf-tensor-type",
            "its elements are \(info.type.name) blocks, which are not decoded: leave such tensors out with "
                + "--skip-unsupported", file: shard.name, tensor: info.name)
    }

    private func addTrailingWarning(_ shard: GGUFShardSet.Shard, to checkpoint: inout Checkpoint) {
        let end = shard.header.dataOffset + shard.header.dataByteCount
        guard shard.source.byteCount > end else { return }
        checkpoint.warnings.append(
            CheckpointWarning(
                "trailing-bytes", "\(shard.source.byteCount - end) bytes follow the last tensor",
                file: shard.name, offset: end))
    }
}

// MARK: - The model around the tensors

extension GGUFReader {
    /// Adds the config and the defaults for generation, and returns the config.
    private func addModel(
        _ set: GGUFShardSet, _ tensors: [TensorRecord], to checkpoint: inout Checkpoint
    ) throws(CheckpointError) -> JSONValue? {
        var facts: [TensorName: GGUFConfig.TensorFacts] = [:]
        for tensor in tensors {
            facts[tensor.name] = GGUFConfig.TensorFacts(
                dtype: tensor.dtype, shape: tensor.shape, values: try Self.factors(tensor))
        }
        guard var config = GGUFConfig(set.main, tensors: facts) else { return nil }
        let json = config.make()
        for problem in config.problems {
            checkpoint.warnings.append(CheckpointWarning("config-incomplete", problem, file: set.name))
        }
        guard let json else { return nil }
        for (name, contents) in [("config.json", json), ("generation_config.json", config.generation())] {
            guard let contents else { continue }
            let source = MemorySource(name: name, contents: contents.serialized(indent: 2) + [0x0A])
            if let file = EmbeddedFile(name: name, source: source) { checkpoint.embedded.append(file) }
        }
        return json
    }

    /// The values of the small tensors that become a part of the config.
    private static func factors(_ tensor: TensorRecord) throws(CheckpointError) -> [Float]? {
        let names: [TensorName] = [
            "rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight",
        ]
        guard names.contains(tensor.name), tensor.dtype == .f32, tensor.byteCount <= 1 << 14 else {
            return nil
        }
        var floats: [Float] = []
        do throws(IOError) {
            let bytes = try [UInt8](count: Int(tensor.byteCount)) { (buffer) throws(IOError) in
                try tensor.source.read(at: 0, into: &buffer)
            }
            floats = GGUFNumbers(kind: .float32, bytes: bytes).floats ?? []
        } catch { throw CheckpointError(error) }
        return floats.allSatisfy(\.isFinite) ? floats : nil
    }

    /// The tensors under the names that transformers has for them; under their own where the model is not known.
    private func renamed(
        _ tensors: [TensorRecord], _ set: GGUFShardSet, _ config: JSONValue?, _ checkpoint: inout Checkpoint
    ) throws(CheckpointError) -> [TensorRecord] {
        guard options.names != .stored else {
            checkpoint.embedded = []
            return tensors
        }
        let name = set.main["general.architecture"]?.string ?? ""
        let hasExperts = set.main["\(name).expert_count"]?.int ?? 0 > 0
        guard let config, let map = ArchitectureMap.find(ggufArchitecture: name, hasExperts: hasExperts)
        else {
            checkpoint.embedded = []
            checkpoint.warnings.append(
                CheckpointWarning(
                    "gguf-architecture",
                    "the tensors keep their names and there is no config.json: "
                        + (GGUFArchitecture.of(set.main) == nil
                            ? "models of the architecture '\(escapedForDisplay(name))' are not known"
                            : "the header does not say enough of the model"),
                    file: set.name))
            return tensors
        }
        let table = try map.map(
            tensors, from: "gguf", to: ArchitectureMap.canonicalScheme,
            dimensions: map.dimensions(config: config),
            unmapped: .kept, isPartial: options.skipsUnsupported || options.listsUnsupported, file: set.name)
        for name in table.ignored {
            checkpoint.skipped.append(
                SkippedItem(name: name.string, reason: "follows from the config", tensorCount: 1))
        }
        for name in table.unmapped {
            checkpoint.warnings.append(
                CheckpointWarning(
                    "tensor-unmapped", "the names of \(map.name) do not have it, so it keeps its own",
                    file: set.name, tensor: name))
        }
        return table.tensors
    }

    private func addTokenizer(_ set: GGUFShardSet, to checkpoint: inout Checkpoint) {
        if let file = GGUFTokenizer.templateFile(set.main) { checkpoint.embedded.append(file) }
        do throws(GGUFTokenizer.Problem) {
            guard let tokenizer = try GGUFTokenizer(set.main) else { return }
            checkpoint.embedded += tokenizer.files()
        } catch {
            checkpoint.warnings.append(
                CheckpointWarning(
                    "tokenizer-left-out",
                    "the tokenizer is left out, because \(error.text): take that of the original model",
                    file: set.name))
        }
    }
}
