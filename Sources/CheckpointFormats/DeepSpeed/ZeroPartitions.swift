internal import Checkpoints
internal import TensorCore

/// The master weights of all ranks, and how ZeRO cuts parameters into them.
struct ZeroPartitions {
    /// The stage of ZeRO: 1 and 2 cut what all parameters are laid out in, 3 cuts each parameter.
    private(set) var stage: UInt64 = 0
    /// The groups of each rank.
    private var ranks: [[TensorExpression]] = []
    /// How many elements are left free after each parameter of each group, where the optimizer aligns them.
    private var paddings: [[UInt64]]?
    private let place: String

    /// Reads the files of all ranks in order.
    ///
    /// - Parameter names: the files by rank.
    init(
        _ names: [Int: String], place: String,
        open: (String) throws(CheckpointError) -> DeepSpeedState
    ) throws(CheckpointError) {
        self.place = place
        for rank in names.keys.sorted() {
            var state = try open(names[rank] ?? "")
            try add(&state, rank: rank, names)
        }
    }

    private mutating func add(
        _ state: inout DeepSpeedState, rank: Int, _ names: [Int: String]
    ) throws(CheckpointError) {
        let heap = state.object.heap
        guard let optimizer = state.member("optimizer_state_dict"),
            let stage = heap.member("zero_stage", of: optimizer).flatMap({ Self.number($0, heap) })
        else { throw state.damaged("it holds no ZeRO optimizer") }
        if rank == names.keys.min() {
            self.stage = stage
            guard 1...3 ~= stage else {
                throw CheckpointError(
                    .unsupported, "zero-stage",
                    "it was saved by stage \(stage) of ZeRO, and 1 to 3 are known",
                    file: state.object.file)
            }
            paddings = try alignments(heap.member("param_alignment_paddings", of: optimizer), state)
        }
        guard stage == self.stage else { throw state.damaged("another rank's file is of another stage") }
        try checkCount(heap.member("partition_count", of: optimizer), names, state)
        let key = stage == 3 ? "fp32_flat_groups" : "single_partition_of_fp32_groups"
        guard let groups = heap.member(key, of: optimizer) else {
            throw CheckpointError(
                .unsupported, "master-missing",
                "it holds no master weights (\(key)), as where they were offloaded to a disk: save again with them "
                    + "in memory", file: state.object.file)
        }
        ranks.append(try state.flatTensors(groups))
    }

    /// A number, or an enumeration made of one.
    private static func number(_ value: PickleValue, _ heap: PickleHeap) -> UInt64? {
        if case .call(let number) = value {
            return heap.arguments(of: heap.calls[Int(number)]).first.flatMap(heap.count)
        }
        return heap.count(value)
    }

    /// Checks that the files are those of all ranks.
    private func checkCount(
        _ value: PickleValue?, _ names: [Int: String], _ state: DeepSpeedState
    ) throws(CheckpointError) {
        let heap = state.object.heap
        let counts = value.flatMap { value in heap.items(value) ?? [value] }?.compactMap(heap.count)
        guard let world = counts?.max() else {
            throw state.damaged("it does not say how many ranks there are")
        }
        let missing = (0..<Int(clamping: min(world, 1 << 20))).first { names[$0] == nil }
        guard names.count == Int(clamping: world), missing == nil else {
            let what = missing.map { "the file of rank \($0) is not there" } ?? "some are of another save"
            throw CheckpointError(
                .malformed, "rank-count",
                "\(world) ranks saved it, and there are \(names.count) files of optimizer state: \(what)",
                file: state.object.file)
        }
    }

    private func alignments(
        _ value: PickleValue?, _ state: DeepSpeedState
    ) throws(CheckpointError) -> [[UInt64]]? {
        guard let value, value != .none else { return nil }
        guard let groups = state.object.heap.items(value) else { throw state.damaged("paddings are no list") }
        return try groups.map { (group) throws(CheckpointError) in
            let items = state.object.heap.items(group) ?? []
            let numbers = items.compactMap(state.object.heap.count)
            guard numbers.count == items.count else { throw state.damaged("a padding is no number") }
            return numbers
        }
    }
}

extension ZeroPartitions {
    /// The parameters with these shapes, listed by group.
    func parameters(
        _ groups: [[NamedShape]]
    ) throws(CheckpointError) -> [(name: [UInt8], tensor: TensorExpression)] {
        stage == 3 ? try cutEach(groups.flatMap { $0 }) : try cutTogether(groups)
    }

    private var world: UInt64 { UInt64(ranks.count) }

    /// Stages 1 and 2: the partitions of all ranks one after the other hold the parameters one after the other.
    private func cutTogether(
        _ groups: [[NamedShape]]
    ) throws(CheckpointError) -> [(name: [UInt8], tensor: TensorExpression)] {
        var result: [(name: [UInt8], tensor: TensorExpression)] = []
        guard ranks.allSatisfy({ $0.count == groups.count }) else {
            throw mismatch(
                "the model has \(groups.count) groups of parameters, and some rank has not as many")
        }
        for (number, group) in groups.enumerated() {
            let (flat, dtype) = try sequence(ranks.map { $0[number] })
            let gaps = paddings.flatMap { $0.indices.contains(number) ? $0[number] : nil }
            guard gaps.map({ $0.count == group.count }) ?? true else {
                throw mismatch("group \(number) has as many paddings as it has not parameters")
            }
            var offset: UInt64 = 0
            for (index, parameter) in group.enumerated() {
                let (end, overflow) = offset.addingReportingOverflow(parameter.elementCount)
                guard !overflow, end <= flat.count else {
                    throw mismatch(
                        "the partitions of group \(number) hold \(flat.count) elements, which ends within it",
                        parameter.name)
                }
                result.append((parameter.name, try tensor(parameter, flat.slices, [offset..<end], dtype)))
                let (next, tooFar) = end.addingReportingOverflow(gaps?[index] ?? 0)
                guard !tooFar else { throw mismatch("a padding is too large", parameter.name) }
                offset = next
            }
            // Both ends are rounded up in ways that only the optimizer knows, by less than this.
            let unit = 2 * world
            let isFilled = (offset / unit + (offset % unit > 0 ? 1 : 0)) == (flat.count + unit - 1) / unit
            guard isFilled else {
                throw mismatch(
                    "the partitions of group \(number) hold \(flat.count) elements, and its parameters are \(offset)"
                )
            }
        }
        return result
    }

    /// Stage 3: every rank has its part of each parameter, one parameter after the other through all groups.
    private func cutEach(
        _ parameters: [NamedShape]
    ) throws(CheckpointError) -> [(name: [UInt8], tensor: TensorExpression)] {
        let flats = try ranks.map { (groups) throws(CheckpointError) in try sequence(groups) }
        guard let first = flats.first, flats.allSatisfy({ $0.0.count == first.0.count && $0.1 == first.1 })
        else {
            throw mismatch("the ranks do not have as many elements as each other")
        }
        var result: [(name: [UInt8], tensor: TensorExpression)] = []
        var offset: UInt64 = 0
        for parameter in parameters {
            let share = parameter.elementCount / world + (parameter.elementCount % world > 0 ? 1 : 0)
            guard share <= first.0.count - offset else {
                throw mismatch(
                    "the partitions of a rank hold \(first.0.count) elements, which ends within it",
                    parameter.name)
            }
            var pieces: [TensorExpression] = []
            var left = parameter.elementCount
            for flat in flats {
                let taken = min(left, share)
                pieces += try expression(parameter) { () throws(ExpressionError) in
                    try flat.0.slices(offset..<offset + taken)
                }
                left -= taken
            }
            let whole = try expression(parameter) { () throws(ExpressionError) in
                try parameter.tensor(of: pieces, dtype: first.1)
            }
            result.append((parameter.name, whole))
            offset += share
        }
        guard offset == first.0.count else {
            throw mismatch(
                "the partitions of a rank hold \(first.0.count) elements, and its parameters are \(offset)")
        }
        return result
    }

    private func sequence(
        _ parts: [TensorExpression]
    ) throws(CheckpointError) -> (FlatSequence, DType) {
        var flat = FlatSequence()
        let dtype = parts.first?.dtype ?? .f32
        for part in parts {
            guard part.dtype == dtype, flat.append(part) else {
                throw mismatch("the partitions are not of one dtype, or too large")
            }
        }
        return (flat, dtype)
    }

    private func tensor(
        _ parameter: NamedShape, _ slices: (Range<UInt64>) throws(ExpressionError) -> [TensorExpression],
        _ ranges: [Range<UInt64>], _ dtype: DType
    ) throws(CheckpointError) -> TensorExpression {
        try expression(parameter) { () throws(ExpressionError) in
            var pieces: [TensorExpression] = []
            for range in ranges { pieces += try slices(range) }
            return try parameter.tensor(of: pieces, dtype: dtype)
        }
    }

    private func expression<T>(
        _ parameter: NamedShape, _ body: () throws(ExpressionError) -> T
    ) throws(CheckpointError) -> T {
        do { return try body() } catch { throw mismatch(error.description, parameter.name) }
    }

    private func mismatch(_ what: String, _ name: [UInt8]? = nil) -> CheckpointError {
        CheckpointError(
            .malformed, "partition-mismatch", what + ": the files are not of one save", file: place,
            tensor: name.map { TensorName(utf8: $0) })
    }
}
