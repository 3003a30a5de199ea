public import Checkpoints
internal import TensorCore

/// A single array that `numpy.save` wrote, as a checkpoint of one tensor with the name of the file.
public struct NPYFormat: FileFormat {
    /// Makes the format.
    public init() {}

    /// The identifier.
    public var name: String { "npy" }
    /// One line for people.
    public var summary: String { "NumPy array: one tensor with the name of its file" }
    /// The usual file names.
    public var patterns: String { "*.npy" }

    /// The magic of an array, or its extension.
    public func recognizes(_ file: WeightsFile) -> Bool {
        file.head.starts(with: NPYHeader.magic) || file.name.hasSuffix(".npy")
    }

    /// Reads the header of a file.
    public func read(_ file: WeightsFile, options: ReadOptions) throws(CheckpointError) -> Checkpoint {
        let array = try NPYArray(
            reading: file.source, range: 0..<file.source.byteCount, options: options, file: file.name)
        var title = Path.name(of: file.name)
        if title.hasSuffix(".npy") { title.removeLast(4) }
        var checkpoint = Checkpoint(
            format: name, tensors: [TensorRecord(name: TensorName(title), array.tensor)],
            files: [SourceFile(path: file.name, source: file.source)])
        if array.trailingByteCount > 0 {
            checkpoint.warnings.append(
                CheckpointWarning(
                    "trailing-bytes",
                    "\(array.trailingByteCount) bytes follow the array (numpy.load leaves them unread); "
                        + "they were not used", file: file.name,
                    offset: file.source.byteCount - array.trailingByteCount))
        }
        return checkpoint
    }
}
