public import StrictJSON
public import TensorCore

/// The index of a checkpoint in several files: which tensor is in which file.
///
/// Reads and writes `model.safetensors.index.json`; `pytorch_model.bin.index.json` has the same shape.
public struct ShardIndex: Sendable {
    /// A tensor and the file that holds it.
    public struct Entry: Sendable, Hashable {
        /// The tensor.
        public var tensor: TensorName
        /// The file, relative to the directory of the index.
        public var file: String

        /// Makes an entry.
        ///
        /// - Parameters:
        ///   - tensor: the tensor.
        ///   - file: the file that holds it, relative to the directory of the index.
        public init(tensor: TensorName, file: String) {
            self.tensor = tensor
            self.file = file
        }
    }

    /// The largest index that is read, in bytes: room for millions of tensors.
    public static let byteCountLimit = 512 << 20

    /// The tensors, each once, in the order of the document.
    public var entries: [Entry]
    /// What else the index says, such as `total_size`, in the order of the document.
    public var metadata: [JSONMember]
    /// Members of the document besides `metadata` and `weight_map`, in its order; no known writer makes any.
    public var others: [JSONMember] = []
    /// What was odd about the document.
    public private(set) var warnings = SafeTensorsWarnings()

    /// Makes an index of `entries`.
    ///
    /// - Parameters:
    ///   - entries: the tensors with the files that hold them.
    ///   - totalSize: the size of the tensors' data in bytes, tied ones counted once.
    ///   - totalParameters: the number of elements, if known.
    ///   - extra: further members of `metadata`.
    public init(
        entries: [Entry], totalSize: UInt64, totalParameters: UInt64? = nil, extra: [JSONMember] = []
    ) {
        self.entries = entries
        metadata = []
        if let totalParameters {
            metadata.append(JSONMember(key: "total_parameters", value: .integer(totalParameters)))
        }
        metadata.append(JSONMember(key: "total_size", value: .integer(totalSize)))
        metadata += extra
    }

    init(entries: [Entry], metadata: [JSONMember], others: [JSONMember]) {
        self.entries = entries
        self.metadata = metadata
        self.others = others
    }

    /// Reads an index.
    ///
    /// - Parameters:
    ///   - document: the bytes of the file.
    ///   - fileExtension: the extension that every shard must have, without the dot.
    /// - Throws: ``SafeTensorsError/Code/badIndex`` where the document is not strict JSON of the right shape,
    ///   ``SafeTensorsError/Code/unsafePath`` where a shard's path leaves the directory, and
    ///   ``SafeTensorsError/Code/wrongExtension``.
    public init(
        parsing document: [UInt8], fileExtension: String = "safetensors"
    ) throws(SafeTensorsError) {
        try self.init(parsing: document, fileExtension: fileExtension) {
            (member, error) throws(SafeTensorsError) in throw error
        }
    }

    /// Reads an index and leaves out the entries that are refused.
    ///
    /// - Parameter refuse: called with each entry that names no usable file, and why.
    init(
        parsing document: [UInt8], fileExtension: String,
        refuse: (JSONMember, SafeTensorsError) throws(SafeTensorsError) -> Void
    ) throws(SafeTensorsError) {
        let root = try Self.root(of: document)
        guard let map = root["weight_map"]?.members else {
            throw SafeTensorsError(.badIndex, "the index has no weight_map object")
        }
        entries = []
        entries.reserveCapacity(map.count)
        for member in map {
            do throws(SafeTensorsError) {
                entries.append(try Self.entry(member, fileExtension: fileExtension))
            } catch {
                try refuse(member, error)
            }
        }
        metadata = []
        switch root["metadata"] {
        case .object(let members): metadata = members
        case nil, .null:
            warnings.add(
                .indexWithoutMetadata, at: 0, "the index has no metadata, which transformers requires")
        default: throw SafeTensorsError(.badIndex, "metadata is not an object")
        }
        others = (root.members ?? []).filter { !["metadata", "weight_map"].contains($0.key) }
    }

    /// The size of all tensors that the index states, if it states one.
    public var totalSize: UInt64? {
        metadata.first { $0.key.utf8.elementsEqual("total_size".utf8) }?.value.uint64
    }

    /// The files, each once, in the order in which the entries first name them.
    public var files: [String] {
        var seen: Set<ByteKey> = []
        return entries.map(\.file).filter { seen.insert(ByteKey($0)).inserted }
    }

    private static func root(of document: [UInt8]) throws(SafeTensorsError) -> JSONValue {
        let root: JSONValue
        do {
            root = try JSONValue(parsing: document)
        } catch {
            throw SafeTensorsError(
                .badIndex, at: UInt64(error.offset), "the index is not valid JSON: \(error.message)")
        }
        guard root.members != nil else { throw SafeTensorsError(.badIndex, "the index is not a JSON object") }
        return root
    }

    private static func entry(
        _ member: JSONMember, fileExtension: String
    ) throws(SafeTensorsError) -> Entry {
        let name = TensorName(member.key)
        guard let file = member.value.string else {
            throw SafeTensorsError(.badIndex, tensor: name, "weight_map gives no file name")
        }
        let shown = escapedForDisplay(file)
        guard Path.isSafeRelative(file) else {
            throw SafeTensorsError(
                .unsafePath, tensor: name, "the path \"\(shown)\" may lead outside the directory of the index"
            )
        }
        let suffix = Array(".\(fileExtension)".utf8)
        guard Path.name(of: file).utf8.count > suffix.count,
            file.utf8.suffix(suffix.count).elementsEqual(suffix)
        else {
            throw SafeTensorsError(
                .wrongExtension, tensor: name, "the file \"\(shown)\" does not end in .\(fileExtension)")
        }
        return Entry(tensor: name, file: file)
    }
}
