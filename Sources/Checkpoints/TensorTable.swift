public import SafeTensors
public import TensorCore

/// The rows of a checkpoint: records in memory, or those of a SafeTensors header, made when they are asked for.
///
/// A header of millions of tensors so costs no more than itself.
public struct TensorTable: RandomAccessCollection, Sendable {
    private enum Storage {
        case records([TensorRecord])
        case header(SafeTensorsHeader, any ByteSource)
    }

    private var storage: Storage

    /// A table of records.
    public init(_ records: [TensorRecord] = []) { storage = .records(records) }

    /// The table of a SafeTensors file.
    public init(_ header: SafeTensorsHeader, of source: any ByteSource) { storage = .header(header, source) }

    /// The first position.
    public var startIndex: Int { 0 }

    /// The number of tensors.
    public var endIndex: Int {
        switch storage {
        case .records(let records): records.count
        case .header(let header, _): header.count
        }
    }

    /// The tensor at a position.
    public subscript(position: Int) -> TensorRecord {
        switch storage {
        case .records(let records): return records[position]
        case .header(let header, let source):
            let info = header[position]
            let extent = Extent(source: source, offset: info.fileRange.lowerBound, byteCount: info.byteCount)
            return TensorRecord(
                name: info.name, dtype: info.dtype, shape: info.shape, source: .extent(extent))
        }
    }

    /// Whether the tensors are distinct bytes of one file, as those of a SafeTensors header are: no two are tied,
    /// and their sizes add up to no more than the file's.
    public var isPartition: Bool {
        if case .header = storage { true } else { false }
    }

    /// The dtype, elements and bytes of the tensor at a position, without making its record where that can be
    /// avoided.
    public func size(at position: Int) -> (dtype: DType, elementCount: UInt64, byteCount: UInt64) {
        switch storage {
        case .records(let records):
            let record = records[position]
            return (record.dtype, record.elementCount, record.byteCount)
        case .header(let header, _):
            let size = header.size(at: position)
            let bits = UInt64(size.dtype.bitWidth)
            return (size.dtype, size.byteCount / bits * 8 + size.byteCount % bits * 8 / bits, size.byteCount)
        }
    }

    /// Appends the rows of another table.
    public static func += (table: inout TensorTable, other: TensorTable) {
        if table.isEmpty { return table = other }
        var records = if case .records(let records) = table.storage { records } else { Array(table) }
        table.storage = .records([])
        records.append(contentsOf: other)
        table.storage = .records(records)
    }
}

/// Text that a checkpoint keeps beside its tensors: entries in memory, or those of a SafeTensors header.
public struct MetadataTable: RandomAccessCollection, Sendable {
    private enum Storage {
        case entries([(key: String, value: String)])
        case header(SafeTensorsMetadata)
    }

    private var storage: Storage

    /// A table of entries.
    public init(_ entries: [(key: String, value: String)] = []) { storage = .entries(entries) }

    /// The table of a SafeTensors file.
    public init(_ metadata: SafeTensorsMetadata) { storage = .header(metadata) }

    /// The first position.
    public var startIndex: Int { 0 }

    /// The number of entries.
    public var endIndex: Int {
        switch storage {
        case .entries(let entries): entries.count
        case .header(let metadata): metadata.count
        }
    }

    /// The entry at a position.
    public subscript(position: Int) -> (key: String, value: String) {
        switch storage {
        case .entries(let entries): entries[position]
        case .header(let metadata): metadata[position]
        }
    }

    /// Adds the entries of another table whose keys are not here yet.
    mutating func merge(_ other: MetadataTable) {
        if isEmpty { return self = other }
        var known = Set(map { ByteKey($0.key) })
        let added = other.filter { known.insert(ByteKey($0.key)).inserted }
        storage = .entries(Array(self) + added)
    }
}
