internal import Checkpoints
internal import TensorCore

/// The merge of an adapter into the table of a base.
struct AdapterMerge {
    private(set) var table: MergeTable
    private(set) var warnings: [CheckpointWarning] = []
    /// Whether input and output embeddings, which were one, no longer are.
    private(set) var isUntied = false
    let adapter: Adapter
    let config: ModelConfig
    let rounding: MergeRounding
    private let base: Checkpoint
    private let ties: EmbeddingTies
    /// Those of one of the tied embeddings that the adapter has changed, rows of tokens aside.
    private var tiedChanges: Set<Int> = []

    init(_ base: Checkpoint, _ adapter: Adapter, config: ModelConfig, rounding: MergeRounding) {
        self.base = base
        self.adapter = adapter
        self.config = config
        self.rounding = rounding
        table = MergeTable(base.tensors)
        ties = EmbeddingTies(table.records, groups: base.tiedGroups, config: config)
    }

    /// The tensors that differ from the base's.
    var changedCount: Int { table.changed.count }

    mutating func run() throws(CheckpointError) {
        noteBase()
        let original = ties.embedding.map { table[$0] }
        for (name, tensor) in adapter.replacements { try replace(name, tensor) }
        var stacked: [ByteKey: [Adapter.Module]] = [:]
        for module in adapter.modules {
            if isParameters(module) {
                stacked[ByteKey(module.name), default: []].append(module)
            } else {
                try update(module)
            }
        }
        for name in stacked.keys.sorted(by: { $0.bytes.lexicographicallyPrecedes($1.bytes) }) {
            try mergeParameters(of: stacked[name] ?? [])
        }
        for (module, indices, rows) in adapter.tokenRows {
            guard let row = table.row(module + ".weight") else {
                throw unmatched(module + ".weight", what: "rows of tokens")
            }
            let base = try weight(row)
            table.set(
                row,
                try made(for: row) { () throws(ExpressionError) in
                    try base.replacingRows(indices, with: rows)
                })
        }
        if let original { try settleTies(original) }
        table.finish()
    }

    // MARK: Tensors

    private mutating func replace(_ name: String, _ tensor: TensorExpression) throws(CheckpointError) {
        guard let row = try row(name) else {
            guard adapter.settings.saves(name) else { throw unmatched(name, what: "a tensor") }
            let common = table.records.first { $0.dtype.isCastableFloat }?.dtype ?? tensor.dtype
            let dtype = tensor.dtype.isCastableFloat ? common : tensor.dtype
            let cast: TensorExpression
            do { cast = try tensor.cast(to: dtype) } catch { throw misfit(name, error) }
            _ = table.append(name, cast, isChanged: true)
            warnings.append(
                CheckpointWarning(
                    "adapter-adds-tensor",
                    "the base has no such tensor; the adapter's is added, and config.json is not changed for it",
                    file: adapter.path, tensor: TensorName(name)))
            return
        }
        let old = table[row]
        guard old.shape == tensor.shape else {
            let isVocabulary =
                old.shape.count == 2 && tensor.shape.count == 2 && old.shape[1] == tensor.shape[1]
            throw CheckpointError(
                .malformed, "adapter-shape",
                "the adapter's tensor has shape \(tensor.shape), the base's \(old.shape)"
                    + (isVocabulary
                        ? ": its vocabulary was resized, so the base must be resized to \(tensor.shape[0]) rows "
                            + "before the merge" : ""),
                file: adapter.path, tensor: old.name)
        }
        if old.dtype != tensor.dtype { _ = try weight(row) }
        guard old.dtype == tensor.dtype || tensor.dtype.isCastableFloat else {
            throw CheckpointError(
                .malformed, "adapter-dtype",
                "the adapter's tensor is \(tensor.dtype.name), the base's \(old.dtype.name)",
                file: adapter.path,
                tensor: old.name)
        }
        table.set(row, try made(for: row) { () throws(ExpressionError) in try tensor.cast(to: old.dtype) })
        noteTied(row)
    }

    private mutating func update(_ module: Adapter.Module) throws(CheckpointError) {
        guard let row = try row(module.name + ".weight") else {
            throw unmatched(module.name + ".weight", what: "an update")
        }
        let base = try weight(row)
        guard module.a.shape[0] == UInt64(module.rank) else {
            throw CheckpointError(
                .malformed, "adapter-rank",
                "its rank is \(module.a.shape[0]), and adapter_config.json says \(module.rank)",
                file: adapter.path, tensor: table[row].name)
        }
        // The stored shape tells which way round a weight is, but where it is square.
        let isPlain = base.shape == [module.b.shape[0], module.a.shape[1]]
        let isTurned = base.shape == [module.a.shape[1], module.b.shape[0]]
        let fanIn = isTurned && (!isPlain || adapter.settings.isFanInFanOut)
        table.set(
            row,
            try made(for: row) { () throws(ExpressionError) in
                try module.merged(
                    into: base, isFanInFanOut: fanIn, format: adapter.format, rounding: rounding)
            })
        noteTied(row)
        guard module.bias != nil else { return }
        guard let row = table.row(module.name + ".bias") else {
            throw unmatched(module.name + ".bias", what: "an update of the bias (lora_bias)")
        }
        let bias = try weight(row)
        table.set(
            row,
            try made(for: row) { () throws(ExpressionError) in
                try module.merged(intoBias: bias) ?? bias
            })
    }

    /// The row of a name, also of a head that is not stored because it is the embedding.
    private mutating func row(_ name: String) throws(CheckpointError) -> Int? {
        if let row = table.row(name) { return row }
        guard ties.isTied, ties.head == nil, TieResolution.isHead(TensorName(name)),
            let embedding = ties.embedding
        else { return nil }
        let source: TensorExpression
        do { source = try base.tensors[embedding].expression } catch { throw misfit(name, error) }
        return table.append(name, source, isChanged: false)
    }

    /// What becomes of a tensor of the base.
    private func made(
        for row: Int, _ body: () throws(ExpressionError) -> TensorExpression
    ) throws(CheckpointError) -> TensorExpression {
        do { return try body() } catch { throw misfit(table[row].name.string, error) }
    }

    /// A tensor of the base as one that can be computed with.
    private func weight(_ row: Int) throws(CheckpointError) -> TensorExpression {
        let record = table[row]
        guard record.dtype.isCastableFloat, record.dtype != .f64 else {
            let advice =
                record.dtype == .f64
                ? "merging is done in F32; cast the base first"
                : "the base is quantised; merge into the 16-bit model that it was made of"
            throw CheckpointError(
                .unsupported, "adapter-base-dtype", "the base's dtype is \(record.dtype.name): \(advice)",
                file: base.files.first?.source.name ?? "", tensor: record.name)
        }
        do { return try record.expression } catch { throw misfit(record.name.string, error) }
    }

    private func misfit(_ name: String, _ error: ExpressionError) -> CheckpointError {
        CheckpointError(
            .malformed, "adapter-shape", "the adapter does not fit this base: \(error.description)",
            file: adapter.path, tensor: TensorName(name))
    }

    private func unmatched(_ name: String, what: String) -> CheckpointError {
        CheckpointError(
            .malformed, "adapter-unmatched",
            "the adapter has \(what) for it, and the base has no such tensor\(table.near(name))",
            file: adapter.path, tensor: TensorName(name))
    }
}

// MARK: - Ties

extension AdapterMerge {
    private mutating func noteTied(_ row: Int) {
        let isHead = row == ties.head || TieResolution.isHead(table[row].name)
        if ties.isTied, row == ties.embedding || isHead { tiedChanges.insert(row) }
    }

    /// Decides what becomes of embeddings that were one.
    private mutating func settleTies(_ original: TensorRecord) throws(CheckpointError) {
        guard ties.isTied, let embedding = ties.embedding else { return }
        let head = tiedChanges.first { $0 != embedding } ?? ties.head
        if adapter.settings.ensuresTying || tiedChanges.isEmpty {
            // One stays the other; what is written for it is the embedding.
            if let head, tiedChanges.contains(head), !tiedChanges.contains(embedding) {
                let tensor: TensorExpression
                do { tensor = try table[head].expression } catch { throw misfit(original.name.string, error) }
                table.set(embedding, tensor)
            }
            if let head, table.changed.contains(embedding) || ties.head == nil { table.remove(head) }
            return
        }
        isUntied = true
        guard head == nil else { return }
        let tensor: TensorExpression
        do { tensor = try original.expression } catch { throw misfit(original.name.string, error) }
        _ = table.append("lm_head.weight", tensor, isChanged: false)
    }

    /// Warns where the base is known to be another than the adapter was trained on.
    private mutating func noteBase() {
        guard let wanted = adapter.settings.baseModel, let found = config.nameOrPath,
            !wanted.isEmpty, !found.isEmpty
        else { return }
        func last(_ path: String) -> String { path.split(separator: "/").last.map { $0.lowercased() } ?? "" }
        guard last(wanted) != last(found) else { return }
        warnings.append(
            CheckpointWarning(
                "adapter-base-differs",
                "the adapter was trained on \(escapedForDisplay(wanted)), and the base says that it is "
                    + escapedForDisplay(found), file: adapter.path))
    }
}

// MARK: - Stacked parameters

extension AdapterMerge {
    /// Whether a module's update is that of a parameter of its own rather than of a weight.
    private func isParameters(_ module: Adapter.Module) -> Bool {
        !adapter.settings.targetParameters.isEmpty && table.row(module.name + ".weight") == nil
    }

    /// Merges the updates of one module's parameters, which wrap each other.
    private mutating func mergeParameters(of modules: [Adapter.Module]) throws(CheckpointError) {
        let wrapped = modules.sorted { $0.depth > $1.depth }
        guard let name = wrapped.first?.name else { return }
        var parameters = ExpertParameters.names(of: name, targets: adapter.settings.targetParameters)
        for module in wrapped {
            var isUsed = false
            for parameter in parameters where !isUsed {
                guard let stack = try stack(name, parameter) else { continue }
                guard module.isTransposed(stack.shape, inputsFirst: config.hasInputsFirst) != nil else {
                    continue
                }
                try merge(module, into: stack, parameter)
                parameters.removeAll { $0 == parameter }
                isUsed = true
            }
            guard isUsed else {
                throw CheckpointError(
                    .malformed, "adapter-unmatched",
                    "factors of shapes \(module.b.shape) and \(module.a.shape) fit none of the base's "
                        + "parameters \(parameters.joined(separator: ", "))", file: adapter.path,
                    tensor: TensorName(name))
            }
        }
    }

    private func stack(_ name: String, _ parameter: String) throws(CheckpointError) -> ExpertParameters? {
        if let row = table.row(name + "." + parameter) {
            guard table[row].shape.count == 3 else { return nil }
            return ExpertParameters(stack: row, shape: table[row].shape)
        }
        return ExpertParameters(of: name, parameter, in: table)
    }

    private mutating func merge(
        _ module: Adapter.Module, into stack: ExpertParameters, _ parameter: String
    ) throws(CheckpointError) {
        let path = module.name + "." + parameter
        var parts: [[TensorExpression]] = []
        for group in stack.rows {
            var pieces: [TensorExpression] = []
            for row in group { pieces.append(try weight(row)) }
            parts.append(pieces)
        }
        do throws(ExpressionError) {
            let whole = try stack.joined(parts)
            let merged = try module.merged(
                intoStack: whole, rank: adapter.settings.rank(of: path),
                scale: adapter.settings.scale(of: path), inputsFirst: config.hasInputsFirst,
                rounding: rounding)
            for (row, tensor) in try stack.split(merged) { table.set(row, tensor) }
        } catch { throw misfit(path, error) }
    }
}
