internal import Archives
internal import Checkpoints
internal import StrictJSON
internal import TensorCore

/// How a zarr array is stored: what `.zarray` (version 2) or `zarr.json` (version 3) says.
struct ZarrArray {
    var shape: [UInt64]
    /// The shape of what is stored under one key.
    var storedShape: [UInt64]
    var dtype: DType
    var isBigEndian = false
    var isColumnMajor = false
    /// The element that stands where nothing is stored, little-endian; nil where the array says none.
    var fill: [UInt8]?
    var compression: Compression?
    /// Whether each chunk ends with its CRC-32C.
    var hasChecksum = false
    /// What is stored under a key, where that is many chunks behind an index.
    var shard: Shard?
    private var separator = "."
    private var isKeyPrefixed = false

    /// The inside of a shard.
    struct Shard {
        var chunkShape: [UInt64]
        var isIndexAtEnd: Bool
        var hasIndexChecksum: Bool
    }

    static let rankLimit = 32

    /// The shape of a chunk.
    var chunkShape: [UInt64] { shard?.chunkShape ?? storedShape }

    /// The keys along each axis.
    var keyCounts: [UInt64] { zip(shape, storedShape).map { ($0 + $1 - 1) / $1 } }

    /// The key of what is stored at a position, below the array's own.
    func key(_ position: [UInt64]) -> String {
        let text = position.map { String($0) }.joined(separator: separator)
        if isKeyPrefixed { return position.isEmpty ? "c" : "c\(separator)\(text)" }
        return position.isEmpty ? "0" : text
    }
}

/// Reading the JSON.
extension ZarrArray {
    /// What is wrong with an array's metadata.
    struct Failure: Error {
        var isUnsupported = false
        var code = "zarr-metadata"
        var message: String

        static func unsupported(_ code: String, _ message: String) -> Failure {
            Failure(isUnsupported: true, code: code, message: message)
        }
    }

    init(_ json: JSONValue) throws(Failure) {
        switch json["zarr_format"]?.uint64 {
        case 2: try self.init(version2: json)
        case 3: try self.init(version3: json)
        default: throw Failure(message: "its zarr_format is neither 2 nor 3")
        }
        guard shape.count == storedShape.count, shape.count <= Self.rankLimit, !storedShape.contains(0) else {
            throw Failure(message: "chunks of shape \(storedShape) do not make up the shape \(shape)")
        }
        let limit = UInt64(Int64.max)
        guard let chunk = dtype.byteCount(of: storedShape), chunk <= limit,
            let all = dtype.byteCount(of: shape),
            all <= limit, shape.allSatisfy({ $0 <= limit }), storedShape.allSatisfy({ $0 <= limit })
        else {
            throw Failure(message: "the size of shape \(shape) in chunks of \(storedShape) is beyond 2^63")
        }
        if let shard {
            guard shard.chunkShape.count == shape.count, !shard.chunkShape.contains(0),
                zip(storedShape, shard.chunkShape).allSatisfy({ $0 % $1 == 0 })
            else { throw Failure(message: "shards of shape \(storedShape) are not made of whole chunks") }
        }
    }

    static func shape(_ json: JSONValue?, _ what: String) throws(Failure) -> [UInt64] {
        guard let elements = json?.elements, elements.count <= rankLimit else {
            throw Failure(message: "it has no \(what)")
        }
        let lengths = elements.compactMap(\.uint64)
        guard lengths.count == elements.count else {
            throw Failure(message: "its \(what) is no list of lengths")
        }
        return lengths
    }

    private init(version2 json: JSONValue) throws(Failure) {
        shape = try Self.shape(json["shape"], "shape")
        storedShape = try Self.shape(json["chunks"], "chunks")
        guard let type = json["dtype"]?.string else {
            throw Failure.unsupported("dtype", "its dtype is a structure")
        }
        (dtype, isBigEndian) = try Self.dtype(version2: type)
        switch json["order"]?.string {
        case "C", nil: break
        case "F": isColumnMajor = true
        default: throw Failure(message: "its order is neither C nor F")
        }
        if let filters = json["filters"], !filters.isNull, filters.elements?.isEmpty != true {
            throw Failure.unsupported("zarr-codec", "it has filters, which are not undone")
        }
        if let compressor = json["compressor"], !compressor.isNull {
            compression = try Self.compression(compressor["id"]?.string)
        }
        if let value = json["fill_value"], !value.isNull { fill = try Self.fill(value, dtype) }
        separator = try Self.separator(json["dimension_separator"], default: ".")
    }

    static func separator(_ json: JSONValue?, default other: String) throws(Failure) -> String {
        guard let json, !json.isNull else { return other }
        guard let text = json.string, text == "." || text == "/" else {
            throw Failure(message: "its chunk keys are separated by neither '.' nor '/'")
        }
        return text
    }

    static func compression(_ name: String?) throws(Failure) -> Compression {
        guard let known = name.flatMap(Compression.init(rawValue:)), known != .deflate else {
            throw Failure.unsupported(
                "zarr-codec",
                "its chunks are compressed with '\(escapedForDisplay(name ?? "?"))'; zstd, gzip and zlib are read"
            )
        }
        return known
    }

    private static func dtype(version2 text: String) throws(Failure) -> (DType, isBigEndian: Bool) {
        let kinds: [String: DType] = [
            "b1": .bool, "i1": .i8, "i2": .i16, "i4": .i32, "i8": .i64, "u1": .u8, "u2": .u16, "u4": .u32,
            "u8": .u64, "f2": .f16, "f4": .f32, "f8": .f64, "c8": .c64,
        ]
        if let first = text.utf8.first, [0x3C, 0x3E, 0x7C].contains(first),
            let dtype = kinds[String(text.dropFirst())]
        {
            return (dtype, first == 0x3E)
        }
        return (try dtype(named: text), false)
    }

    static func dtype(named text: String) throws(Failure) -> DType {
        guard let dtype = JAXElement.dtype(named: text) else {
            throw Failure.unsupported(
                "dtype", JAXElement.unsupported(text, file: "").message)
        }
        return dtype
    }
}

/// Values that stand where nothing is stored.
extension ZarrArray {
    static func fill(_ json: JSONValue, _ dtype: DType) throws(Failure) -> [UInt8] {
        let parts = dtype == .c64 ? json.elements ?? [json, .number("0")] : [json]
        guard parts.count == (dtype == .c64 ? 2 : 1) else { throw badFill }
        var bytes: [UInt8] = []
        for part in parts { bytes += try element(part, dtype == .c64 ? .f32 : dtype) }
        return bytes
    }

    private static var badFill: Failure { .unsupported("zarr-fill", "its fill value is not understood") }

    private static func element(_ json: JSONValue, _ dtype: DType) throws(Failure) -> [UInt8] {
        let width = dtype.byteWidth ?? 1
        func bytes(_ bits: UInt64) -> [UInt8] {
            (0..<width).map { UInt8(truncatingIfNeeded: bits >> UInt64(8 * $0)) }
        }
        if let flag = json.bool { return bytes(flag ? 1 : 0) }
        if dtype.isInteger {
            if let number = json.int64 { return bytes(UInt64(bitPattern: number)) }
            if let number = json.uint64 { return bytes(number) }
            if let number = json.double, let whole = Int64(exactly: number) {
                return bytes(UInt64(bitPattern: whole))
            }
            throw badFill
        }
        let value: Double
        switch json {
        case .string("NaN"): value = .nan
        case .string("Infinity"): value = .infinity
        case .string("-Infinity"): value = -.infinity
        case .string(let text) where text.hasPrefix("0x"):
            guard let bits = UInt64(text.dropFirst(2), radix: 16) else { throw badFill }
            return bytes(bits)
        default:
            guard let number = json.double else { throw badFill }
            value = number
        }
        let values = [value]
        return [UInt8](count: width) { buffer in ElementCodec.encode(values.span, as: dtype, into: &buffer) }
    }
}

/// Version 3.
extension ZarrArray {
    private init(version3 json: JSONValue) throws(Failure) {
        guard json["node_type"]?.string == "array" else { throw Failure(message: "it is no array") }
        shape = try Self.shape(json["shape"], "shape")
        guard let type = json["data_type"]?.string else {
            throw Failure.unsupported("dtype", "its data type is an extension")
        }
        dtype = try Self.dtype(named: type)
        guard json["chunk_grid"]?["name"]?.string == "regular" else {
            throw Failure.unsupported("zarr-grid", "its chunks are no regular grid")
        }
        storedShape = try Self.shape(json["chunk_grid"]?["configuration"]?["chunk_shape"], "chunk shape")
        let encoding = json["chunk_key_encoding"]
        switch encoding?["name"]?.string {
        case "default":
            isKeyPrefixed = true
            separator = try Self.separator(encoding?["configuration"]?["separator"], default: "/")
        case "v2": separator = try Self.separator(encoding?["configuration"]?["separator"], default: ".")
        default: throw Failure.unsupported("zarr-grid", "its chunk keys are of an unknown kind")
        }
        if json["storage_transformers"]?.elements?.isEmpty == false {
            throw Failure.unsupported("zarr-codec", "it has storage transformers")
        }
        if let value = json["fill_value"], !value.isNull { fill = try Self.fill(value, dtype) }
        guard let codecs = json["codecs"]?.elements else { throw Failure(message: "it has no codecs") }
        try apply(codecs, isInner: false)
    }

    private mutating func apply(_ codecs: [JSONValue], isInner: Bool) throws(Failure) {
        var hasBytes = false
        for (index, codec) in codecs.enumerated() {
            let name = codec["name"]?.string ?? codec.string ?? "?"
            let settings = codec["configuration"]
            switch name {
            case "bytes" where !hasBytes:
                hasBytes = true
                isBigEndian = settings?["endian"]?.string == "big"
            case "sharding_indexed" where !hasBytes && !isInner && codecs.count == 1:
                try enterShard(settings)
                return
            case "crc32c" where hasBytes && index == codecs.count - 1: hasChecksum = true
            case _ where hasBytes && compression == nil && !hasChecksum && ["zstd", "gzip"].contains(name):
                compression = try Self.compression(name)
            default:
                throw Failure.unsupported(
                    "zarr-codec",
                    "its chunks go through the codec '\(escapedForDisplay(name))' in a way that is not undone"
                )
            }
        }
        guard hasBytes else { throw Failure(message: "its codecs do not begin with bytes") }
    }

    private mutating func enterShard(_ settings: JSONValue?) throws(Failure) {
        guard let codecs = settings?["codecs"]?.elements, let index = settings?["index_codecs"]?.elements
        else {
            throw Failure(message: "its shards have no codecs")
        }
        let names = index.map { $0["name"]?.string ?? "?" }
        guard names == ["bytes"] || names == ["bytes", "crc32c"],
            index[0]["configuration"]?["endian"]?.string != "big"
        else { throw Failure.unsupported("zarr-codec", "the index of its shards goes through other codecs") }
        let place = settings?["index_location"]?.string ?? "end"
        guard place == "end" || place == "start" else {
            throw Failure(message: "its shards' index is nowhere")
        }
        shard = Shard(
            chunkShape: try Self.shape(settings?["chunk_shape"], "chunk shape of shards"),
            isIndexAtEnd: place == "end", hasIndexChecksum: names.count == 2)
        try apply(codecs, isInner: true)
    }
}
