internal import Synchronization
internal import TensorCore

/// The data of a deflated member, which is inflated as far as it is asked for.
final class InflatedMember: ByteSource {
    let name: String
    let byteCount: UInt64
    let readCost = 1 << 20
    private let entry: ZipEntry
    private let archive: any ByteSource
    private let pool: InflationPool

    init(name: String, entry: ZipEntry, archive: any ByteSource, pool: InflationPool) {
        self.name = name
        self.entry = entry
        self.archive = archive
        self.pool = pool
        byteCount = entry.byteCount
    }

    func read(at offset: UInt64, into buffer: inout MutableRawSpan) throws(IOError) {
        try pool.stream(at: entry.dataOffset, make: makeStream).read(at: offset, into: &buffer)
    }

    private func makeStream() -> DecompressedSource {
        DecompressedSource(
            name: name, of: archive, range: entry.dataRange, compression: .deflate, byteCount: byteCount,
            crc32: entry.lacksChecksum ? nil : entry.crc32)
    }
}

/// The streams of an archive that are under way.
///
/// Each keeps what it made last, so those of many members would fill the memory: only the ones used last stay.
final class InflationPool: Sendable {
    private struct Item {
        let place: UInt64
        let stream: DecompressedSource
    }

    private let items = Mutex<[Item]>([])
    private static let limit = 4

    /// The stream of the member whose data stands at `place`.
    func stream(at place: UInt64, make: () -> DecompressedSource) -> DecompressedSource {
        items.withLock { items in
            let index = items.firstIndex { $0.place == place }
            let item = index.map { items.remove(at: $0) } ?? Item(place: place, stream: make())
            if items.count == Self.limit { items.removeFirst() }
            items.append(item)
            return item.stream
        }
    }
}
