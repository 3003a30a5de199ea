internal import StrictJSON
internal import TensorCore

/// Why a manifest cannot be used.
public struct ManifestError: Error, Sendable, CustomStringConvertible {
    /// One sentence that names the place.
    public var description: String

    init(_ description: String) { self.description = description }
}

extension Manifest {
    /// The manifest as it stands in its file: a line for each file and tensor, a newline at the end.
    public func encoded() -> [UInt8] {
        var bytes: [UInt8] = []
        var writer = JSONObjectWriter { bytes += $0 }
        writer.member("schema", .string(Self.schema))
        writer.member(
            "tool", .object([.init("name", .string(tool)), .init("version", .string(toolVersion))]))
        var origin: [JSONMember] = [.init("format", .string(source.format))]
        if let root = source.root { origin.append(.init("root", .string(root))) }
        origin.append(.init("files", .array(source.files.map(\.json))))
        writer.member("source", .object(origin))
        writer.member(
            "transforms",
            elements: transforms.map { .object([.init("kind", .string($0.kind))] + $0.parameters) })
        writer.member("files", elements: files.lazy.map(\.json))
        writer.member("tensors", elements: tensors.lazy.map(\.json))
        writer.member(
            "ties",
            elements: ties.map {
                .object([.init("name", .string($0.name.string)), .init("kept", .string($0.kept.string))])
            })
        writer.member(
            "skipped",
            elements: skipped.map {
                .object([.init("name", .string($0.name)), .init("reason", .string($0.reason))])
            })
        writer.finish()
        return bytes
    }

    /// Reads a manifest.
    ///
    /// Members that this version does not know are ignored.
    public init(decoding bytes: [UInt8]) throws(ManifestError) {
        let value: JSONValue
        do { value = try JSONValue(parsing: bytes) } catch {
            throw ManifestError("it is not valid JSON: \(error)")
        }
        let top = try Reader(value, "the manifest")
        let schema = try top.string("schema")
        guard schema == Self.schema else {
            throw ManifestError(
                "its schema is \(escapedForDisplay(schema)), this version reads \(Self.schema)")
        }
        let tool = try top.object("tool")
        let source = try top.object("source")
        self.init(
            tool: try tool.string("name"), toolVersion: try tool.string("version"),
            source: Source(
                format: try source.string("format"), root: try source.optionalString("root"),
                files: try source.array("files", File.init)),
            transforms: try top.array("transforms") { (reader) throws(ManifestError) in
                Transform(
                    kind: try reader.string("kind"), parameters: reader.members.filter { $0.key != "kind" })
            },
            files: try top.array("files", File.init), tensors: try top.array("tensors", Tensor.init),
            ties: try top.array("ties") { (reader) throws(ManifestError) in
                Tie(name: TensorName(try reader.string("name")), kept: TensorName(try reader.string("kept")))
            },
            skipped: try top.array("skipped") { (reader) throws(ManifestError) in
                Skipped(name: try reader.string("name"), reason: try reader.string("reason"))
            })
        try checkNames()
    }

    /// Every path is safe and stands once; every tensor stands once and lies in a file that is listed.
    private func checkNames() throws(ManifestError) {
        var paths: Set<ByteKey> = []
        for file in files {
            guard Path.isSafeRelative(file.path) else {
                throw ManifestError("the path \(escapedForDisplay(file.path)) leaves the directory")
            }
            guard paths.insert(ByteKey(file.path)).inserted else {
                throw ManifestError("the file \(escapedForDisplay(file.path)) is listed twice")
            }
        }
        var names: Set<TensorName> = []
        for tensor in tensors {
            guard names.insert(tensor.name).inserted else {
                throw ManifestError("the tensor \(tensor.name) is listed twice")
            }
            guard !tensor.offset.addingReportingOverflow(tensor.byteCount).overflow else {
                throw ManifestError("the tensor \(tensor.name) ends beyond 64 bits")
            }
            guard paths.contains(ByteKey(tensor.file)) else {
                throw ManifestError("the tensor \(tensor.name) is in a file that is not listed")
            }
        }
    }
}

extension Manifest.File {
    var json: JSONValue {
        var members: [JSONMember] = [
            .init("path", .string(path)), .init("role", .string(role)), .init("size", .integer(byteCount)),
        ]
        if let sha256 { members.append(.init("sha256", .string(sha256.hex))) }
        return .object(members)
    }

    fileprivate init(_ reader: Reader) throws(ManifestError) {
        self.init(
            path: try reader.string("path"), role: try reader.string("role"),
            byteCount: try reader.integer("size"), sha256: try reader.digest("sha256"))
    }
}

extension Manifest.Tensor {
    var json: JSONValue {
        var members: [JSONMember] = [
            .init("name", .string(name.string)), .init("dtype", .string(dtype.name)),
        ]
        if let sourceDType { members.append(.init("source_dtype", .string(sourceDType.name))) }
        if let encoding { members.append(.init("encoding", .string(encoding))) }
        members += [
            .init("shape", .array(shape.map { .integer($0) })), .init("file", .string(file)),
            .init("offset", .integer(offset)), .init("nbytes", .integer(byteCount)),
        ]
        if let sha256 { members.append(.init("sha256", .string(sha256.hex))) }
        return .object(members)
    }

    fileprivate init(_ reader: Reader) throws(ManifestError) {
        let shape = try reader.integers("shape")
        self.init(
            name: TensorName(try reader.string("name")), dtype: try reader.dtype("dtype"),
            sourceDType: reader.has("source_dtype") ? try reader.dtype("source_dtype") : nil,
            encoding: try reader.optionalString("encoding"), shape: shape,
            file: try reader.string("file"), offset: try reader.integer("offset"),
            byteCount: try reader.integer("nbytes"), sha256: try reader.digest("sha256"))
    }
}

/// An object of the manifest with the words that name it in messages.
private struct Reader {
    let members: [JSONMember]
    let place: String

    init(_ value: JSONValue?, _ place: String) throws(ManifestError) {
        guard case .object(let members)? = value else { throw ManifestError("\(place) is not an object") }
        self.members = members
        self.place = place
    }

    func value(_ key: String) -> JSONValue? {
        members.first { $0.key.utf8.elementsEqual(key.utf8) }?.value
    }

    func has(_ key: String) -> Bool { value(key) != nil }

    func string(_ key: String) throws(ManifestError) -> String {
        guard case .string(let text)? = value(key) else {
            throw ManifestError("\(place) has no text \"\(key)\"")
        }
        return text
    }

    func optionalString(_ key: String) throws(ManifestError) -> String? {
        has(key) ? try string(key) : nil
    }

    func integer(_ key: String) throws(ManifestError) -> UInt64 {
        guard let number = value(key)?.uint64 else {
            throw ManifestError("\(place) has no whole number \"\(key)\"")
        }
        return number
    }

    func integers(_ key: String) throws(ManifestError) -> [UInt64] {
        guard case .array(let items)? = value(key) else {
            throw ManifestError("\(place) has no list \"\(key)\"")
        }
        let numbers = items.compactMap(\.uint64)
        guard numbers.count == items.count else {
            throw ManifestError("\"\(key)\" of \(place) is not a list of whole numbers")
        }
        return numbers
    }

    func digest(_ key: String) throws(ManifestError) -> SHA256Digest? {
        guard has(key) else { return nil }
        guard let digest = SHA256Digest(hex: try string(key)) else {
            throw ManifestError("\"\(key)\" of \(place) is not 64 hexadecimal digits")
        }
        return digest
    }

    func dtype(_ key: String) throws(ManifestError) -> DType {
        let name = try string(key)
        guard let dtype = DType(name: name) else {
            throw ManifestError("\"\(key)\" of \(place) is not a dtype: \(escapedForDisplay(name))")
        }
        return dtype
    }

    func object(_ key: String) throws(ManifestError) -> Reader {
        try Reader(value(key), "\"\(key)\" of \(place)")
    }

    func array<T>(
        _ key: String, _ make: (Reader) throws(ManifestError) -> T
    ) throws(ManifestError) -> [T] {
        guard case .array(let items)? = value(key) else {
            throw ManifestError("\(place) has no list \"\(key)\"")
        }
        var result: [T] = []
        result.reserveCapacity(items.count)
        for (index, item) in items.enumerated() {
            result.append(try make(try Reader(item, "item \(index) of \"\(key)\"")))
        }
        return result
    }
}
