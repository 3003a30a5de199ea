public import CheckpointFormats
public import Checkpoints
public import Integrity
public import StrictJSON
public import TensorCore

/// A format that an export writes.
///
/// It lays out files before a byte moves: names, sizes, the place of every tensor and all bytes between them. A new
/// one is a type of this kind and a line in ``all``.
public protocol OutputFormat: Sendable {
    /// The identifier, as `--to` takes it.
    var name: String { get }
    /// One line for people: what it is and who reads it.
    var summary: String { get }
    /// The names of the files, such as `*.bin`.
    var patterns: String { get }
    /// What becomes of names that share a storage.
    var tieRule: TieRule { get }
    /// Whether a file of this role goes along beside the weights; usually all do.
    func carries(_ role: SideFile.Role) -> Bool
    /// The weights files of a model.
    func layOut(_ model: OutputModel) throws(ConversionError) -> OutputLayout
}

extension OutputFormat {
    /// Everything goes along.
    public func carries(_ role: SideFile.Role) -> Bool { true }
}

/// What becomes of a name that shares its storage with another, where nobody says otherwise.
public enum TieRule: Sendable {
    /// It is left out: whoever loads the file ties it again.
    case dropped
    /// It stays, as another name for the same bytes.
    case aliased
    /// It stays with bytes of its own.
    case copied
}

/// What an output format is given: the tensors to write, and the model around them.
public struct OutputModel: Sendable {
    /// The tensors, in the order of the source.
    public let tensors: [TensorRecord]
    /// The dtype of each tensor in the source.
    public let sourceDTypes: [DType]
    /// Names that share the storage of one of the tensors, by its number, and are not among them.
    public let aliases: [(name: TensorName, tensor: Int)]
    /// Text that the source keeps beside its tensors.
    public let metadata: [(key: String, value: String)]
    /// What the source is called, for messages.
    public let sourceName: String
    /// What the names of the files begin with where the format has no say: `model` or `adapter_model`.
    public let baseName: String
    /// What `config.json` says, where there is one that could be understood.
    public let config: JSONValue?
    /// The model around the tensors, whose other files a format may take in.
    public let source: OpenedModel
    /// The caller's choices.
    public let options: ExportOptions
}

/// The weights files of an export.
public struct OutputLayout: Sendable {
    /// The files, in order.
    public var shards: [ExportPlan.Shard]
    /// The index, where there is one.
    public var index: (name: String, contents: [UInt8])?
    /// What the format has no place for.
    public var skipped: [SkippedItem] = []
    /// The files that were read to make them, beside the weights.
    public var inputs: [InputFile] = []
    /// What may be missed in the files.
    public var warnings: [CheckpointWarning] = []
    /// What the format did to the tensors.
    public var transforms: [Manifest.Transform] = []
}

/// The formats that are written.
public enum OutputFormats {
    /// All of them, the usual one first.
    public static let all: [any OutputFormat] = [
        SafeTensorsOutput(), PyTorchOutput(), GGUFOutput(), NumPyOutput(),
    ]

    /// The format of this name.
    public static func named(_ name: String) -> (any OutputFormat)? { all.first { $0.name == name } }
}

extension OutputModel {
    /// An item of a file: a tensor of this number, at `offset`.
    func item(_ number: Int, at offset: UInt64) -> ExportPlan.Item {
        ExportPlan.Item(
            tensor: tensors[number], sourceDType: sourceDTypes[number], offset: offset, order: number,
            encoding: nil)
    }

    /// The text beside the tensors as something that stays behind.
    func metadataLeft(_ why: String) -> [SkippedItem] {
        metadata.allSatisfy { $0.key == "format" } ? [] : [SkippedItem(name: "__metadata__", reason: why)]
    }

    /// Refuses a tensor that the format cannot hold.
    func refusal(_ number: Int, _ code: String, _ message: String) -> ConversionError {
        .source(
            CheckpointError(
                .unsupported, code, message, file: sourceName, tensor: tensors[number].name))
    }
}
