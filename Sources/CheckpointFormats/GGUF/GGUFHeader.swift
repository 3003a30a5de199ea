public import Checkpoints
public import TensorCore

/// The header of a GGUF file: keys with values in order, and where the tensors stand.
public struct GGUFHeader: Sendable {
    /// The version of the format, 2 or 3; both are laid out alike.
    public private(set) var version: UInt32 = 3
    /// The keys with their values, in order, each key once.
    public private(set) var pairs: [GGUFPair]
    /// The tensors, in the order of their data.
    public private(set) var tensors: [GGUFTensorInfo]
    /// What the data and every tensor in it begin at a multiple of, in bytes.
    public private(set) var alignment: UInt64
    /// The byte of the file where the data begins.
    public private(set) var dataOffset: UInt64
    /// The bytes of the data, the last tensor padded.
    public private(set) var dataByteCount: UInt64

    /// The key that says the alignment.
    static let alignmentKey = "general.alignment"
    /// The alignment where no key says it.
    static let usualAlignment: UInt64 = 32
    /// The most bytes that a header may take; those with half a million tokens and their merges have 20 MB.
    static let byteCountLimit = 64 << 20
    /// The most keys that a header may have.
    static let pairCountLimit = 1 << 16
    /// The most tensors that a header may have.
    static let tensorCountLimit = 1 << 16
    /// A tensor's name must have fewer bytes, for GGML.
    static let nameByteCountLimit = 64
    /// The most dimensions that a tensor may have, for GGML.
    static let rankLimit = 4

    /// The value of a key, compared as bytes, or nil.
    public subscript(key: String) -> GGUFValue? {
        pairs.first { $0.key.utf8.elementsEqual(key.utf8) }?.value
    }

    init(version: UInt32, pairs: [GGUFPair], tensors: [GGUFTensorInfo], alignment: UInt64, end: UInt64) {
        self.version = version
        self.pairs = pairs
        self.tensors = tensors
        self.alignment = alignment
        dataOffset = Self.padded(end, to: alignment)
        dataByteCount = tensors.last.map { Self.padded($0.offset + $0.byteCount, to: alignment) } ?? 0
    }

    /// `offset`, or the next multiple of `alignment`; both far from the end of 64 bits.
    static func padded(_ offset: UInt64, to alignment: UInt64) -> UInt64 {
        (offset + alignment - 1) & ~(alignment - 1)
    }
}

/// A key of a GGUF header with its value.
public struct GGUFPair: Sendable, Equatable {
    /// The key, such as `llama.block_count`.
    public var key: String
    /// The value.
    public var value: GGUFValue

    /// Makes a pair.
    public init(_ key: String, _ value: GGUFValue) {
        self.key = key
        self.value = value
    }
}

/// What a GGUF header says of a tensor.
public struct GGUFTensorInfo: Sendable, Equatable {
    /// The name.
    public let name: TensorName
    /// The dimensions, outermost first (files have them the other way around).
    public let shape: [UInt64]
    /// The type of the elements.
    public let type: GGUFType
    /// The first byte, counted from where the data begins.
    public let offset: UInt64
    /// The bytes, without padding.
    public let byteCount: UInt64
}

// MARK: - Making

extension GGUFHeader {
    /// Lays out a file: its keys, and its tensors one after another.
    ///
    /// - Parameters:
    ///   - pairs: the keys with their values; the alignment is among them where it is not 32.
    ///   - tensors: the tensors in the order in which their data will stand.
    ///   - file: the file, for messages.
    /// - Throws: what GGML would refuse: a name that is too long, a row that is no whole number of blocks, and the
    ///   like.
    public init(
        pairs: [GGUFPair], tensors: [(name: TensorName, shape: [UInt64], type: GGUFType)], file: String
    ) throws(CheckpointError) {
        let alignment = try Self.alignment(pairs, file: file)
        var keys: Set<ByteKey> = []
        for pair in pairs {
            guard !pair.key.isEmpty, keys.insert(ByteKey(pair.key)).inserted else {
                throw CheckpointError(
                    .malformed, "gguf-key",
                    "the key '\(escapedForDisplay(pair.key))' is empty or there twice",
                    file: file)
            }
        }
        var infos: [GGUFTensorInfo] = []
        var names: Set<TensorName> = []
        var offset: UInt64 = 0
        for (name, shape, type) in tensors {
            guard names.insert(name).inserted else {
                throw CheckpointError(
                    .malformed, "duplicate-tensor", "the tensor is there twice", file: file, tensor: name)
            }
            let info = try GGUFTensorInfo(
                name: name, shape: shape, type: type, offset: offset, file: file)
            infos.append(info)
            offset = try info.end(alignment: alignment, file: file)
        }
        self.init(version: 3, pairs: pairs, tensors: infos, alignment: alignment, end: 0)
        dataOffset = Self.padded(UInt64(unpaddedBytes().count), to: alignment)
    }

    /// The alignment that the pairs say.
    static func alignment(_ pairs: [GGUFPair], file: String) throws(CheckpointError) -> UInt64 {
        guard let value = pairs.first(where: { $0.key.utf8.elementsEqual(alignmentKey.utf8) })?.value else {
            return usualAlignment
        }
        guard case .uint32(let alignment) = value, alignment.nonzeroBitCount == 1 else {
            throw CheckpointError(
                .malformed, "gguf-alignment", "\(alignmentKey) is no power of two of type u32", file: file)
        }
        return UInt64(alignment)
    }

    /// The bytes of the header, up to where the data begins.
    public func encoded() -> [UInt8] {
        var bytes = unpaddedBytes()
        bytes += [UInt8](repeating: 0, count: Int(dataOffset) - bytes.count)
        return bytes
    }

    private func unpaddedBytes() -> [UInt8] {
        var bytes = Array("GGUF".utf8)
        bytes.append(littleEndian: version)
        bytes.append(littleEndian: UInt64(tensors.count))
        bytes.append(littleEndian: UInt64(pairs.count))
        for pair in pairs {
            bytes.append(gguf: pair.key.utf8)
            bytes.append(littleEndian: pair.value.kind.rawValue)
            pair.value.append(to: &bytes)
        }
        for tensor in tensors {
            bytes.append(gguf: tensor.name.utf8)
            bytes.append(littleEndian: UInt32(tensor.shape.count))
            for dimension in tensor.shape.reversed() { bytes.append(littleEndian: dimension) }
            bytes.append(littleEndian: tensor.type.id)
            bytes.append(littleEndian: tensor.offset)
        }
        return bytes
    }
}

extension GGUFTensorInfo {
    /// Makes the info of a tensor after checking what GGML checks.
    init(
        name: TensorName, shape: [UInt64], type: GGUFType, offset: UInt64, file: String
    ) throws(CheckpointError) {
        guard name.utf8.count < GGUFHeader.nameByteCountLimit else {
            throw CheckpointError(
                .malformed, "gguf-name",
                "GGML takes names of fewer than \(GGUFHeader.nameByteCountLimit) bytes",
                file: file, tensor: name)
        }
        guard shape.count <= GGUFHeader.rankLimit else {
            throw CheckpointError(
                .malformed, "gguf-shape",
                "GGML takes at most \(GGUFHeader.rankLimit) dimensions, and these are \(shape.count)",
                file: file, tensor: name)
        }
        guard let byteCount = type.byteCount(of: shape) else {
            throw CheckpointError(
                .malformed, "gguf-shape",
                "shape \(shape) is too large, or its rows are no whole number of \(type.name) blocks of "
                    + "\(type.blockElementCount)", file: file, tensor: name)
        }
        self.name = name
        self.shape = shape
        self.type = type
        self.offset = offset
        self.byteCount = byteCount
    }

    /// Where the next tensor begins.
    func end(alignment: UInt64, file: String) throws(CheckpointError) -> UInt64 {
        let (end, overflow) = offset.addingReportingOverflow(byteCount)
        guard !overflow, end <= UInt64(Int64.max) - alignment else {
            throw CheckpointError(
                .malformed, "size-overflow", "the tensors up to this one have more than 2^63 bytes",
                file: file, tensor: name)
        }
        return GGUFHeader.padded(end, to: alignment)
    }
}

extension GGUFValue {
    /// Appends the value as it stands in a file, without what says its kind.
    fileprivate func append(to bytes: inout [UInt8]) {
        switch self {
        case .uint8(let value): bytes.append(value)
        case .int8(let value): bytes.append(UInt8(bitPattern: value))
        case .uint16(let value): bytes.append(littleEndian: value)
        case .int16(let value): bytes.append(littleEndian: value)
        case .uint32(let value): bytes.append(littleEndian: value)
        case .int32(let value): bytes.append(littleEndian: value)
        case .float32(let value): bytes.append(littleEndian: value.bitPattern)
        case .bool(let value): bytes.append(value ? 1 : 0)
        case .string(let text): bytes.append(gguf: text.utf8)
        case .uint64(let value): bytes.append(littleEndian: value)
        case .int64(let value): bytes.append(littleEndian: value)
        case .float64(let value): bytes.append(littleEndian: value.bitPattern)
        case .strings(let strings):
            bytes.append(littleEndian: Kind.string.rawValue)
            bytes.append(littleEndian: UInt64(strings.count))
            for string in strings { bytes.append(gguf: string) }
        case .numbers(let numbers):
            bytes.append(littleEndian: numbers.kind.rawValue)
            bytes.append(littleEndian: UInt64(numbers.count))
            bytes += numbers.bytes
        }
    }
}

extension [UInt8] {
    /// Appends a string as GGUF writes it: its length, then its bytes.
    fileprivate mutating func append(gguf string: some Collection<UInt8>) {
        append(littleEndian: UInt64(string.count))
        append(contentsOf: string)
    }
}
