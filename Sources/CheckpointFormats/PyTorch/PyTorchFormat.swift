public import Checkpoints
public import TensorCore

/// What `torch.save` writes.
public struct PyTorchFormat: CheckpointFormat {
    /// Makes the format.
    public init() {}

    public var name: String { PyTorchReader.formatName }
    public var summary: String { "PyTorch .bin, .pt, .pth and .ckpt: state dicts, never executed" }

    public func recognizes(_ head: [UInt8], fileName: String) -> Bool {
        PyTorchReader.recognizes(firstBytes: head, path: fileName)
    }

    public func read(
        _ file: InputFile, path: String, options: ReadOptions
    ) throws(CheckpointError) -> Checkpoint {
        try PyTorchReader.read(file, displayName: path, root: options.root)
    }
}
