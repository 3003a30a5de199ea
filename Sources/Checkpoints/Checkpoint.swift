public import StrictJSON
public import TensorCore

/// A model's weights as a table of lazy tensors, with what stands beside them.
///
/// Reading a checkpoint reads headers only; bytes move when a ``TensorSource`` is read.
public struct Checkpoint: Sendable {
    /// The format that was found, such as `safetensors` or `pytorch`.
    public var format: String
    /// The tensors in the order of the source, each name once.
    public var tensors: TensorTable
    /// Text that the source keeps beside its tensors (the `__metadata__` of SafeTensors), in source order.
    public var metadata: MetadataTable
    /// The files that hold the weights and their indexes.
    public var files: [SourceFile]
    /// What the source holds that is not among `tensors`, with the reason.
    public var skipped: [SkippedItem]
    /// Oddities.
    public var warnings: [CheckpointWarning]
    /// The key of the nested dictionary that was taken as the weights, where the source nests them.
    public var root: String?
    /// Files that the source holds inside, such as a tokenizer or a config made of its header; a file of the same
    /// name beside the source counts more.
    public var embedded: [EmbeddedFile] = []
    /// Plain values that the source keeps beside its tensors, such as a trainer's settings and its step.
    public var values: [JSONMember] = []

    /// What was done to the tensors since they were read, in order, such as the merge of an adapter.
    public var changes: [CheckpointChange] = []

    /// Makes a checkpoint.
    public init(
        format: String, tensors: TensorTable, metadata: MetadataTable = MetadataTable(),
        files: [SourceFile], skipped: [SkippedItem] = [], warnings: [CheckpointWarning] = [],
        root: String? = nil
    ) {
        self.format = format
        self.tensors = tensors
        self.metadata = metadata
        self.files = files
        self.skipped = skipped
        self.warnings = warnings
        self.root = root
    }
}

/// One row of the table: a tensor that can produce its bytes.
public struct TensorRecord: Sendable {
    /// The name.
    public var name: TensorName
    /// The element type of the bytes that `source` produces.
    public var dtype: DType
    /// The dimensions, outermost first; empty for a scalar.
    public var shape: [UInt64]
    /// Produces the elements in row-major order, little-endian.
    public var source: TensorSource

    /// Makes a record.
    ///
    /// The shape's size must be known not to overflow.
    public init(name: TensorName, dtype: DType, shape: [UInt64], source: TensorSource) {
        self.name = name
        self.dtype = dtype
        self.shape = shape
        self.source = source
    }

    /// The bytes that the tensor takes when contiguous.
    public var byteCount: UInt64 { source.byteCount }

    /// The number of elements.
    public var elementCount: UInt64 { DType.elementCount(of: shape) ?? 0 }
}

/// A file that was read, and the checks that its own format offers.
public struct SourceFile: Sendable {
    /// The path relative to the checkpoint's directory (or the file's name).
    public var path: String
    /// The bytes.
    public var source: any ByteSource
    /// The open file, to tell whether it changed while it was read; nil for sources that are not files.
    public var input: InputFile? { source as? InputFile }
    /// Ranges whose CRC-32 the file itself states, in ascending order, not overlapping.
    public var checksums: [RangeChecksum]
    /// Compressed members of the file whose CRC-32 is stated, as files of their own.
    public var members: [SourceFile] = []

    /// Makes a source file.
    public init(path: String, source: any ByteSource, checksums: [RangeChecksum] = []) {
        self.path = path
        self.source = source
        self.checksums = checksums
    }
}

/// A CRC-32 (as in zip) that a file states for a range of its own bytes.
public struct RangeChecksum: Sendable, Hashable {
    /// The bytes of the file.
    public var range: Range<UInt64>
    /// The CRC-32 that they should have.
    public var crc32: UInt32
    /// What the range is, such as the name of a zip member.
    public var label: String

    /// Makes a checksum.
    public init(range: Range<UInt64>, crc32: UInt32, label: String) {
        self.range = range
        self.crc32 = crc32
        self.label = label
    }
}

/// A file that stands inside a checkpoint, or is made of what does.
public struct EmbeddedFile: Sendable {
    /// The file's name, a plain one, and its role.
    public var file: SideFile
    /// The bytes.
    public var source: any ByteSource

    /// Makes an embedded file; nil where the name is no plain file name or no such file travels with a model.
    public init?(name: String, source: any ByteSource) {
        guard Path.isSafeRelative(name), !name.utf8.contains(0x2F), let role = SideFile.Role(fileName: name)
        else {
            return nil
        }
        file = SideFile(name: name, role: role)
        self.source = source
    }
}

/// Something that was done to a checkpoint's tensors, for the receipt.
public struct CheckpointChange: Sendable {
    /// What, such as `merge`.
    public var kind: String
    /// With which settings.
    public var parameters: [JSONMember]
    /// The same in one line, for people.
    public var summary: String

    /// Makes a change.
    public init(kind: String, parameters: [JSONMember], summary: String) {
        self.kind = kind
        self.parameters = parameters
        self.summary = summary
    }
}

/// Something in the source that is not exported.
public struct SkippedItem: Sendable, Hashable {
    /// Its path in the source: a file name or a key.
    public var name: String
    /// Why it is left out, in a few words.
    public var reason: String
    /// The tensors in it.
    public var tensorCount: Int

    /// Makes an item.
    public init(name: String, reason: String, tensorCount: Int = 0) {
        self.name = name
        self.reason = reason
        self.tensorCount = tensorCount
    }
}

extension Checkpoint {
    /// Makes a checkpoint of records.
    public init(
        format: String, tensors: [TensorRecord], files: [SourceFile], skipped: [SkippedItem] = [],
        warnings: [CheckpointWarning] = [], root: String? = nil
    ) {
        self.init(
            format: format, tensors: TensorTable(tensors), files: files, skipped: skipped, warnings: warnings,
            root: root)
    }

    /// The groups of tensors that are one and the same piece of storage, each in table order, first groups first.
    ///
    /// Tied means: same source bytes, same strides, same dtype and shape. Views that merely overlap are not tied.
    public var tiedGroups: [[TensorName]] {
        guard !tensors.isPartition else { return [] }
        var order: [TieKey] = []
        var groups: [TieKey: [TensorName]] = [:]
        for tensor in tensors {
            guard let key = TieKey(tensor) else { continue }
            if groups[key] == nil { order.append(key) }
            groups[key, default: []].append(tensor.name)
        }
        return order.compactMap { key in groups[key].flatMap { $0.count > 1 ? $0 : nil } }
    }
}

/// What two tied tensors have in common.
struct TieKey: Hashable {
    let identity: TensorSource.Identity
    let dtype: DType
    let shape: [UInt64]

    init?(_ tensor: TensorRecord) {
        guard tensor.byteCount > 0, let identity = tensor.source.identity else { return nil }
        self.identity = identity
        dtype = tensor.dtype
        shape = tensor.shape
    }
}
