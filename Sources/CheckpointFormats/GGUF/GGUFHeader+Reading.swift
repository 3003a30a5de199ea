public import Checkpoints
public import TensorCore

extension GGUFHeader {
    /// Reads the header of a file, as strictly as GGML does.
    ///
    /// - Parameters:
    ///   - source: the file.
    ///   - file: its name, for messages.
    /// - Throws: where the file is damaged, or of a version that is not read.
    public init(reading source: any ByteSource, file: String) throws(CheckpointError) {
        var cursor = GGUFCursor(source, file: file)
        let version = try Self.readVersion(&cursor, file: file)
        let tensorCount = try Self.readCount(
            &cursor, of: "tensors", least: 24, limit: Self.tensorCountLimit, file: file)
        let pairCount = try Self.readCount(
            &cursor, of: "keys", least: 13, limit: Self.pairCountLimit, file: file)
        let pairs = try Self.readPairs(&cursor, count: pairCount, file: file)
        let alignment = try Self.alignment(pairs, file: file)
        let tensors = try Self.readTensors(&cursor, count: tensorCount, alignment: alignment, file: file)
        self.init(
            version: version, pairs: pairs, tensors: tensors, alignment: alignment, end: cursor.position)
        try checkData(fileByteCount: source.byteCount, file: file)
    }

    private static func readVersion(
        _ cursor: inout GGUFCursor, file: String
    ) throws(CheckpointError) -> UInt32 {
        guard try cursor.bytes(4).elementsEqual("GGUF".utf8) else {
            throw CheckpointError(.malformed, "gguf-magic", "the file does not begin with GGUF", file: file)
        }
        let version = try cursor.integer(UInt32.self)
        switch version {
        case 2, 3: return version
        case 1:
            throw CheckpointError(
                .unsupported, "gguf-version",
                "it is of version 1 of GGUF, which GGML has given up too: convert it with the program that "
                    + "made it", file: file, offset: 4)
        case _ where version & 0xFFFF == 0 && version != 0:
            throw CheckpointError(
                .unsupported, "gguf-big-endian",
                "it is a big-endian GGUF file (version \(version.byteSwapped)), which is not read: make a "
                    + "little-endian one with gguf_convert_endian", file: file, offset: 4)
        default:
            throw CheckpointError(
                version == 0 ? .malformed : .unsupported, "gguf-version",
                "it is of version \(version) of GGUF, and versions 2 and 3 are read", file: file, offset: 4)
        }
    }

    private static func readCount(
        _ cursor: inout GGUFCursor, of what: String, least: Int, limit: Int, file: String
    ) throws(CheckpointError) -> Int {
        let at = cursor.position
        let count = try cursor.count(of: what, least: least)
        guard count <= limit else {
            throw CheckpointError(
                .malformed, "gguf-count", "it has \(count) \(what), and more than \(limit) make no sense",
                file: file, offset: at)
        }
        return count
    }

    private static func readPairs(
        _ cursor: inout GGUFCursor, count: Int, file: String
    ) throws(CheckpointError) -> [GGUFPair] {
        var pairs: [GGUFPair] = []
        var keys: Set<ByteKey> = []
        for _ in 0..<count {
            let at = cursor.position
            let key = try cursor.string()
            guard !key.isEmpty, let text = String(validating: key, as: UTF8.self) else {
                throw CheckpointError(
                    .malformed, "gguf-key", "a key is empty or no UTF-8", file: file, offset: at)
            }
            guard keys.insert(ByteKey(key)).inserted else {
                throw CheckpointError(
                    .malformed, "duplicate-key", "the key '\(escapedForDisplay(text))' is there twice",
                    file: file, offset: at)
            }
            pairs.append(GGUFPair(text, try readValue(&cursor, key: text, file: file)))
        }
        return pairs
    }

    private static func readKind(
        _ cursor: inout GGUFCursor, key: String, file: String
    ) throws(CheckpointError) -> GGUFValue.Kind {
        let at = cursor.position
        let number = try cursor.integer(UInt32.self)
        guard let kind = GGUFValue.Kind(rawValue: number) else {
            throw CheckpointError(
                .malformed, "gguf-value-type",
                "the value of '\(escapedForDisplay(key))' is of type \(number), which GGUF has not",
                file: file, offset: at)
        }
        return kind
    }

    private static func readValue(
        _ cursor: inout GGUFCursor, key: String, file: String
    ) throws(CheckpointError) -> GGUFValue {
        switch try readKind(&cursor, key: key, file: file) {
        case .uint8: return .uint8(try cursor.integer(UInt8.self))
        case .int8: return .int8(try cursor.integer(Int8.self))
        case .uint16: return .uint16(try cursor.integer(UInt16.self))
        case .int16: return .int16(try cursor.integer(Int16.self))
        case .uint32: return .uint32(try cursor.integer(UInt32.self))
        case .int32: return .int32(try cursor.integer(Int32.self))
        case .float32: return .float32(Float(bitPattern: try cursor.integer(UInt32.self)))
        case .bool: return .bool(try cursor.integer(UInt8.self) != 0)
        case .string: return .string(String(decoding: try cursor.string(), as: UTF8.self))
        case .uint64: return .uint64(try cursor.integer(UInt64.self))
        case .int64: return .int64(try cursor.integer(Int64.self))
        case .float64: return .float64(Double(bitPattern: try cursor.integer(UInt64.self)))
        case .array: return try readArray(&cursor, key: key, file: file)
        }
    }

    private static func readArray(
        _ cursor: inout GGUFCursor, key: String, file: String
    ) throws(CheckpointError) -> GGUFValue {
        let at = cursor.position
        switch try readKind(&cursor, key: key, file: file) {
        case .string:
            return .strings(try cursor.strings(try cursor.count(of: "strings", least: 8)))
        case .array:
            throw CheckpointError(
                .unsupported, "gguf-nested-array",
                "the value of '\(escapedForDisplay(key))' is an array of arrays, which GGML does not read",
                file: file, offset: at)
        case let kind:
            let width = kind.byteCount ?? 1
            let count = try cursor.count(of: "numbers", least: width)
            return .numbers(GGUFNumbers(kind: kind, bytes: try cursor.bytes(count * width)))
        }
    }
}

// MARK: - Tensors

extension GGUFHeader {
    private static func readTensors(
        _ cursor: inout GGUFCursor, count: Int, alignment: UInt64, file: String
    ) throws(CheckpointError) -> [GGUFTensorInfo] {
        var tensors: [GGUFTensorInfo] = []
        var names: Set<TensorName> = []
        var expected: UInt64 = 0
        for _ in 0..<count {
            let at = cursor.position
            let info = try readTensor(&cursor, file: file)
            guard names.insert(info.name).inserted else {
                throw CheckpointError(
                    .malformed, "duplicate-tensor", "the tensor is there twice", file: file,
                    tensor: info.name, offset: at)
            }
            guard info.offset == expected else {
                throw CheckpointError(
                    .malformed, "gguf-offset",
                    "its data is to begin at \(info.offset), and the tensors before it end at \(expected)",
                    file: file, tensor: info.name, offset: at)
            }
            expected = try info.end(alignment: alignment, file: file)
            tensors.append(info)
        }
        return tensors
    }

    private static func readTensor(
        _ cursor: inout GGUFCursor, file: String
    ) throws(CheckpointError) -> GGUFTensorInfo {
        let at = cursor.position
        let name = TensorName(utf8: try cursor.string())
        guard String(validating: name.utf8, as: UTF8.self) != nil else {
            throw CheckpointError(
                .malformed, "gguf-name", "the name of a tensor is no UTF-8", file: file, offset: at)
        }
        let rank = try cursor.integer(UInt32.self)
        guard rank <= rankLimit else {
            throw CheckpointError(
                .malformed, "gguf-shape",
                "it is to have \(rank) dimensions, and GGML takes at most \(rankLimit)",
                file: file, tensor: name, offset: at)
        }
        var shape: [UInt64] = []
        for _ in 0..<rank { shape.insert(try cursor.integer(UInt64.self), at: 0) }
        let number = try cursor.integer(UInt32.self)
        guard let type = GGUFType(id: number) else {
            throw CheckpointError(
                .unsupported, "gguf-tensor-type", "its elements are of type \(number), which is not known",
                file: file, tensor: name, offset: at)
        }
        let offset = try cursor.integer(UInt64.self)
        return try GGUFTensorInfo(name: name, shape: shape, type: type, offset: offset, file: file)
    }

    /// Refuses a file that ends before its data does.
    private func checkData(fileByteCount: UInt64, file: String) throws(CheckpointError) {
        for tensor in tensors {
            // No overflow: the sum of offset and size was checked, and the header is short.
            guard tensor.byteCount == 0 || dataOffset + tensor.offset + tensor.byteCount <= fileByteCount
            else {
                throw CheckpointError(
                    .malformed, "truncated",
                    "its \(tensor.byteCount) bytes are to begin at \(dataOffset + tensor.offset), and the file "
                        + "has \(fileByteCount)", file: file, tensor: tensor.name)
            }
        }
    }
}
