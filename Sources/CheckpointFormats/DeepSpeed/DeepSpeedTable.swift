internal import Checkpoints
internal import TensorCore

/// The tensors of a DeepSpeed checkpoint by name, each from where it is held best.
struct DeepSpeedTable {
    private let place: String
    private var names: [[UInt8]] = []
    private var tensors: [ByteKey: TensorExpression] = [:]
    private var skipped: [SkippedItem] = []
    var warnings: [CheckpointWarning] = []

    init(place: String) { self.place = place }

    /// The first tensor of floating-point numbers with fewer bits than F32.
    var firstBelowF32: TensorName? {
        names.first { name in
            guard let dtype = tensors[ByteKey(name)]?.dtype else { return false }
            return dtype.isBelowF32
        }.map { TensorName(utf8: $0) }
    }

    private mutating func set(_ name: [UInt8], _ tensor: TensorExpression) {
        if tensors.updateValue(tensor, forKey: ByteKey(name)) == nil { names.append(name) }
    }

    /// The model's own state dict, as it is.
    mutating func addModule(_ state: DeepSpeedState) throws(CheckpointError) {
        var state = state
        for (name, value) in try module(of: state) {
            guard state.isTensor(value) else {
                skipped.append(SkippedItem(name: escaped(name), reason: "not a tensor"))
                continue
            }
            set(name, try state.tensor(value, name))
        }
    }

    private func module(
        of state: DeepSpeedState
    ) throws(CheckpointError) -> [(name: [UInt8], value: PickleValue)] {
        guard let module = state.member("module") else { throw state.damaged("it holds no module") }
        return try state.named(module)
    }

    private func bufferNames(of state: DeepSpeedState) -> Set<ByteKey> {
        let items = state.member("buffer_names").flatMap(state.object.heap.items) ?? []
        return Set(items.compactMap(state.object.heap.text).map { ByteKey($0) })
    }

    /// Buffers beside master weights are of their precision, as DeepSpeed's own converter makes them.
    mutating func castBuffers(of state: DeepSpeedState) throws(CheckpointError) {
        let buffers = bufferNames(of: state)
        for name in names where buffers.contains(ByteKey(name)) {
            guard let tensor = tensors[ByteKey(name)], tensor.dtype.isBelowF32 else { continue }
            do { tensors[ByteKey(name)] = try tensor.cast(to: .f32) } catch {
                throw state.damaged(error.description)
            }
        }
    }

    /// The buffers alone: parameters of stage 3 are not in the model's state.
    mutating func addBuffers(of state: DeepSpeedState) throws(CheckpointError) -> Set<ByteKey> {
        let buffers = bufferNames(of: state)
        var state = state
        for (name, value) in try module(of: state) where buffers.contains(ByteKey(name)) {
            set(name, try state.tensor(value, name))
        }
        try castBuffers(of: state)
        return buffers
    }

    /// Parameters that are not trained, whole in the file of one rank.
    mutating func addFrozen(
        _ fragments: PickleValue, of state: DeepSpeedState
    ) throws(CheckpointError) {
        guard let shapes = state.member("frozen_param_shapes") else { return }
        var state = state
        let table = try state.named(fragments)
        let whole = Dictionary(table.map { (ByteKey($0.name), $0.value) }) { first, _ in first }
        for parameter in try state.shapes(shapes) {
            // Stage 1 keeps none here, and the model's state has them all the same.
            guard let value = whole[ByteKey(parameter.name)] else { continue }
            let tensor = try state.tensor(value, parameter.name)
            guard tensor.shape == parameter.shape else {
                throw mismatch("its frozen copy has the shape \(tensor.shape)", parameter.name)
            }
            set(parameter.name, tensor)
        }
    }

    /// Parameters that are not trained, cut over the ranks.
    mutating func addFrozen(
        _ parameters: [NamedShape], in ranks: inout [DeepSpeedState]
    ) throws(CheckpointError) {
        var fragments: [[ByteKey: PickleValue]] = []
        for state in ranks {
            guard let value = state.member("frozen_param_fragments") else {
                throw state.damaged("it lacks its part of frozen parameters")
            }
            fragments.append(
                Dictionary(try state.named(value).map { (ByteKey($0.name), $0.value) }) { first, _ in first })
        }
        for parameter in parameters {
            var left = parameter.elementCount
            var pieces: [TensorExpression] = []
            for rank in ranks.indices {
                guard let value = fragments[rank][ByteKey(parameter.name)] else {
                    throw ranks[rank].damaged("it lacks its part of '\(escaped(parameter.name))'")
                }
                let part = try ranks[rank].tensor(value, parameter.name)
                guard part.shape.count == 1 else {
                    throw mismatch("a part of it is not flat", parameter.name)
                }
                let taken = min(left, part.shape[0])
                left -= taken
                do {
                    if taken > 0 { pieces.append(try part.sliced(axis: 0, 0..<taken)) }
                } catch { throw mismatch(error.description, parameter.name) }
            }
            guard left == 0 else {
                throw mismatch("its parts lack \(left) of \(parameter.elementCount) elements", parameter.name)
            }
            do {
                set(parameter.name, try parameter.tensor(of: pieces, dtype: pieces.first?.dtype ?? .f32))
            } catch { throw mismatch(error.description, parameter.name) }
        }
    }

    /// Parameters whose master weights were found.
    mutating func replace(
        with parameters: [(name: [UInt8], tensor: TensorExpression)]
    ) throws(CheckpointError) {
        var known: Set<ByteKey> = []
        for (name, tensor) in parameters {
            guard known.insert(ByteKey(name)).inserted else {
                throw mismatch("two groups of parameters have it", name)
            }
            if let other = tensors[ByteKey(name)], other.shape != tensor.shape {
                throw mismatch(
                    "the model has the shape \(other.shape) and the optimizer \(tensor.shape)", name)
            }
            set(name, tensor)
        }
    }

    /// Names of parameters that are others' too.
    mutating func addShared(of state: DeepSpeedState) throws(CheckpointError) {
        guard let shared = state.member("shared_params") else { return }
        for (alias, owner) in try state.named(shared) {
            guard let owner = state.object.heap.text(owner) else { throw state.damaged("a name is not text") }
            if let tensor = tensors[ByteKey(owner)] { set(alias, tensor) }
        }
    }

    /// Puts names into the order of the model's state.
    mutating func order(like state: DeepSpeedState, buffers: Set<ByteKey>) throws(CheckpointError) {
        let order = try module(of: state).map { ByteKey($0.name) }.filter { tensors[$0] != nil }
        let known = Set(order)
        names = order.map(\.bytes) + names.filter { !known.contains(ByteKey($0)) }
        let missing = try module(of: state).filter {
            tensors[ByteKey($0.name)] == nil && state.isTensor($0.value)
        }
        guard missing.isEmpty else {
            throw mismatch("no partition holds it", missing[0].name)
        }
    }

    private func mismatch(_ what: String, _ name: [UInt8]) -> CheckpointError {
        CheckpointError(
            .malformed, "partition-mismatch", what, file: place, tensor: TensorName(utf8: name))
    }
}

extension DeepSpeedTable {
    /// The table as a checkpoint, under a root where one is chosen.
    func checkpoint(_ opened: OpenedStates, options: ReadOptions) throws(CheckpointError) -> Checkpoint {
        let root = (options.root ?? "").utf8.map { $0 } + (options.root ?? "" == "" ? [] : [0x2E])
        var records: [TensorRecord] = []
        for name in names where name.starts(with: root) {
            guard String(validating: name, as: UTF8.self) != nil else {
                throw CheckpointError(
                    .malformed, "name-not-utf8", "the name of a tensor is not UTF-8", file: place,
                    tensor: TensorName(utf8: name))
            }
            guard let tensor = tensors[ByteKey(name)] else { continue }
            records.append(TensorRecord(name: TensorName(utf8: Array(name.dropFirst(root.count))), tensor))
        }
        guard !records.isEmpty else {
            throw CheckpointError(
                .malformed, "root-missing", "no tensor stands under the root '\(escaped(root))'", file: place)
        }
        var checkpoint = Checkpoint(
            format: DeepSpeedReader.formatName, tensors: records, files: sources(opened, of: records),
            skipped: skipped, warnings: warnings, root: root.isEmpty ? nil : options.root)
        if records.count < names.count {
            checkpoint.skipped.append(
                SkippedItem(
                    name: "*", reason: "outside the chosen root", tensorCount: names.count - records.count))
        }
        if let file = opened.lackingChecksum {
            checkpoint.warnings.append(
                CheckpointWarning(
                    "crc-absent",
                    "the archive states no CRC-32, so damage since it was written cannot be noticed",
                    file: file))
        }
        return checkpoint
    }

    /// The files with the checksums of what the tensors use: those of the optimizer's state are not looked at.
    private func sources(_ opened: OpenedStates, of records: [TensorRecord]) -> [SourceFile] {
        var used: [String: [UInt64]] = [:]
        for record in records {
            record.source.forEachExtent { used[$0.source.name, default: []].append($0.offset) }
        }
        return opened.sources.map { file in
            let offsets = (used[file.source.name] ?? []).sorted()
            var result = file
            result.checksums = file.checksums.filter { checksum in
                // The first use at or after the start of the range.
                var (low, high) = (0, offsets.count)
                while low < high {
                    let middle = (low + high) / 2
                    if offsets[middle] < checksum.range.lowerBound { low = middle + 1 } else { high = middle }
                }
                return low < offsets.count && offsets[low] < checksum.range.upperBound
            }
            return result
        }
    }
}

extension DType {
    /// Whether F32 holds more of a floating-point number.
    fileprivate var isBelowF32: Bool {
        switch self {
        case .bool, .u8, .i8, .u16, .i16, .u32, .i32, .u64, .i64, .c64, .f32, .f64: false
        default: true
        }
    }
}
