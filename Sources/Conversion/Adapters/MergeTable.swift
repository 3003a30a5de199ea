internal import Checkpoints
internal import TensorCore

/// The tensors of a base by the names that an adapter has for them.
struct MergeTable {
    private(set) var records: [TensorRecord]
    /// The rows that were changed.
    private(set) var changed: Set<Int> = []
    private var rows: [ByteKey: Int] = [:]
    /// Rows by their names without the first component; nil where two have the same.
    private var tails: [ByteKey: Int?] = [:]
    private var removed: Set<Int> = []

    init(_ tensors: TensorTable) {
        records = Array(tensors)
        for (row, record) in records.enumerated() {
            rows[ByteKey(record.name.utf8)] = row
            if let tail = Self.tail(record.name.utf8) {
                tails[tail] = tails[tail] == nil ? .some(row) : .some(nil)
            }
        }
    }

    private static func tail(_ name: [UInt8]) -> ByteKey? {
        name.firstIndex(of: 0x2E).map { ByteKey(Array(name[($0 + 1)...])) }
    }

    /// The row of a name; where there is none, of the name without its first component, or with one more: models
    /// with and without a head have `transformer.h` and `h`.
    func row(_ name: String) -> Int? {
        let bytes = Array(name.utf8)
        if let row = rows[ByteKey(bytes)] { return row }
        if let tail = Self.tail(bytes), let row = rows[tail] { return row }
        return tails[ByteKey(bytes)] ?? nil
    }

    subscript(row: Int) -> TensorRecord { records[row] }

    /// Gives a row other contents.
    mutating func set(_ row: Int, _ tensor: TensorExpression) {
        records[row] = TensorRecord(name: records[row].name, tensor)
        changed.insert(row)
    }

    /// Adds a row.
    mutating func append(_ name: String, _ tensor: TensorExpression, isChanged: Bool) -> Int {
        records.append(TensorRecord(name: TensorName(name), tensor))
        rows[ByteKey(name)] = records.count - 1
        if isChanged { changed.insert(records.count - 1) }
        return records.count - 1
    }

    /// Leaves out a row, once all others are done.
    mutating func remove(_ row: Int) { removed.insert(row) }

    /// Takes out the rows that are to be removed.
    mutating func finish() {
        guard !removed.isEmpty else { return }
        records = records.enumerated().filter { !removed.contains($0.offset) }.map(\.element)
        changed.subtract(removed)
    }

    /// Names that are nearly this one, for messages.
    func near(_ name: String) -> String {
        let near = NearMisses.names(near: Glob(exactly: name), among: records.lazy.map(\.name))
        return near.isEmpty ? "" : "; near: " + near.map(\.description).joined(separator: ", ")
    }
}
