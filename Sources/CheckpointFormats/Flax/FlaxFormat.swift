public import Checkpoints
internal import TensorCore

/// What `flax.serialization` writes: a msgpack map of arrays.
public struct FlaxFormat: FileFormat {
    /// Makes the format.
    public init() {}

    /// The identifier.
    public var name: String { "flax" }
    /// One line for people.
    public var summary: String { "Flax msgpack: parameters and train states" }
    /// The usual file names.
    public var patterns: String { "*.msgpack checkpoint_*" }

    /// The extension, or a map whose first key is text and whose first value is one that Flax begins with.
    public func recognizes(_ file: WeightsFile) -> Bool {
        if file.name.hasSuffix(".msgpack") { return !file.head.isEmpty }
        let head = MemorySource(name: file.name, contents: file.head)
        var reader = MsgpackReader(head, file: file.name)
        guard file.head.first != 0x80, let top = try? reader.next(), case .map(let count) = top, count > 0,
            let key = try? reader.next(), case .text(let length) = key, length > 0,
            let text = try? reader.take(length), text.allSatisfy({ $0 > 0x20 && $0 < 0x7F }),
            let start = try? reader.take(1)
        else { return false }
        // A container, an array (an extension), nothing, or a number such as a step.
        switch start[0] {
        case 0x00...0x9F, 0xC0, 0xC7...0xC9, 0xCC...0xD3, 0xD8, 0xDC...0xDF: return true
        default: return false
        }
    }

    /// Reads the heads of a file's arrays.
    public func read(_ file: WeightsFile, options: ReadOptions) throws(CheckpointError) -> Checkpoint {
        var reader = FlaxReader(file.source, file: file.name)
        let selection = try PyTreeSelection(try reader.read(), options: options)
        return selection.checkpoint(
            format: name, files: [SourceFile(path: file.name, source: file.source)], root: options.root)
    }
}
