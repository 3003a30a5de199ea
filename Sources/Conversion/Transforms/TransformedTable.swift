internal import Checkpoints
internal import TensorCore

/// The rows of a checkpoint on their way through transforms.
struct TransformedTable {
    /// What an export does about a name that shares its storage with another.
    enum TiePolicy { case byConfig, tie, untie }

    /// One tensor.
    struct Row {
        /// The tensor as the source has it, under its name of the moment.
        var tensor: TensorRecord
        /// The dtype that it will be written in.
        var dtype: DType
        var overflow = Overflow.special
        /// The transform that chose `dtype`.
        var castBy: Int?
        /// A number that it has in common with those that are the same storage.
        var storage: Int?
        var tiePolicy = TiePolicy.byConfig
        /// The transform that chose `tiePolicy`.
        var tieBy: Int?
    }

    private(set) var rows: [Row]
    private(set) var effects: [TransformEffect] = []
    private(set) var warnings: [CheckpointWarning] = []
    private let allowsUnmatched: Bool
    private let file: String

    init(_ checkpoint: Checkpoint, _ transforms: [Transform], allowsUnmatched: Bool) throws(ConversionError) {
        self.allowsUnmatched = allowsUnmatched
        file = checkpoint.files.first?.path ?? ""
        var storages: [TensorName: Int] = [:]
        for (number, group) in checkpoint.tiedGroups.enumerated() {
            for name in group { storages[name] = number }
        }
        rows = checkpoint.tensors.map { tensor in
            Row(tensor: tensor, dtype: tensor.dtype, storage: storages.isEmpty ? nil : storages[tensor.name])
        }
        for (number, transform) in transforms.enumerated() {
            effects.append(try apply(transform, number))
            guard !rows.isEmpty else {
                throw .options("\(transform.summary): no tensor is left")
            }
        }
        try checkSizes()
    }

    private mutating func apply(_ transform: Transform, _ number: Int) throws(ConversionError)
        -> TransformEffect
    {
        var effect = TransformEffect(transform: transform)
        switch transform {
        case .cast(nil, let dtype, let overflow):
            for row in rows.indices where rows[row].tensor.dtype.isCastableFloat && dtype.isCastableFloat {
                setDType(row, dtype, overflow, number)
            }
        case .cast(let pattern?, let dtype, let overflow):
            for row in try matching([pattern], transform) {
                guard TransformedTable.canCast(from: rows[row].tensor.dtype, to: dtype) else {
                    throw .options(
                        "\(transform.summary): the tensor \(rows[row].tensor.name) is "
                            + "\(rows[row].tensor.dtype.name), which cannot be converted to \(dtype.name)")
                }
                setDType(row, dtype, overflow, number)
            }
        case .rename(let substitution): try rename(by: substitution, transform, &effect)
        case .select(let globs):
            rows = try matching(globs, transform).map { rows[$0] }
            effect.tensorCount = rows.count
        case .drop(let globs):
            let dropped = Set(try matching(globs, transform))
            effect.tensorCount = dropped.count
            if !dropped.isEmpty { rows = rows.indices.filter { !dropped.contains($0) }.map { rows[$0] } }
        case .tie(let globs):
            for row in try matching(globs, transform) { setTiePolicy(row, .tie, number) }
        case .untie(let globs):
            for row in try matching(globs, transform) { setTiePolicy(row, .untie, number) }
        }
        return effect
    }

    private mutating func setDType(_ row: Int, _ dtype: DType, _ overflow: Overflow, _ number: Int) {
        rows[row].dtype = dtype
        rows[row].overflow = overflow
        rows[row].castBy = number
    }

    private mutating func setTiePolicy(_ row: Int, _ policy: TiePolicy, _ number: Int) {
        rows[row].tiePolicy = policy
        rows[row].tieBy = number
    }

    /// The rows whose names match one of `globs`; each must match at least one.
    private mutating func matching(_ globs: [Glob], _ transform: Transform) throws(ConversionError) -> [Int] {
        var isUsed = globs.map(\.matchesEverything)
        var matchers = globs.map { $0.matcher() }
        var matching: [Int] = []
        for row in rows.indices {
            var isMatch = false
            for number in matchers.indices where !isMatch || !isUsed[number] {
                if matchers[number].matches(rows[row].tensor.name) {
                    isMatch = true
                    isUsed[number] = true
                }
            }
            if isMatch { matching.append(row) }
        }
        for (glob, isUsed) in zip(globs, isUsed) where !isUsed {
            let near = NearMisses.names(near: glob, among: rows.lazy.map(\.tensor.name))
            try noteUnmatched(transform, pattern: glob.description, near: near)
        }
        return matching
    }

    private mutating func noteUnmatched(
        _ transform: Transform, pattern: String, near: [TensorName]
    ) throws(ConversionError) {
        let hint = near.isEmpty ? "" : "; near: " + near.map(\.description).joined(separator: ", ")
        let message = "\(transform.kind) \(escapedPattern(pattern)): no tensor's name matches\(hint)"
        guard allowsUnmatched else { throw .options(message) }
        warnings.append(CheckpointWarning("pattern-unmatched", message, file: file))
    }
}

extension TransformedTable {
    private mutating func rename(
        by substitution: Substitution, _ transform: Transform, _ effect: inout TransformEffect
    ) throws(ConversionError) {
        var replacer = substitution.replacer()
        var isMatched = false
        var before: [Int: TensorName] = [:]
        for row in rows.indices {
            guard let name = replacer.replace(in: rows[row].tensor.name) else { continue }
            isMatched = true
            let old = rows[row].tensor.name
            guard name != old else { continue }
            guard !name.utf8.isEmpty, name != "__metadata__" else {
                throw .options(
                    "\(transform.summary): the tensor \(old) would be called "
                        + (name.utf8.isEmpty ? "nothing at all" : "\(name), which no tensor can be"))
            }
            if before.count < TransformEffect.exampleLimit { effect.examples.append((old, name)) }
            before[row] = old
            rows[row].tensor.name = name
        }
        if !isMatched {
            return try noteUnmatched(transform, pattern: substitution.description, near: [])
        }
        effect.tensorCount = before.count
        if !before.isEmpty { try checkUnique(transform, before: before) }
    }

    private func checkUnique(_ transform: Transform, before: [Int: TensorName]) throws(ConversionError) {
        var places: [TensorName: Int] = [:]
        places.reserveCapacity(rows.count)
        for row in rows.indices {
            let name = rows[row].tensor.name
            guard let other = places.updateValue(row, forKey: name) else { continue }
            throw .options(
                "\(transform.summary): the tensors \(before[other] ?? name) and \(before[row] ?? name) would "
                    + "both be called \(name)")
        }
    }

    /// The rows that are written once ties are resolved; notes in ``effects`` how many were converted, tied and
    /// untied.
    mutating func resolve(_ ties: TieResolution) -> [Row] {
        let kept = ties.apply(to: rows)
        for row in kept {
            if let number = row.castBy, row.dtype != row.tensor.dtype { effects[number].tensorCount += 1 }
        }
        let changed = Set(ties.kept.map(\.dropped) + ties.untiedByTransform)
        for row in rows where !changed.isEmpty && changed.contains(row.tensor.name) {
            if let number = row.tieBy { effects[number].tensorCount += 1 }
        }
        return kept
    }

    /// Refuses sizes that no file has, so that sums need no further care.
    private func checkSizes() throws(ConversionError) {
        var total: UInt64 = 0
        for row in rows {
            guard let size = row.dtype.byteCount(of: row.tensor.shape) else {
                throw .options(
                    "the tensor \(row.tensor.name) of shape \(row.tensor.shape) cannot be \(row.dtype.name): "
                        + "its elements would not fill whole bytes, or too many")
            }
            let (sum, overflow) = total.addingReportingOverflow(size)
            guard !overflow, sum <= UInt64(Int64.max) else {
                throw .options("the tensors add up to more than 2^63 bytes")
            }
            total = sum
        }
    }
}

/// The conversion itself, in one place.
extension TransformedTable {
    /// Whether tensors of one dtype can be converted to another.
    static func canCast(from: DType, to: DType) -> Bool {
        ElementCast.isSupported(from: from, to: to)
    }

    private static func castSource(
        _ source: TensorSource, from: DType, to: DType, overflow: Overflow
    ) -> TensorSource {
        // What is computed in F32 is rounded once, to what is written.
        if overflow == .special, let source = source.rounded(to: to) { return source }
        return source.converted(from: from, to: to, overflow: overflow)
    }

    fileprivate static func written(_ row: Row) -> TensorRecord {
        guard row.dtype != row.tensor.dtype else { return row.tensor }
        return TensorRecord(
            name: row.tensor.name, dtype: row.dtype, shape: row.tensor.shape,
            source: castSource(
                row.tensor.source, from: row.tensor.dtype, to: row.dtype, overflow: row.overflow))
    }
}

extension TransformedTable.Row {
    /// The tensor as it is written.
    var written: TensorRecord { TransformedTable.written(self) }
}
