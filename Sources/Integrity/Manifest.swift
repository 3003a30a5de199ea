public import StrictJSON
public import TensorCore

/// The receipt of an export: every file and tensor with its digest, and what they were made from.
///
/// Written last, as `artifact-manifest.json`, beside the weights. It holds nothing that differs between two runs
/// over the same input, so equal exports are equal byte for byte. `Formats/manifest` has its JSON Schema.
public struct Manifest: Sendable {
    /// The file's name.
    public static let fileName = "artifact-manifest.json"
    /// What `schema` says.
    public static let schema = "artifact.manifest/v1"

    /// The program that wrote the files.
    public var tool: String
    /// Its version.
    public var toolVersion: String
    /// What was read.
    public var source: Source
    /// What was done on the way, in order.
    public var transforms: [Transform]
    /// Every file of the directory but the manifest, in name order.
    public var files: [File]
    /// Every tensor, in the order of the source.
    public var tensors: [Tensor]
    /// Names that were dropped because another name holds the same storage.
    public var ties: [Tie]
    /// What the source held that is not here.
    public var skipped: [Skipped]

    /// Makes a manifest.
    public init(
        tool: String, toolVersion: String, source: Source, transforms: [Transform], files: [File],
        tensors: [Tensor], ties: [Tie], skipped: [Skipped]
    ) {
        self.tool = tool
        self.toolVersion = toolVersion
        self.source = source
        self.transforms = transforms
        self.files = files
        self.tensors = tensors
        self.ties = ties
        self.skipped = skipped
    }

    /// What was read.
    public struct Source: Sendable {
        /// The format, such as `pytorch`.
        public var format: String
        /// The key of the nested dictionary that was taken, where there is one.
        public var root: String?
        /// The files that hold the weights.
        public var files: [File]

        /// Makes a source.
        public init(format: String, root: String?, files: [File]) {
            self.format = format
            self.root = root
            self.files = files
        }
    }

    /// A file with its digest.
    public struct File: Sendable, Equatable {
        /// The path relative to the directory, with `/` between parts.
        public var path: String
        /// What the file is for, such as `weights` or `tokenizer`.
        public var role: String
        /// The size, in bytes.
        public var byteCount: UInt64
        /// The SHA-256 of its bytes; nil where it was not wanted.
        public var sha256: SHA256Digest?

        /// Makes a file.
        public init(path: String, role: String, byteCount: UInt64, sha256: SHA256Digest?) {
            self.path = path
            self.role = role
            self.byteCount = byteCount
            self.sha256 = sha256
        }
    }

    /// A tensor with the digest of its bytes: contiguous, row-major, little-endian, or as blocks of an encoding.
    public struct Tensor: Sendable, Equatable {
        /// The name.
        public var name: TensorName
        /// The element type.
        public var dtype: DType
        /// The element type in the source, where it was converted.
        public var sourceDType: DType?
        /// The type of the blocks that the numbers are packed in, such as `Q4_K`; nil where they stand plainly.
        public var encoding: String?
        /// The dimensions.
        public var shape: [UInt64]
        /// The file that holds it.
        public var file: String
        /// Its first byte in the file.
        public var offset: UInt64
        /// Its size, in bytes.
        public var byteCount: UInt64
        /// The SHA-256 of its bytes; nil where it was not wanted.
        public var sha256: SHA256Digest?

        /// The byte after its last in the file; a manifest where that overflows is not read.
        public var end: UInt64 { offset + byteCount }

        /// Makes a tensor.
        public init(
            name: TensorName, dtype: DType, sourceDType: DType?, encoding: String? = nil, shape: [UInt64],
            file: String, offset: UInt64, byteCount: UInt64, sha256: SHA256Digest?
        ) {
            self.name = name
            self.dtype = dtype
            self.sourceDType = sourceDType
            self.encoding = encoding
            self.shape = shape
            self.file = file
            self.offset = offset
            self.byteCount = byteCount
            self.sha256 = sha256
        }
    }

    /// A name that stands for another's storage.
    public struct Tie: Sendable, Equatable {
        /// The name that was dropped.
        public var name: TensorName
        /// The name that was kept.
        public var kept: TensorName

        /// Makes a tie.
        public init(name: TensorName, kept: TensorName) {
            self.name = name
            self.kept = kept
        }
    }

    /// One thing that was done to the weights or the side files.
    public struct Transform: Sendable {
        /// What was done, such as `cast` or `untie`.
        public var kind: String
        /// Its settings.
        public var parameters: [JSONMember]

        /// Makes a transform.
        public init(kind: String, parameters: [JSONMember]) {
            self.kind = kind
            self.parameters = parameters
        }
    }

    /// Something that was left out, with the reason.
    public struct Skipped: Sendable, Equatable {
        /// A file name or a key.
        public var name: String
        /// The reason.
        public var reason: String

        /// Makes an entry.
        public init(name: String, reason: String) {
            self.name = name
            self.reason = reason
        }
    }
}
