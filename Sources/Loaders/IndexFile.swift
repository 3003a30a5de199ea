internal import StrictJSON
internal import TensorCore

/// An index as it stands, whatever is wrong with it.
struct IndexFile: Sendable {
    /// Why an index cannot be taken as it stands.
    enum Fault: String, Sendable { case byteOrderMark, notJSON, duplicateKey, badShape, tooLarge }

    let name: String
    let byteCount: UInt64
    private(set) var fault: (kind: Fault, offset: UInt64, message: String)?
    /// The members of the document that are objects.
    private(set) var objects: [String] = []
    private(set) var totalSize: UInt64?
    /// The tensors with their files, in the order of the document.
    private(set) var entries: [(tensor: TensorName, file: String)] = []

    private static let byteCountLimit: UInt64 = 512 << 20

    init(_ path: String, name: String) throws(IOError) {
        self.name = name
        let source = try InputFile(path: path)
        byteCount = source.byteCount
        guard byteCount <= Self.byteCountLimit else {
            fault = (.tooLarge, 0, "the index has \(byteCount) bytes, too many to be one")
            return
        }
        var bytes = try source.bytes(at: 0, count: Int(byteCount))
        if bytes.starts(with: [0xEF, 0xBB, 0xBF]) {
            fault = (.byteOrderMark, 0, "the index begins with a byte order mark")
            bytes.removeFirst(3)
        }
        do {
            take(try JSONValue(parsing: bytes))
        } catch {
            fault = (
                error.code == .duplicateKey ? .duplicateKey : .notJSON, UInt64(error.offset),
                "the index is not strict JSON: \(error.message)"
            )
        }
    }

    private mutating func take(_ root: JSONValue) {
        objects = root.members?.filter { $0.value.members != nil }.map(\.key) ?? []
        totalSize = root["metadata"]?["total_size"]?.uint64
        guard let map = root["weight_map"]?.members else {
            fault = fault ?? (.badShape, 0, "the index has no weight_map object")
            return
        }
        for member in map {
            guard let file = member.value.string else {
                fault = fault ?? (.badShape, 0, "weight_map gives no file name for \(TensorName(member.key))")
                continue
            }
            entries.append((TensorName(member.key), file))
        }
    }

    /// The files, each once, in byte order.
    var files: [String] {
        Set(entries.map { ByteKey($0.file) }).map { String(decoding: $0.bytes, as: UTF8.self) }
            .sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
    }
}
