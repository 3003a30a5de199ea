internal import Checkpoints
internal import StrictJSON
internal import TensorCore

/// Reads the table of a DeepSpeed checkpoint: master weights from the optimizer's partitions, and the rest from the
/// model's state.
struct DeepSpeedReader {
    /// The name of the format.
    static let formatName = "deepspeed"

    private let files: CheckpointFiles
    private let names: DeepSpeedFiles
    private let prefix: String
    private let options: ReadOptions

    init(_ files: CheckpointFiles, names: DeepSpeedFiles, prefix: String, options: ReadOptions) {
        self.files = files
        self.names = names
        self.prefix = prefix
        self.options = options
    }

    /// The weights.
    func read() throws(CheckpointError) -> Checkpoint {
        guard let name = names.model ?? names.modelRanks[0] else {
            throw CheckpointError(
                .malformed, "model-state-missing",
                "there is neither mp_rank_00_model_states.pt nor zero_pp_rank_0_mp_rank_00_model_states.pt",
                file: files.location)
        }
        var opened = OpenedStates(files: files, prefix: prefix, allowsOpaque: options.allowsOpaque)
        let state = try opened.state(name)
        try Self.checkExperts(state)
        var table = DeepSpeedTable(place: files.location)
        if names.model == nil {
            try readStage3(state, &opened, &table)
        } else if options.precision == .model {
            try table.addModule(state)
        } else {
            try readMaster(state, &opened, &table)
        }
        var checkpoint = try table.checkpoint(opened, options: options)
        checkpoint.values = values(of: state)
        let rest = names.optimizerRanks.values.sorted().filter { !opened.names.contains($0) }
        checkpoint.skipped += rest.map { SkippedItem(name: prefix + $0, reason: "training state") }
        if rest.count < names.optimizerRanks.count {
            checkpoint.skipped.append(
                SkippedItem(name: "optimizer_state_dict", reason: "training state, beside the master weights")
            )
        }
        return checkpoint
    }

    /// Refuses a layout of experts that only a key tells of.
    private static func checkExperts(_ state: DeepSpeedState) throws(CheckpointError) {
        guard state.member("ds_autoep_layers") ?? state.member("autoep_layers") != nil else { return }
        throw CheckpointError(
            .unsupported, "deepspeed-experts",
            "its experts are spread over ranks (AutoEP): convert it with DeepSpeed's ds_to_universal first",
            file: state.object.file)
    }

    /// What the model's state says beside tensors.
    private func values(of state: DeepSpeedState) -> [JSONMember] {
        let known: Set<String> = [
            "module", "param_shapes", "frozen_param_shapes", "frozen_param_fragments", "shared_params",
            "optimizer",
            "buffer_names",
        ]
        var budget = 1 << 20
        var members: [JSONMember] = []
        for (key, value) in state.object.heap.pairs(state.object.top) ?? [] {
            guard let text = state.object.heap.text(key) else { continue }
            let name = String(decoding: text, as: UTF8.self)
            guard !known.contains(name), value != .none, budget > 0 else { continue }
            members.append(JSONMember(key: name, value: state.object.heap.json(value, budget: &budget)))
        }
        return members
    }
}

/// Stages of ZeRO.
extension DeepSpeedReader {
    private func readMaster(
        _ state: DeepSpeedState, _ opened: inout OpenedStates, _ table: inout DeepSpeedTable
    ) throws(CheckpointError) {
        guard !names.optimizerRanks.isEmpty else {
            try checkMasterIsNotMissing(state)
            try table.addModule(state)
            if let lossy = table.firstBelowF32 {
                guard options.precision == nil else {
                    throw CheckpointError(
                        .unsupported, "precision-missing",
                        "there are no master weights beside the model's: use --precision model",
                        file: files.location, tensor: lossy)
                }
                table.warnings.append(
                    CheckpointWarning(
                        "master-missing",
                        "there are no master weights: the model's, of less precision, are taken",
                        file: state.object.file))
            }
            return
        }
        let partitions = try partitions(&opened)
        guard partitions.stage < 3 else { throw state.damaged("the optimizer's files are of stage 3") }
        try table.addModule(state)
        try table.castBuffers(of: state)
        if let fragments = state.member("frozen_param_fragments") {
            try table.addFrozen(fragments, of: state)
        }
        try table.replace(with: partitions.parameters(try groups(of: state)))
        try table.addShared(of: state)
    }

    /// ZeRO keeps the master weights apart; without a word of where they are, the model's are no substitute.
    private func checkMasterIsNotMissing(_ state: DeepSpeedState) throws(CheckpointError) {
        let heap = state.object.heap
        let stage = state.member("ds_config").flatMap { heap.member("zero_optimization", of: $0) }
            .flatMap { heap.member("stage", of: $0) }.flatMap(heap.count)
        guard let stage, stage > 0 else { return }
        throw CheckpointError(
            .malformed, "rank-count",
            "ZeRO stage \(stage) keeps the master weights in files *_optim_states.pt, and none is there: fetch them, "
                + "or take the model's own with --precision model", file: files.location)
    }

    private func readStage3(
        _ state: DeepSpeedState, _ opened: inout OpenedStates, _ table: inout DeepSpeedTable
    ) throws(CheckpointError) {
        guard options.precision != .model else {
            throw CheckpointError(
                .unsupported, "precision-missing",
                "ZeRO stage 3 saves master weights only: leave --precision away, and convert with --dtype",
                file: files.location)
        }
        guard !names.optimizerRanks.isEmpty else {
            throw CheckpointError(
                .malformed, "rank-count",
                "ZeRO stage 3 keeps the weights in files *_optim_states.pt, and none is there",
                file: files.location)
        }
        let partitions = try partitions(&opened)
        guard partitions.stage == 3 else { throw state.damaged("the optimizer's files are of another stage") }
        let buffers = try table.addBuffers(of: state)
        let frozen = try state.member("frozen_param_shapes").map { (value) throws(CheckpointError) in
            try state.shapes(value)
        }
        if let frozen, !frozen.isEmpty {
            guard names.modelRanks.count == names.optimizerRanks.count else {
                throw CheckpointError(
                    .malformed, "rank-count",
                    "\(names.optimizerRanks.count) ranks saved it, and there are \(names.modelRanks.count) files of "
                        + "model state", file: files.location)
            }
            var ranks: [DeepSpeedState] = []
            for rank in names.modelRanks.keys.sorted() {
                ranks.append(try opened.state(names.modelRanks[rank] ?? ""))
            }
            try table.addFrozen(frozen, in: &ranks)
        }
        try table.replace(with: partitions.parameters(try groups(of: state)))
        try table.addShared(of: state)
        try table.order(like: state, buffers: buffers)
    }

    private func partitions(_ opened: inout OpenedStates) throws(CheckpointError) -> ZeroPartitions {
        try ZeroPartitions(names.optimizerRanks, place: files.location) { (name) throws(CheckpointError) in
            try opened.state(name)
        }
    }

    /// The parameters that are trained, by the optimizer's groups.
    private func groups(of state: DeepSpeedState) throws(CheckpointError) -> [[NamedShape]] {
        guard let value = state.member("param_shapes") else {
            throw state.damaged("it does not say what the partitions hold (param_shapes)")
        }
        guard let groups = state.object.heap.items(value) else { return [try state.shapes(value)] }
        return try groups.map { (group) throws(CheckpointError) in try state.shapes(group) }
    }
}

/// The files that were opened so far.
struct OpenedStates {
    let files: CheckpointFiles
    let prefix: String
    /// Their names.
    private(set) var names: [String] = []
    /// As the table's sources, with all the checksums that they state.
    private(set) var sources: [SourceFile] = []
    private(set) var lackingChecksum: String?

    private let allowsOpaque: Bool

    init(files: CheckpointFiles, prefix: String, allowsOpaque: Bool) {
        self.files = files
        self.prefix = prefix
        self.allowsOpaque = allowsOpaque
    }

    /// Opens and reads one; those that are open already are read again.
    mutating func state(_ name: String) throws(CheckpointError) -> DeepSpeedState {
        let known = names.firstIndex(of: name)
        let source: any ByteSource
        if let known { source = sources[known].source } else { source = try files.open(name) }
        let state = try DeepSpeedState(
            source, name: prefix + name, allowsOpaque: allowsOpaque)
        if state.object.lacksChecksum { lackingChecksum = lackingChecksum ?? prefix + name }
        if known == nil {
            names.append(name)
            sources.append(
                SourceFile(path: prefix + name, source: source, checksums: state.object.checksums))
        }
        return state
    }
}
