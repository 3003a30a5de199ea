internal import Checkpoints
internal import TensorCore

/// A heap of small objects, in which large groups keep their links.
///
/// Direct blocks at the root or one level below it are read, which are those of a few thousand links.
struct HDF5FractalHeap {
    private struct Block {
        /// Where the block begins among the bytes of the heap.
        let start: UInt64
        let count: UInt64
        let address: UInt64
    }

    private let file: HDF5File
    private let address: UInt64
    private let offsetWidth: Int
    private let lengthWidth: Int
    private var blocks: [Block] = []

    init(in file: HDF5File, at address: UInt64) throws(CheckpointError) {
        self.file = file
        self.address = address
        var head = try file.cursor(at: address, count: 142)
        try head.signature("FRHP")
        guard try head.u8() == 0 else { throw head.broken("a heap of an unknown version") }
        try head.skip(2)
        guard try head.u16() == 0 else { throw Self.refusal(file, address, "a group's names are compressed") }
        try head.skip(1)
        let largestObject = try head.number(4)
        try head.skip(96)
        let columns = try head.u16()
        let first = try head.u64()
        let largest = try head.u64()
        let bits = try head.u16()
        try head.skip(2)
        let root = try head.u64()
        let rows = try head.u16()
        guard 1...64 ~= columns, first > 0, first <= largest, largest <= 1 << 32, 8...64 ~= bits, rows <= 64
        else {
            throw head.broken("a heap of an impossible shape")
        }
        offsetWidth = (bits + 7) / 8
        lengthWidth = Self.width(of: min(largest, largestObject))
        if rows == 0 {
            blocks = [Block(start: 0, count: first, address: root)]
        } else {
            try readTable(at: root, rows: rows, columns: columns, first: first, largest: largest)
        }
    }

    /// The bytes that a number up to `limit` takes.
    static func width(of limit: UInt64) -> Int { max(1, (64 - limit.leadingZeroBitCount + 7) / 8) }

    /// The table of blocks, whose size doubles from row to row after the second.
    private mutating func readTable(
        at place: UInt64, rows: Int, columns: Int, first: UInt64, largest: UInt64
    ) throws(CheckpointError) {
        var table = try file.cursor(at: place, count: 13 + offsetWidth + 8 * rows * columns)
        try table.signature("FHIB")
        try table.skip(9 + offsetWidth)
        var start: UInt64 = 0
        for row in 0..<rows {
            let size = row < 2 ? first : first << UInt64(min(row - 1, 40))
            guard size <= largest else {
                throw Self.refusal(file, address, "a group has more members than are read")
            }
            for _ in 0..<columns {
                let block = try table.u64()
                if block != HDF5File.nowhere {
                    blocks.append(Block(start: start, count: size, address: block))
                }
                start += size
            }
        }
    }

    /// The object with an identifier.
    func object(_ identifier: ArraySlice<UInt8>) throws(CheckpointError) -> HDF5Cursor {
        var cursor = HDF5Cursor(bytes: Array(identifier), file: file, address: address)
        guard try cursor.u8() & 0x30 == 0 else {
            throw Self.refusal(file, address, "a group has a member with a very long name")
        }
        let offset = try cursor.number(offsetWidth)
        let count = try cursor.number(min(lengthWidth, cursor.remaining))
        let block = blocks.last { $0.start <= offset }
        guard let block, offset - block.start <= block.count, count <= block.count - (offset - block.start)
        else {
            throw cursor.broken("an object lies outside its heap")
        }
        return try file.cursor(at: block.address + (offset - block.start), count: Int(count))
    }

    private static func refusal(_ file: HDF5File, _ address: UInt64, _ message: String) -> CheckpointError {
        file.error(
            .unsupported, "hdf5-dense", message + "; write the file again without libver='latest'",
            at: address)
    }
}

/// The identifiers of the objects that a tree of names lists.
struct HDF5NameTree {
    private let file: HDF5File
    private let recordSize: Int
    private let nodeSize: Int
    private(set) var identifiers: [ArraySlice<UInt8>] = []

    init(in file: HDF5File, at address: UInt64) throws(CheckpointError) {
        self.file = file
        var head = try file.cursor(at: address, count: 38)
        try head.signature("BTHD")
        try head.skip(1)
        let kind = try head.u8()
        nodeSize = Int(try head.number(4))
        recordSize = try head.u16()
        let depth = try head.u16()
        try head.skip(2)
        let root = try head.u64()
        let count = try head.u16()
        guard kind == 5, recordSize == 11, 64...65536 ~= nodeSize else {
            throw head.broken("no tree of names stands here")
        }
        guard depth <= 1 else {
            throw file.error(
                .unsupported, "hdf5-dense",
                "a group has more members than are read; write the file again without libver='latest'",
                at: address)
        }
        guard root != HDF5File.nowhere else { return }
        if depth == 0 {
            try readLeaf(at: root, count: count)
            return
        }
        // Records stand between the children: one child more than records.
        let width = HDF5FractalHeap.width(of: UInt64((nodeSize - 10) / recordSize))
        var node = try file.cursor(at: root, count: 6 + count * recordSize + (count + 1) * (8 + width))
        try node.signature("BTIN")
        try node.skip(2)
        for _ in 0..<count { identifiers.append(try node.take(recordSize).dropFirst(4)) }
        for _ in 0...count {
            let child = try node.u64()
            try readLeaf(at: child, count: Int(try node.number(width)))
        }
    }

    private mutating func readLeaf(at address: UInt64, count: Int) throws(CheckpointError) {
        var leaf = try file.cursor(at: address, count: 6 + count * recordSize)
        try leaf.signature("BTLF")
        try leaf.skip(2)
        for _ in 0..<count { identifiers.append(try leaf.take(recordSize).dropFirst(4)) }
    }
}
