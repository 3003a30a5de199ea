internal import Checkpoints
internal import TensorCore

/// The keys and values of an OCDBT database, its newest version, read whole but for values outside its nodes.
struct OCDBTStore {
    private var keys: [UInt8] = []
    private var keyEnds: [Int] = []
    private var places: [Place] = []
    /// The data files that values are in, by paths, and the bodies of leaves that hold values themselves.
    private var paths: [String] = []
    private var pathNumbers: [ByteKey: Int] = [:]
    private var bodies: [MemorySource] = []
    private var budget = byteLimit

    /// Where a value is: in a body or, with a negative number, in a data file.
    private struct Place {
        var holder: Int32
        var offset: UInt64
        var byteCount: UInt64
    }

    /// The most bytes that all nodes may hold together.
    private static let byteLimit = 96 << 20
    /// The most keys, and the most nodes.
    private static let entryLimit = 1 << 20
    /// The most bytes that all keys may have.
    private static let keyByteLimit = 64 << 20
    private static let heightLimit: UInt8 = 32
    private var nodeCount = 0

    static let manifestName = "manifest.ocdbt"

    /// Reads the manifest and every node of the newest version.
    init(_ files: inout OrbaxFiles) throws(CheckpointError) {
        guard let root = try Self.newestRoot(&files) else { return }
        try walk(root, &files)
    }

    /// The number of keys.
    var count: Int { places.count }

    private func key(_ index: Int) -> ArraySlice<UInt8> {
        keys[(index == 0 ? 0 : keyEnds[index - 1])..<keyEnds[index]]
    }

    /// The bytes of a key, or nil where it has none.
    func value(_ key: String, _ files: inout OrbaxFiles) throws(CheckpointError) -> Extent? {
        var (low, high) = (0, places.count)
        let wanted = Array(key.utf8)
        while low < high {
            let middle = (low + high) / 2
            if self.key(middle).lexicographicallyPrecedes(wanted) { low = middle + 1 } else { high = middle }
        }
        guard low < places.count, self.key(low).elementsEqual(wanted) else { return nil }
        let place = places[low]
        if place.holder >= 0 {
            return Extent(
                source: bodies[Int(place.holder)], offset: place.offset, byteCount: place.byteCount)
        }
        let path = paths[Int(-1 - place.holder)]
        let source = try files.source(path)
        let (end, overflow) = place.offset.addingReportingOverflow(place.byteCount)
        guard !overflow, end <= source.byteCount else {
            throw CheckpointError(
                .malformed, "truncated",
                "the value of '\(escapedForDisplay(key))' reaches beyond the end of the file", file: path,
                offset: place.offset)
        }
        return Extent(source: source, offset: place.offset, byteCount: place.byteCount)
    }

    /// The names of arrays.
    var arrayNames: [String] {
        let suffixes = ["/.zarray", "/zarr.json"].map { Array($0.utf8) }
        var names: [String] = []
        for index in places.indices {
            let key = key(index)
            for suffix in suffixes where key.suffix(suffix.count).elementsEqual(suffix) {
                names.append(String(decoding: key.dropLast(suffix.count), as: UTF8.self))
            }
        }
        return names
    }
}

/// The manifest.
extension OCDBTStore {
    /// A reference to a node.
    private struct NodeReference {
        var path: String
        /// What the paths in the node are relative to.
        var base: [UInt8]
        var offset: UInt64
        var byteCount: UInt64
        var height: UInt8
        /// What the keys in it begin with.
        var prefix: [UInt8] = []
    }

    /// The root of the newest version; nil where the database is empty.
    private static func newestRoot(_ files: inout OrbaxFiles) throws(CheckpointError) -> NodeReference? {
        let place = OCDBTCursor.Place(file: manifestName, offset: 0)
        let source = try files.source(manifestName)
        let body = try OCDBTEnvelope.body(
            of: source, range: 0..<source.byteCount, magic: OCDBTEnvelope.manifest, limit: 16 << 20, at: place
        )
        var cursor = OCDBTCursor(body, at: place)
        _ = try cursor.take(16)
        let kind = try cursor.varint()
        guard kind == 0 else {
            throw CheckpointError(
                .unsupported, "ocdbt-manifest-kind",
                "the database keeps its versions in manifests of kind \(kind), and only single ones are read",
                file: manifestName)
        }
        _ = try cursor.varints(2)
        _ = try cursor.byte()
        if try cursor.varint() == 1 { _ = try cursor.take(4) }
        let table = try OCDBTFileTable(&cursor, base: [])
        // The newest version is the last one, and always inline.
        let count = try cursor.varint()
        guard count <= UInt64(cursor.remaining) else {
            throw place.error("ocdbt-short", "the manifest lists more versions than it holds")
        }
        guard count > 0 else { return nil }
        let last = Int(count) - 1
        _ = try cursor.varints(last + 1)
        let height = body[try cursor.take(count)][cursor.position - 1]
        let file = try cursor.varints(last + 1)[last]
        let offset = try cursor.varints(last + 1)[last]
        let byteCount = try cursor.varints(last + 1)[last]
        guard byteCount != 0, byteCount != .max else { return nil }
        let (path, base) = try table.entry(file)
        return NodeReference(path: path, base: base, offset: offset, byteCount: byteCount, height: height)
    }
}

/// The nodes.
extension OCDBTStore {
    private mutating func walk(_ root: NodeReference, _ files: inout OrbaxFiles) throws(CheckpointError) {
        guard root.height <= Self.heightLimit else {
            throw CheckpointError(
                .malformed, "nesting-limit", "the tree is \(root.height) nodes high", file: root.path,
                offset: root.offset)
        }
        // Children are lower than their parents, so there are no cycles.
        var pending = [root]
        while let reference = pending.popLast() {
            nodeCount += 1
            let place = OCDBTCursor.Place(file: reference.path, offset: reference.offset)
            guard nodeCount + pending.count <= Self.entryLimit else {
                throw place.error("item-limit", "the database has more than \(Self.entryLimit) nodes")
            }
            let source = try files.source(reference.path)
            let (end, overflow) = reference.offset.addingReportingOverflow(reference.byteCount)
            guard !overflow else { throw place.error("ocdbt-short", "a node reaches beyond 2^64 bytes") }
            let body = try OCDBTEnvelope.body(
                of: source, range: reference.offset..<end, magic: OCDBTEnvelope.node, limit: budget, at: place
            )
            budget -= min(budget, body.count + 64)
            var cursor = OCDBTCursor(body, at: place)
            let height = try cursor.byte()
            guard height == reference.height else {
                throw place.error(
                    "ocdbt-height", "a node has the height \(height) where one of \(reference.height) belongs"
                )
            }
            let table = try OCDBTFileTable(&cursor, base: reference.base)
            let room = UInt64(min(Self.entryLimit - places.count, cursor.remaining))
            let count = try cursor.varint()
            guard count <= room else {
                throw place.error("item-limit", "a node claims \(count) entries, more than there can be")
            }
            guard count > 0 else { throw place.error("ocdbt-empty", "a node has no entries") }
            if height == 0 {
                try readLeaf(Int(count), &cursor, table, reference.prefix)
            } else {
                pending += try children(Int(count), &cursor, table, reference).reversed()
            }
        }
    }

    private func children(
        _ count: Int, _ cursor: inout OCDBTCursor, _ table: OCDBTFileTable, _ parent: NodeReference
    ) throws(CheckpointError) -> [NodeReference] {
        var reader = try OCDBTKeys(count, &cursor, hasSubtrees: true)
        let ids = try cursor.varints(count)
        let offsets = try cursor.varints(count)
        let lengths = try cursor.varints(count)
        _ = try cursor.varints(count)
        _ = try cursor.varints(count)
        _ = try cursor.varints(count)
        try cursor.checkEnd()
        var result: [NodeReference] = []
        var prefixByteCount = 0
        for index in 0..<count {
            let key = try reader.next(cursor)
            let common = reader.subtrees[index]
            guard common <= UInt64(key.count) else {
                throw cursor.place.error(
                    "ocdbt-key", "the keys of a node have a longer prefix than its first")
            }
            let prefix = parent.prefix + key.prefix(Int(common))
            prefixByteCount += prefix.count
            guard prefixByteCount <= Self.keyByteLimit else {
                throw cursor.place.error("name-limit", "the keys are over \(Self.keyByteLimit) bytes")
            }
            let (path, base) = try table.entry(ids[index])
            result.append(
                NodeReference(
                    path: path, base: base, offset: offsets[index], byteCount: lengths[index],
                    height: parent.height - 1, prefix: prefix))
        }
        return result
    }

    private mutating func readLeaf(
        _ count: Int, _ cursor: inout OCDBTCursor, _ table: OCDBTFileTable, _ prefix: [UInt8]
    ) throws(CheckpointError) {
        var reader = try OCDBTKeys(count, &cursor, hasSubtrees: false)
        let lengths = try cursor.varints(count)
        let kinds = try cursor.varints(count)
        guard kinds.allSatisfy({ $0 <= 1 }) else {
            throw cursor.place.error("ocdbt-kind", "a value is neither inside its node nor in a file")
        }
        let outside = kinds.count { $0 == 1 }
        let ids = try cursor.varints(outside)
        let offsets = try cursor.varints(outside)
        let body = bodies.count
        if outside < count { bodies.append(MemorySource(name: cursor.place.file, contents: cursor.bytes)) }
        var next = 0
        for index in 0..<count {
            let key = prefix + (try reader.next(cursor))
            try append(key, cursor)
            if kinds[index] == 0 {
                let range = try cursor.take(lengths[index])
                places.append(
                    Place(
                        holder: Int32(body), offset: UInt64(range.lowerBound), byteCount: lengths[index]))
            } else {
                let number = try number(of: try table.entry(ids[next]).path)
                places.append(
                    Place(holder: Int32(-1 - number), offset: offsets[next], byteCount: lengths[index]))
                next += 1
            }
        }
        try cursor.checkEnd()
    }

    /// Adds a key, which must come after all others.
    private mutating func append(_ key: [UInt8], _ cursor: OCDBTCursor) throws(CheckpointError) {
        guard places.isEmpty || self.key(places.count - 1).lexicographicallyPrecedes(key) else {
            let shown = escapedForDisplay(String(decoding: key, as: UTF8.self))
            throw cursor.place.error("ocdbt-order", "the key '\(shown)' is out of order")
        }
        guard keys.count + key.count <= Self.keyByteLimit else {
            throw cursor.place.error("name-limit", "the keys are over \(Self.keyByteLimit) bytes")
        }
        keys += key
        keyEnds.append(keys.count)
    }

    private mutating func number(of path: String) throws(CheckpointError) -> Int {
        if let known = pathNumbers[ByteKey(path)] { return known }
        pathNumbers[ByteKey(path)] = paths.count
        paths.append(path)
        return paths.count - 1
    }
}
