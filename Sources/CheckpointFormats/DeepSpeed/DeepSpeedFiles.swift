internal import Checkpoints
internal import TensorCore

/// The files of a DeepSpeed checkpoint, by what their names say.
struct DeepSpeedFiles {
    /// The file of the model's state where one rank wrote it for all: ZeRO up to stage 2.
    private(set) var model: String?
    /// The files of each rank's part of the model's state, by rank: ZeRO stage 3.
    private(set) var modelRanks: [Int: String] = [:]
    /// The files of each rank's part of the optimizer's state, by rank.
    private(set) var optimizerRanks: [Int: String] = [:]
    /// Files that are of no layout that is read.
    private(set) var layers: [String] = []
    private(set) var experts: [String] = []
    private(set) var otherModelRanks: [String] = []

    /// Sorts names; those that are not DeepSpeed's are passed over.
    init(_ names: [String]) {
        for name in names where Self.isState(name) { add(name) }
    }

    /// Whether a file is one of DeepSpeed's: `…_model_states.pt` or `…_optim_states.pt`.
    static func isState(_ name: String) -> Bool {
        name.hasSuffix("_model_states.pt") || name.hasSuffix("_optim_states.pt")
            || name.hasPrefix("layer_") && name.hasSuffix("-model_states.pt")
    }

    private mutating func add(_ name: String) {
        if name.hasPrefix("expp_rank_") || name.contains("_expert_") { return experts.append(name) }
        if name.hasPrefix("layer_") { return layers.append(name) }
        guard let (rank, modelRank) = Self.ranks(of: name) else { return }
        if modelRank > 0 { return otherModelRanks.append(name) }
        switch (name.hasSuffix("_optim_states.pt"), rank) {
        case (true, let rank?): optimizerRanks[rank] = name
        case (false, let rank?): modelRanks[rank] = name
        case (false, nil): model = name
        case (true, nil): break
        }
    }

    /// The data-parallel rank, where there is one, and the model-parallel rank in a name such as
    /// `bf16_zero_pp_rank_3_mp_rank_00_optim_states.pt`.
    private static func ranks(of name: String) -> (rank: Int?, modelRank: Int)? {
        var parts = name.split(separator: "_")[...]
        if parts.first == "bf16" || parts.first == "fp16" { parts = parts.dropFirst() }
        var rank: Int?
        if parts.starts(with: ["zero", "pp", "rank"]), parts.count > 3 {
            rank = Int(parts[parts.startIndex + 3])
            if rank == nil { return nil }
            parts = parts.dropFirst(4)
        }
        guard parts.count == 5, parts.starts(with: ["mp", "rank"]),
            let modelRank = Int(parts[parts.startIndex + 2])
        else { return nil }
        return (rank, modelRank)
    }

    /// Refuses layouts whose parts need the model's code, or a converter of DeepSpeed's, to be put together.
    func checkLayout(_ listing: DirectoryListing) throws(CheckpointError) {
        func refusal(_ code: String, _ what: String) -> CheckpointError {
            CheckpointError(.unsupported, code, what, file: listing.path)
        }
        if listing.directories.contains("zero") {
            throw refusal(
                "deepspeed-universal",
                "this is a universal checkpoint of DeepSpeed: export the checkpoint that it was made from")
        }
        if !experts.isEmpty {
            throw refusal(
                "deepspeed-experts",
                "its experts are spread over ranks in files of their own (\(escapedForDisplay(experts[0]))…): "
                    + "save the gathered weights with save_16bit_model, or as a Hugging Face model")
        }
        if !layers.isEmpty {
            throw refusal(
                "deepspeed-pipeline",
                "it was saved by a pipeline, one file for each layer (\(escapedForDisplay(layers[0]))…), whose names "
                    + "only the model's code knows: save the model's state_dict instead")
        }
        if let name = otherModelRanks.first {
            throw refusal(
                "deepspeed-tensor-parallel",
                "it was saved with tensor parallelism (\(escapedForDisplay(name))…), and the files do not say how the "
                    + "tensors were cut: save the gathered weights")
        }
    }
}
