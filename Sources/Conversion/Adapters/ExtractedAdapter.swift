internal import CheckpointFormats
internal import Checkpoints
internal import StrictJSON
internal import TensorCore

/// An adapter in the layout of PEFT, made of what was extracted.
struct ExtractedAdapter {
    private let updates: [AdapterExtraction.Update]
    private let whole: [TensorRecord]
    private let pairs: ExtractionPairs
    private let tuned: OpenedModel
    private let base: OpenedModel

    init(
        _ updates: [AdapterExtraction.Update], whole: [TensorRecord], pairs: ExtractionPairs,
        tuned: OpenedModel, base: OpenedModel
    ) {
        (self.updates, self.whole, self.pairs, self.tuned, self.base) = (updates, whole, pairs, tuned, base)
    }

    func model() throws(ConversionError) -> OpenedModel {
        var records: [TensorRecord] = []
        var ranks: [String: Int] = [:]
        for update in updates {
            let module = String(update.outcome.name.string.dropLast(".weight".count))
            ranks[module] = update.outcome.rank
            // The shape is that of the weight as a linear layer has it.
            let (outputs, inputs) = (update.outcome.shape[0], update.outcome.shape[1])
            let rank = UInt64(update.outcome.rank)
            do throws(ExpressionError) {
                for (part, values, shape) in [
                    ("lora_A", update.a, [rank, inputs]), ("lora_B", update.b, [outputs, rank]),
                ] {
                    let name = "base_model.model.\(module).\(part).weight"
                    records.append(
                        TensorRecord(
                            name: TensorName(name), try .holding(values, shape: shape, name: name)))
                }
            } catch { throw .options("\(module): \(error.description)") }
        }
        var settings = AdapterSettings(rank: 1, alpha: 1)
        settings.bias = addWhole(to: &records, ranks, &settings.modulesToSave) ? "all" : "none"
        let common = Dictionary(grouping: ranks.values, by: \.self).max {
            ($0.value.count, $1.key) < ($1.value.count, $0.key)
        }
        settings.rank = common?.key ?? 1
        settings.alpha = Double(settings.rank)
        settings.isFanInFanOut = pairs.items.contains(where: \.isFanInFanOut)
        let config = try ModelConfig(of: base)
        if config.architecture?.hasSuffix("ForCausalLM") ?? false { settings.taskType = "CAUSAL_LM" }
        settings.baseModel = config.nameOrPath ?? base.directory?.path
        let targets = PEFTConfig.targets(ranks.keys.sorted())
        var checkpoint = Checkpoint(
            format: "difference", tensors: records,
            files: (base.checkpoint.files + tuned.checkpoint.files).enumerated().map { number, file in
                var file = file
                file.path = "\(number < base.checkpoint.files.count ? "base" : "tuned")/\(file.path)"
                return file
            })
        checkpoint.embedded = [
            PEFTConfig(settings, targets: targets, ranks: ranks.filter { $0.value != settings.rank }).file
        ].compactMap(\.self)
        checkpoint.changes = [change]
        return OpenedModel(checkpoint: checkpoint, directory: nil)
    }

    /// Adds the tensors that are kept whole; biases by name, others with all of their modules.
    ///
    /// - Returns: whether there are biases.
    private func addWhole(
        to records: inout [TensorRecord], _ ranks: [String: Int], _ modules: inout [String]
    ) -> Bool {
        var hasBiases = false
        var saved: [String] = []
        for record in whole {
            let path = record.name.string.split(separator: ".").map(String.init)
            let module = path.dropLast().joined(separator: ".")
            if ranks[module] != nil
                || path.last == "bias"
                    && !whole.contains(where: { other in
                        other.name.string == module + ".weight"
                    })
            {
                hasBiases = true
                let place = ranks[module] != nil ? ".base_layer" : ""
                records.append(
                    TensorRecord(
                        name: TensorName("base_model.model.\(module)\(place).\(path.last ?? "")"),
                        dtype: record.dtype, shape: record.shape, source: record.source))
            } else if !saved.contains(module) {
                saved.append(module)
            }
        }
        for module in saved {
            for record in pairs.tuned where record.name.string.hasPrefix(module + ".") {
                records.append(
                    TensorRecord(
                        name: TensorName("base_model.model." + record.name.string), dtype: record.dtype,
                        shape: record.shape, source: record.source))
            }
        }
        modules = saved
        return hasBiases
    }

    private var change: CheckpointChange {
        let total = updates.reduce(0) { $0 + $1.outcome.squareSum }
        let missed = updates.reduce(0) {
            $0 + $1.outcome.squareSum * $1.outcome.relativeError * $1.outcome.relativeError
        }
        let kept = total > 0 ? 1 - missed / total : 1
        return CheckpointChange(
            kind: "extract",
            parameters: [
                .init("energy_kept", .number("\(kept)")), .init("whole", .integer(whole.count)),
                .init(
                    "updates",
                    .array(
                        updates.map(\.outcome).map { outcome in
                            .object([
                                .init("name", .string(outcome.name.string)),
                                .init("rank", .integer(outcome.rank)),
                                .init("relative_error", .number("\(outcome.relativeError)")),
                            ])
                        })),
            ],
            summary: "\(updates.count) updates that keep \(percent(kept)) of the difference, "
                + "\(whole.count) tensors whole")
    }

    private func percent(_ part: Double) -> String {
        let tenThousandths = Int((part * 1_000_000).rounded(.down))
        let rest = String(tenThousandths % 10_000)
        return "\(tenThousandths / 10_000).\(String(repeating: "0", count: 4 - rest.count))\(rest) %"
    }
}
