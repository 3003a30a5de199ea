public import Checkpoints
public import TensorCore

extension PyTorchReader {
    /// Joins the tables of the files that an index lists (`pytorch_model.bin.index.json`) into one.
    ///
    /// A tensor that stands in a file but not in the index is kept, with a warning.
    ///
    /// - Parameters:
    ///   - parts: the files by their names in the index, each with its table, in order.
    ///   - weightMap: the names of tensors with the files that the index says they are in.
    /// - Throws: where a file lacks a tensor that the index says it has, or two files have the same one.
    public static func merge(
        _ parts: [(file: String, checkpoint: Checkpoint)], weightMap: [(TensorName, String)]
    ) throws(CheckpointError) -> Checkpoint {
        var merged = Checkpoint(format: formatName, tensors: [], files: [])
        var places: [TensorName: String] = [:]
        var indexed: [TensorName: String] = [:]
        for (name, file) in weightMap { indexed[name] = file }
        for (file, checkpoint) in parts {
            for tensor in checkpoint.tensors {
                if let other = places.updateValue(file, forKey: tensor.name) {
                    throw CheckpointError(
                        .malformed, "duplicate-across-shards", "the tensor is in \(escaped(other.utf8)) too",
                        file: file, tensor: tensor.name)
                }
                if indexed[tensor.name] == nil {
                    merged.warnings.append(
                        CheckpointWarning(
                            "tensor-not-indexed", "the index does not list the tensor", file: file,
                            tensor: tensor.name))
                }
            }
            merged.tensors += checkpoint.tensors
            merged.metadata += checkpoint.metadata
            merged.files += checkpoint.files
            merged.skipped += checkpoint.skipped
            merged.warnings += checkpoint.warnings
            merged.root = merged.root ?? checkpoint.root
        }
        for (name, file) in weightMap where places[name] != file {
            let place = places[name].map { ": it is in \(escaped($0.utf8))" } ?? ""
            throw CheckpointError(
                .malformed, "tensor-missing", "the file lacks a tensor that the index says it has\(place)",
                file: file, tensor: name)
        }
        return merged
    }
}
