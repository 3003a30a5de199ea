internal import Architectures
internal import Checkpoints
internal import StrictJSON
internal import TensorCore

extension OpenedModel {
    /// The model with its tensors under the names, and in the shapes, of a scheme.
    ///
    /// - Parameters:
    ///   - scheme: the scheme, such as `hf`.
    ///   - path: the file or directory that the model was read from; a config beside a file counts as its own.
    ///   - options: the caller's choices.
    func renamed(
        to scheme: String, path: String, options: ReadOptions
    ) throws(CheckpointError) -> OpenedModel {
        guard let config = try config(path: path) else {
            throw CheckpointError(
                .unsupported, "config-missing",
                "what its tensors are called depends on the model: put its config.json beside it", file: path)
        }
        let map = try ArchitectureMap.find(config: config, file: path)
        let dimensions = map.dimensions(config: config)
        let own = try map.scheme(
            of: checkpoint.tensors.map(\.name), dimensions: dimensions,
            allowsUnknown: options.skipsUnsupported, file: path)
        let mapped = try map.map(
            checkpoint.tensors, from: own, to: scheme, dimensions: dimensions,
            unmapped: options.skipsUnsupported ? .left : .refused, file: path)
        var model = self
        model.checkpoint.skipped +=
            mapped.ignored.map {
                SkippedItem(
                    name: $0.string, reason: "has no place among the names \"\(scheme)\"", tensorCount: 1)
            }
            + mapped.unmapped.map {
                SkippedItem(name: $0.string, reason: "the map \(map.name) does not know it", tensorCount: 1)
            }
        // A table that is as it was stays one file's.
        let isSame =
            own == scheme && zip(mapped.tensors, checkpoint.tensors).allSatisfy { $0.name == $1.name }
        if !isSame || mapped.tensors.count != checkpoint.tensors.count {
            model.checkpoint.tensors = TensorTable(mapped.tensors)
        }
        return model
    }

    /// The config of the model: one in its directory, one that the source holds, or one beside the file.
    private func config(path: String) throws(CheckpointError) -> JSONValue? {
        let name = "config.json"
        let limit = 16 << 20
        let bytes: [UInt8]
        var place = Path.join(directory?.path ?? path, name)
        do {
            if let side = sideFiles.first(where: { $0.file.name == name }), let source = side.embedded {
                guard source.byteCount <= UInt64(limit) else { return nil }
                bytes = try source.bytes(at: 0, count: Int(source.byteCount))
            } else {
                if directory == nil { place = Path.join(Path.parent(of: path), name) }
                guard try FileSystem.kind(of: place) == .file else { return nil }
                bytes = try FileSystem.contents(of: place, limit: limit)
            }
        } catch {
            throw CheckpointError(error)
        }
        do { return try JSONValue(parsing: bytes) } catch {
            throw CheckpointError(
                .malformed, "bad-config", error.message, file: place, offset: UInt64(error.offset))
        }
    }
}
