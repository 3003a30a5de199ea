internal import Checkpoints
internal import StrictJSON
internal import TensorCore

/// Reads what `flax.serialization` writes as a tree of lazy tensors.
struct FlaxReader {
    private let source: any ByteSource
    private let file: String
    private var input: MsgpackReader
    private var tree: PyTree
    private var textByteCount: UInt64 = 0

    private static let depthLimit = 128
    private static let rankLimit: UInt64 = 64
    private static let keyByteLimit: UInt64 = 1 << 16
    /// The most bytes that all texts that are kept may have.
    private static let textByteLimit: UInt64 = 4 << 20
    private static let chunkMarker = Array("__msgpack_chunked_array__".utf8)

    init(_ source: any ByteSource, file: String) {
        self.source = source
        self.file = file
        input = MsgpackReader(source, file: file)
        tree = PyTree(file: file)
    }

    /// Reads the whole file but for the elements of its arrays.
    mutating func read() throws(CheckpointError) -> PyTree {
        guard case .map(let count) = try input.next() else {
            throw input.error("not-flax", "a Flax checkpoint is a map at its top, and this is none", at: 0)
        }
        try map(count, into: 0, depth: 1)
        guard input.remaining == 0 else {
            throw input.error("trailing-bytes", "bytes follow the end of the map", at: input.position)
        }
        guard case .container = tree.nodes[0].content else {
            throw CheckpointError(
                .unsupported, "no-names", "the file is one array without a name", file: file)
        }
        return tree
    }

    private mutating func map(_ count: UInt64, into parent: Int, depth: Int) throws(CheckpointError) {
        var keys: Set<ByteKey> = []
        var isChunked = false
        let start = input.position
        for _ in 0..<count {
            let at = input.position
            let key = try key()
            guard keys.insert(ByteKey(key)).inserted else {
                let shown = escapedForDisplay(String(decoding: key, as: UTF8.self))
                throw input.error("duplicate-key", "the map has the key '\(shown)' twice", at: at)
            }
            if key == Self.chunkMarker { isChunked = true }
            try value(key, parent, depth)
        }
        if isChunked { tree.collapse(parent, to: try joinedChunks(of: parent, at: start)) }
    }

    /// A key: text, or a whole number as its digits.
    private mutating func key() throws(CheckpointError) -> [UInt8] {
        let at = input.position
        switch try input.next() {
        case .text(let count) where count <= Self.keyByteLimit:
            let bytes = try input.take(count)
            guard String(validating: bytes, as: UTF8.self) != nil else {
                throw input.error("key-type", "a key is not UTF-8", at: at)
            }
            return bytes
        case .integer(let number): return Array(String(number).utf8)
        case .text: throw input.error("key-type", "a key has more than \(Self.keyByteLimit) bytes", at: at)
        default: throw input.error("key-type", "a key is neither text nor a whole number", at: at)
        }
    }

    private mutating func value(_ key: [UInt8], _ parent: Int, _ depth: Int) throws(CheckpointError) {
        let at = input.position
        let token = try input.next()
        switch token {
        case .map(let count), .array(let count):
            guard depth < Self.depthLimit else {
                throw input.error(
                    "nesting-limit", "containers are nested more than \(Self.depthLimit) deep", at: at)
            }
            let place = try tree.add(key, to: parent, .container)
            if case .map = token { return try map(count, into: place, depth: depth + 1) }
            for index in 0..<count { try value(Array(String(index).utf8), place, depth + 1) }
        default:
            let content = try leaf(token, at: at)
            if let content { _ = try tree.add(key, to: parent, content) }
        }
    }

    /// What a token that is no container stands for; nil for nothing.
    private mutating func leaf(_ token: MsgpackToken, at: UInt64) throws(CheckpointError) -> PyTree.Content? {
        switch token {
        case .null, .map, .array: return nil
        case .bool(let flag): return .value(.bool(flag))
        case .integer(let number): return .value(.integer(number))
        case .large(let number): return .value(.integer(number))
        case .float(let number): return .value(JSONValue(number: number))
        case .text(let count):
            textByteCount += count
            guard textByteCount <= Self.textByteLimit else {
                input.skip(count)
                return .left("text of \(count) bytes")
            }
            return .value(.string(String(decoding: try input.take(count), as: UTF8.self)))
        case .bytes(let count):
            input.skip(count)
            return .left("\(count) bytes that are no tensor")
        case .ext(let type, let count):
            let end = input.position + count
            let content = try ext(type, count, at: at)
            guard input.position == end else {
                throw input.error("array-size", "an array's parts do not fill the space it claims", at: at)
            }
            return content
        }
    }
}

/// Arrays.
extension FlaxReader {
    private mutating func ext(
        _ type: Int8, _ count: UInt64, at: UInt64
    ) throws(CheckpointError) -> PyTree.Content {
        switch type {
        case 1, 3: return try array(isScalar: type == 3, at: at)
        case 2:
            guard try input.next() == .array(2), case .float(let real) = try input.next(),
                case .float(let imaginary) = try input.next()
            else { throw input.error("array-head", "a complex number is not two floats", at: at) }
            return .value(.array([JSONValue(number: real), JSONValue(number: imaginary)]))
        default:
            input.skip(count)
            return .unsupported(
                CheckpointError(
                    .unsupported, "msgpack-extension", "Flax has no meaning for msgpack extension \(type)",
                    file: file, offset: at))
        }
    }

    private mutating func array(isScalar: Bool, at: UInt64) throws(CheckpointError) -> PyTree.Content {
        let badHead = input.error(
            "array-head", "an array does not begin with its shape, dtype and elements", at: at)
        guard try input.next() == .array(3), case .array(let rank) = try input.next() else { throw badHead }
        guard rank <= Self.rankLimit else {
            throw input.error("array-head", "an array has \(rank) dimensions", at: at)
        }
        var shape: [UInt64] = []
        for _ in 0..<rank {
            guard case .integer(let length) = try input.next(), length >= 0 else { throw badHead }
            shape.append(UInt64(length))
        }
        let nameToken = try input.next()
        let nameCount: UInt64
        switch nameToken {
        case .text(let count), .bytes(let count): nameCount = count
        default: throw badHead
        }
        guard nameCount <= 64, !isScalar || shape.isEmpty else { throw badHead }
        let name = String(decoding: try input.take(nameCount), as: UTF8.self)
        let byteCount: UInt64
        switch try input.next() {
        case .bytes(let count), .text(let count): byteCount = count
        default: throw badHead
        }
        let start = input.position
        input.skip(byteCount)
        guard let dtype = JAXElement.dtype(named: name) else {
            return .unsupported(JAXElement.unsupported(name, file: file, offset: at))
        }
        guard DType.elementCount(of: shape) != nil, dtype.byteCount(of: shape) == byteCount else {
            throw input.error(
                "array-size", "an array of \(dtype.name) and shape \(shape) does not have \(byteCount) bytes",
                at: at)
        }
        let extent = TensorSource.extent(Extent(source: source, offset: start, byteCount: byteCount))
        do {
            return .tensor(try TensorExpression(dtype: dtype, shape: shape, source: extent))
        } catch {
            throw input.error("array-size", error.description, at: at)
        }
    }

    /// The array that Flax cut into flat chunks, as it does above 2^30 bytes.
    private func joinedChunks(of place: Int, at: UInt64) throws(CheckpointError) -> PyTree.Content {
        let malformed = input.error(
            "chunked-array", "a chunked array is not made of a shape and chunks of one dtype", at: at)
        var shape: [UInt64]?
        var chunks: [TensorExpression] = []
        for child in tree.children(of: place) where tree.nodes[child].key != Self.chunkMarker {
            let items = tree.children(of: child)
            for (index, item) in items.enumerated()
            where !tree.nodes[item].key.elementsEqual(String(index).utf8) {
                throw malformed
            }
            if tree.nodes[child].key.elementsEqual("shape".utf8) {
                shape = []
                for item in items {
                    guard case .value(let value) = tree.nodes[item].content, let length = value.uint64 else {
                        throw malformed
                    }
                    shape?.append(length)
                }
            } else if tree.nodes[child].key.elementsEqual("chunks".utf8) {
                for item in items {
                    switch tree.nodes[item].content {
                    case .tensor(let chunk) where chunk.shape.count == 1: chunks.append(chunk)
                    case .unsupported(let error): return .unsupported(error)
                    default: throw malformed
                    }
                }
            } else {
                throw malformed
            }
        }
        guard let shape else { throw malformed }
        do {
            return .tensor(try TensorExpression.concatenated(chunks, axis: 0).reshaped(to: shape))
        } catch {
            throw input.error("chunked-array", "a chunked array: \(error.description)", at: at)
        }
    }
}
