internal import Checkpoints
internal import TensorCore

/// The members of a group.
struct HDF5Group {
    /// A member: an object of the file, or a link that leads elsewhere by a path.
    struct Link {
        let name: [UInt8]
        /// The header of the object; nil for a link by a path.
        let address: UInt64?
    }

    private let file: HDF5File
    private(set) var links: [Link] = []
    private var nodes: Set<UInt64> = []
    private var heap: [UInt8] = []

    private static let heapLimit: UInt64 = 64 << 20
    private static let linkLimit = 1_000_000

    /// Reads the members; nil where the object is no group.
    init?(_ object: HDF5Object) throws(CheckpointError) {
        file = object.file
        if var table = object.message(.symbolTable)?.body {
            let tree = try table.u64()
            try readHeap(at: try table.u64())
            try readNode(at: tree, below: 256)
        } else if var info = object.message(.linkInfo)?.body {
            try info.skip(1)
            try info.skip(try info.u8() & 1 == 0 ? 0 : 8)
            let heap = try info.u64()
            for message in object.messages where message.kind == .link { try readLink(message.body) }
            if heap != HDF5File.nowhere { try readHeap(at: heap, index: try info.u64()) }
        } else {
            return nil
        }
    }

    private mutating func add(_ link: Link, _ cursor: HDF5Cursor) throws(CheckpointError) {
        guard links.count < Self.linkLimit else { throw cursor.broken("a group has too many members") }
        links.append(link)
    }

    // MARK: - Symbol tables

    private mutating func readHeap(at address: UInt64) throws(CheckpointError) {
        var head = try file.cursor(at: address, count: 32)
        try head.signature("HEAP")
        try head.skip(4)
        let count = try head.u64()
        try head.skip(8)
        let place = try head.u64()
        guard count <= Self.heapLimit else { throw head.broken("a heap of names of \(count) bytes") }
        heap = try file.cursor(at: place, count: Int(count)).bytes
    }

    private mutating func readNode(at address: UInt64, below level: Int) throws(CheckpointError) {
        guard nodes.insert(address).inserted else {
            throw file.error(.malformed, "hdf5", "the tree of a group comes back to itself", at: address)
        }
        var head = try file.cursor(at: address, count: 24)
        if head.bytes.starts(with: "SNOD".utf8) { return try readSymbols(at: address) }
        try head.signature("TREE")
        let kind = try head.u8()
        let own = try head.u8()
        let count = try head.u16()
        guard kind == 0, own < level else { throw head.broken("no node of this tree stands here") }
        var body = try file.cursor(at: address + 24, count: 16 * count + 8)
        for _ in 0..<count {
            try body.skip(8)
            let child = try body.u64()
            if own == 0 { try readSymbols(at: child) } else { try readNode(at: child, below: own) }
        }
    }

    private mutating func readSymbols(at address: UInt64) throws(CheckpointError) {
        var head = try file.cursor(at: address, count: 8)
        try head.signature("SNOD")
        try head.skip(2)
        let count = try head.u16()
        var body = try file.cursor(at: address + 8, count: 40 * count)
        for _ in 0..<count {
            let offset = try body.u64()
            let object = try body.u64()
            let cache = try body.u32()
            try body.skip(20)
            guard offset < UInt64(heap.count), let end = heap[Int(offset)...].firstIndex(of: 0) else {
                throw body.broken("a name lies outside its heap")
            }
            try add(Link(name: Array(heap[Int(offset)..<end]), address: cache == 2 ? nil : object), body)
        }
    }

    // MARK: - Messages

    /// The links of a large group, which are in no order of their own.
    private mutating func readHeap(at address: UInt64, index: UInt64) throws(CheckpointError) {
        let heap = try HDF5FractalHeap(in: file, at: address)
        for identifier in try HDF5NameTree(in: file, at: index).identifiers {
            try readLink(try heap.object(identifier))
        }
        links.sort { $0.name.lexicographicallyPrecedes($1.name) }
    }

    private mutating func readLink(_ message: HDF5Cursor) throws(CheckpointError) {
        var cursor = message
        guard try cursor.u8() == 1 else { throw cursor.broken("a link of an unknown version") }
        let flags = try cursor.u8()
        let kind = flags & 8 == 0 ? 0 : try cursor.u8()
        try cursor.skip((flags & 4 == 0 ? 0 : 8) + (flags & 16 == 0 ? 0 : 1))
        let count = try cursor.number(1 << (flags & 3))
        guard count <= UInt64(cursor.remaining) else { throw cursor.broken("a link's name breaks off") }
        let name = Array(try cursor.take(Int(count)))
        try add(Link(name: name, address: kind == 0 ? try cursor.u64() : nil), cursor)
    }
}
