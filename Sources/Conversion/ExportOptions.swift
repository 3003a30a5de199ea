internal import SafeTensors

/// What an export may change on the way.
public struct ExportOptions: Sendable {
    /// The format to write.
    public var format: any OutputFormat
    /// Changes to names, dtypes and to which tensors are written, in order.
    public var transforms: [Transform]
    /// Whether a pattern that matches no tensor is a warning rather than an error.
    public var allowsUnmatched: Bool
    /// How tensors are divided among files and lie in them.
    public var layout: ExportLayout
    /// The most bytes of tensors in a file.
    ///
    /// 5 GB, as in the hub library.
    public var maxShardByteCount: UInt64
    /// Whether a directory that stands at the destination may be replaced.
    public var replacing: Bool
    /// What weights files are called, such as `model`; nil for what suits the source.
    public var baseName: String?

    /// Makes options.
    public init(
        format: any OutputFormat = OutputFormats.all[0], transforms: [Transform] = [],
        allowsUnmatched: Bool = false, layout: ExportLayout = .hub,
        maxShardByteCount: UInt64 = 5_000_000_000, replacing: Bool = false
    ) {
        self.format = format
        self.transforms = transforms
        self.allowsUnmatched = allowsUnmatched
        self.layout = layout
        self.maxShardByteCount = maxShardByteCount
        self.replacing = replacing
    }
}

/// How tensors are divided among files and lie in them.
public enum ExportLayout: Sendable, Equatable {
    /// As the hub library and the reference writer do it.
    case hub
    /// As few files as by ``hub``, of sizes as near to each other as the order of the tensors allows.
    case balanced
    /// Divided as by ``hub``; in a file data begins at a multiple of this power of two, and each tensor at the
    /// largest one that its size has.
    case aligned(UInt64)

    /// The rule by which tensors are divided among files.
    var split: ShardSplit { self == .balanced ? .balanced : .hub }

    /// The multiple at which the data of a file begins; see `SafeTensorsLayout`.
    var alignment: UInt64 {
        if case .aligned(let multiple) = self { multiple } else { SafeTensorsLayout.minimumAlignment }
    }
}
