public import CheckpointFormats
internal import Checkpoints
internal import TensorCore

extension OpenedModel {
    /// Joins models into one: the tensors of all, in order, and the side files of the first that has any.
    ///
    /// - Throws: where two hold a tensor of the same name, or what they hold adds up to more than 2^63 bytes.
    public init(joining models: [(path: String, model: OpenedModel)]) throws(ConversionError) {
        guard models.count != 1, let first = models.first else {
            guard let model = models.first?.model else { throw .options("there is no source") }
            self = model
            return
        }
        var parts = models.map { (file: $0.path, checkpoint: $0.model.checkpoint) }
        try Self.checkTotals(parts.flatMap(\.checkpoint.files))
        Self.tellApart(&parts)
        let directory = models.compactMap(\.model.directory).first { !$0.sideFiles.isEmpty }
        var joined: Checkpoint
        do { joined = try Checkpoint.merging(parts, weightMap: nil, directory: "") } catch {
            throw .source(error)
        }
        let formats = parts.map(\.checkpoint.format)
        if formats.contains(where: { $0 != formats[0] }) { joined.format = "mixed" }
        for (path, model) in models {
            guard let other = model.directory, other.path != directory?.path else { continue }
            joined.skipped += other.sideFiles.map {
                SkippedItem(
                    name: Path.join(Path.name(of: path), $0.name),
                    reason: "side files come from the first source that has any")
            }
        }
        self.init(checkpoint: joined, directory: directory ?? first.model.directory)
    }

    /// Gives source files of the same name the numbers of their sources.
    private static func tellApart(_ parts: inout [(file: String, checkpoint: Checkpoint)]) {
        let paths = parts.flatMap { $0.checkpoint.files.map { ByteKey($0.path) } }
        guard Set(paths).count < paths.count else { return }
        for number in parts.indices {
            for file in parts[number].checkpoint.files.indices {
                let path = parts[number].checkpoint.files[file].path
                parts[number].checkpoint.files[file].path = "\(number + 1)/\(path)"
            }
        }
    }

    private static func checkTotals(_ files: [SourceFile]) throws(ConversionError) {
        var total: UInt64 = 0
        for file in files {
            let (sum, overflow) = total.addingReportingOverflow(file.source.byteCount)
            guard !overflow, sum <= UInt64(Int64.max) else {
                throw .options("the sources add up to more than 2^63 bytes")
            }
            total = sum
        }
    }
}
