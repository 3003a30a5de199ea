internal import StrictJSON
public import TensorCore

extension Checkpoint {
    /// Joins the tables of the files of a sharded checkpoint into one.
    ///
    /// A tensor that stands in a file but not in the index is kept, with a warning.
    ///
    /// - Parameters:
    ///   - parts: the files by their names in the index, each with its table, in order.
    ///   - weightMap: the names of tensors with the files that the index says they are in; nil without an index.
    ///   - directory: the directory, for messages.
    /// - Throws: where a file lacks a tensor that the index says it has, or two files have the same one.
    public static func merging(
        _ parts: [(file: String, checkpoint: Checkpoint)], weightMap: [(name: TensorName, file: String)]?,
        directory: String
    ) throws(CheckpointError) -> Checkpoint {
        var merged = Checkpoint(format: parts.first?.checkpoint.format ?? "", tensors: [], files: [])
        var places: [TensorName: String] = [:]
        let indexed = weightMap.map { Set($0.map(\.name)) }
        for (file, checkpoint) in parts {
            for tensor in checkpoint.tensors {
                if let other = places.updateValue(file, forKey: tensor.name) {
                    throw CheckpointError(
                        .malformed, "duplicate-across-shards",
                        "the tensor is in \(escapedForDisplay(other)) too", file: Path.join(directory, file),
                        tensor: tensor.name)
                }
                if let indexed, !indexed.contains(tensor.name) {
                    merged.warnings.append(
                        CheckpointWarning(
                            "tensor-not-indexed", "the index does not list the tensor", file: file,
                            tensor: tensor.name))
                }
            }
            merged.add(checkpoint)
        }
        for (name, file) in weightMap ?? [] where places[name] != file {
            let place = places[name].map { ": it is in \(escapedForDisplay($0))" } ?? ""
            throw CheckpointError(
                .malformed, "tensor-missing", "the file lacks a tensor that the index says it has\(place)",
                file: Path.join(directory, file), tensor: name)
        }
        return merged
    }

    /// Appends another file's table; of metadata that both have, the first counts.
    private mutating func add(_ other: Checkpoint) {
        tensors += other.tensors
        metadata.merge(other.metadata)
        files += other.files
        skipped += other.skipped
        warnings += other.warnings
        changes += other.changes
        root = root ?? other.root
        embedded += other.embedded.filter { file in
            !embedded.contains { $0.file.name.utf8.elementsEqual(file.file.name.utf8) }
        }
        values += other.values.filter { member in
            !values.contains { $0.key.utf8.elementsEqual(member.key.utf8) }
        }
    }
}
