public import Checkpoints
internal import TensorCore

/// ONNX models: the initializers of the graph, also those whose bytes are in files beside it.
public struct ONNXFormat: FileFormat {
    /// Makes the format.
    public init() {}

    /// The identifier.
    public var name: String { "onnx" }
    /// One line for people.
    public var summary: String { "ONNX initializers, with external data" }
    /// The usual file names.
    public var patterns: String { "*.onnx" }

    /// A message with the fields of a model from its first byte to its last, or the extension.
    public func recognizes(_ file: WeightsFile) -> Bool {
        file.name.hasSuffix(".onnx") || Self.isModel(file)
    }

    /// Reads the headers of a file.
    public func read(_ file: WeightsFile, options: ReadOptions) throws(CheckpointError) -> Checkpoint {
        var reader = ONNXReader(file: file, options: options)
        return try reader.read()
    }

    /// The fields of a model that are numbers, and those that are messages or texts.
    private static let numbers: Set<Int> = [1, 5]
    private static let messages: Set<Int> = [2, 3, 4, 6, 7, 8, 14, 20, 25, 26]
    private static let fieldLimit = 100_000

    /// Whether the file is a message with the fields of a model, a version and a graph among them.
    private static func isModel(_ file: WeightsFile) -> Bool {
        // Writers begin with the version, a small number, so that files of other formats are hardly ever read for this.
        let head = file.head
        guard head.count > 2, head[0] == 0x08, 1...64 ~= head[1],
            messages.union(numbers).contains(Int(head[2] >> 3))
        else { return false }
        var message = ProtobufFile(file.source, name: file.name).message
        var found: Set<Int> = []
        do throws(CheckpointError) {
            for _ in 0..<fieldLimit {
                guard let field = try message.next() else { break }
                guard field.bytes == nil ? numbers.contains(field.number) : messages.contains(field.number)
                else {
                    return false
                }
                found.insert(field.number)
            }
        } catch {
            // Reading it will meet the failure again and say what it was.
            return error.class == .io
        }
        return message.isAtEnd && found.contains(1) && found.contains(7)
    }
}
