public import Checkpoints
public import TensorCore

/// What `torch.save` writes.
public struct PyTorchFormat: CheckpointFormat {
    /// Makes the format.
    public init() {}

    /// The identifier.
    public var name: String { PyTorchReader.formatName }
    /// One line for people.
    public var summary: String { "PyTorch .bin, .pt, .pth and .ckpt: state dicts, never executed" }

    /// The beginning of a zip archive or a pickle, or one of PyTorch's own extensions.
    public func recognizes(_ head: [UInt8], fileName: String) -> Bool {
        PyTorchReader.recognizes(firstBytes: head, path: fileName)
    }

    /// Reads the headers of a file.
    public func read(
        _ file: any ByteSource, path: String, options: ReadOptions
    ) throws(CheckpointError) -> Checkpoint {
        try PyTorchReader.read(file, displayName: path, root: options.root)
    }
}
