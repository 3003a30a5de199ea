public import TensorCore

extension ShardSetAudit {
    /// What kind of disagreement a finding is.
    ///
    /// The raw values are stable and appear in reports. A shard whose header is refused or odd is reported with
    /// the code of ``SafeTensorsError`` or ``SafeTensorsWarning``.
    public struct Code: RawRepresentable, Sendable, Hashable {
        /// The identifier.
        public let rawValue: String

        /// Makes a code of its identifier.
        ///
        /// - Parameter rawValue: the identifier.
        public init(rawValue: String) { self.rawValue = rawValue }

        init(_ rawValue: String) { self.rawValue = rawValue }

        /// The index lists a file that is not there.
        public static let shardMissing = Code("shardMissing")
        /// A file could not be read, so nothing is known about it.
        public static let shardUnreadable = Code("shardUnreadable")
        /// The index says that a tensor is in a file that does not hold it.
        public static let tensorMissing = Code("tensorMissing")
        /// A file of the index holds a tensor that the index does not list.
        public static let tensorNotIndexed = Code("tensorNotIndexed")
        /// Two files of a set hold a tensor of the same name.
        public static let duplicateAcrossShards = Code("duplicateAcrossShards")
        /// The index states another size than the tensors have.
        public static let totalSizeMismatch = Code("totalSizeMismatch")
        /// The index names a file by a path that may lead outside its directory.
        public static let unsafePath = Code("unsafePath")
        /// The index has no `metadata`, which transformers requires.
        public static let indexWithoutMetadata = Code("indexWithoutMetadata")
        /// Numbered files have no index.
        public static let indexMissing = Code("indexMissing")
        /// The index is not JSON of the right shape.
        public static let badIndex = Code("badIndex")
        /// The index names a file of another kind.
        public static let wrongExtension = Code("wrongExtension")
        /// A file stands beside those of the index that it does not list.
        public static let unreferencedShard = Code("unreferencedShard")
        /// The names of the files state another number of files than there are.
        public static let shardCountMismatch = Code("shardCountMismatch")
    }

    /// How a finding weighs.
    public enum Severity: String, Sendable {
        /// A loader fails or gets wrong weights.
        case error
        /// Nothing is proven, because something could not be read.
        case unreadable
        /// Legal, but some loaders trip over it.
        case warning
    }

    /// One disagreement; also the reason why an index cannot be made.
    public struct Finding: Error, Sendable {
        /// How it weighs.
        public var severity: Severity
        /// What kind it is.
        public var code: Code
        /// The index or the shard that it is about, relative to the directory.
        public var file: String
        /// The tensor that it is about.
        public var tensor: TensorName?
        /// The byte of the file where it is, where that is known.
        public var offset: UInt64?
        /// What is wrong, as a phrase without a full stop.
        public var message: String

        init(
            _ severity: Severity, _ code: Code, file: String, tensor: TensorName? = nil,
            offset: UInt64? = nil, _ message: String
        ) {
            self.severity = severity
            self.code = code
            self.file = file
            self.tensor = tensor
            self.offset = offset
            self.message = message
        }
    }
}

extension ShardSetAudit.Finding: CustomStringConvertible {
    /// The file, the tensor where there is one, the message and the code in one line, safe to print.
    public var description: String {
        let place = escapedForDisplay(file) + (tensor.map { ": tensor \($0)" } ?? "")
        return "\(place): \(message) [\(code.rawValue)]"
    }
}
