public import Checkpoints
internal import TensorCore

/// What `torch.save` writes.
public struct PyTorchFormat: FileFormat {
    /// Makes the format.
    public init() {}

    /// The identifier.
    public var name: String { PyTorchReader.formatName }
    /// One line for people.
    public var summary: String { "PyTorch .bin, .pt, .pth and .ckpt: state dicts, never executed" }

    /// The usual file names.
    public var patterns: String { "*.bin *.pt *.pth *.ckpt" }

    /// The beginning of a zip archive or a pickle, or one of PyTorch's own extensions.
    public func recognizes(_ file: WeightsFile) -> Bool {
        PyTorchReader.recognizes(firstBytes: file.head, path: file.name)
    }

    /// Reads the headers of a file.
    public func read(_ file: WeightsFile, options: ReadOptions) throws(CheckpointError) -> Checkpoint {
        try PyTorchReader.read(file.source, displayName: file.name, options: options)
    }
}
