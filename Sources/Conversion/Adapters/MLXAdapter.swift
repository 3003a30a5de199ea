internal import Checkpoints
internal import StrictJSON
internal import TensorCore

extension AdapterSettings {
    /// Reads the `adapter_config.json` of mlx-lm.
    init(mlx json: JSONValue, file: String) throws(CheckpointError) {
        let kind = json["fine_tune_type"]?.string ?? "lora"
        guard ["lora", "dora", "full"].contains(kind) else {
            throw CheckpointError(
                .unsupported, "adapter-type",
                "fine_tune_type is \(escapedForDisplay(kind)); lora, dora and full are known", file: file)
        }
        let parameters = json["lora_parameters"]
        guard let rank = parameters?["rank"]?.int64 ?? (kind == "full" ? 1 : nil),
            let scale = parameters?["scale"]?.double ?? (kind == "full" ? 1 : nil),
            (1...Int64(Int32.max)).contains(rank), scale.isFinite
        else {
            throw CheckpointError(
                .malformed, "adapter-config", "lora_parameters has no fit rank and scale", file: file)
        }
        self.init(rank: Int(rank), alpha: scale * Double(rank))
        usesMagnitudes = kind == "dora"
        taskType = "CAUSAL_LM"
        baseModel = json["model"]?.string
    }
}
