internal import Checkpoints
internal import TensorCore

/// The header of an object: the messages that say what it is.
struct HDF5Object {
    /// The kinds of messages that are looked at.
    enum Kind: Int {
        case dataspace = 1
        case linkInfo = 2
        case datatype = 3
        case oldFill = 4
        case fill = 5
        case link = 6
        case externalFiles = 7
        case layout = 8
        case filters = 11
        case attribute = 12
        case continuation = 16
        case symbolTable = 17
        case attributeInfo = 21
    }

    struct Message {
        let kind: Kind
        /// Whether the content is kept elsewhere, so that several objects may have it.
        let isShared: Bool
        let body: HDF5Cursor
    }

    let file: HDF5File
    let address: UInt64
    private(set) var messages: [Message] = []
    private var blocks: [(address: UInt64, count: Int)] = []

    private static let messageLimit = 1 << 16
    private static let blockLimit = 4096
    private static let blockByteLimit: UInt64 = 16 << 20

    init(in file: HDF5File, at address: UInt64) throws(CheckpointError) {
        self.file = file
        self.address = address
        var start = try file.cursor(at: address, count: 16)
        if start.bytes.starts(with: "OHDR".utf8) { try readNew() } else { try readOld(&start) }
    }

    /// The first message of a kind.
    func message(_ kind: Kind) -> Message? { messages.first { $0.kind == kind } }

    private mutating func readOld(_ start: inout HDF5Cursor) throws(CheckpointError) {
        guard try start.u8() == 1 else { throw start.broken("no header of an object stands here") }
        try start.skip(7)
        blocks = [(address + 16, try start.u32())]
        var next = 0
        while next < blocks.count {
            let block = try take(&next)
            var cursor = try file.cursor(at: block.address, count: block.count)
            while cursor.remaining >= 8 {
                let kind = try cursor.u16()
                let size = try cursor.u16()
                let flags = try cursor.u8()
                try cursor.skip(3)
                try add(kind, flags, try cursor.rest(size))
            }
        }
    }

    private mutating func readNew() throws(CheckpointError) {
        var start = try file.cursor(at: address, count: 6)
        try start.skip(4)
        guard try start.u8() == 2 else { throw start.broken("a header of an unknown version") }
        let flags = try start.u8()
        let extra = (flags & 0x20 == 0 ? 0 : 16) + (flags & 0x10 == 0 ? 0 : 4)
        let width = 1 << (flags & 3)
        var size = try file.cursor(at: address + 6 + UInt64(extra), count: width)
        let count = try size.number(width)
        guard count <= Self.blockByteLimit else { throw start.broken("a header of \(count) bytes") }
        blocks = [(address + 6 + UInt64(extra + width), Int(count))]
        var next = 0
        while next < blocks.count {
            var block = try take(&next)
            if next > 1 {
                // Later blocks have letters before and a checksum after their messages.
                guard block.count >= 8 else { throw start.broken("a block of \(block.count) bytes") }
                var letters = try file.cursor(at: block.address, count: 4)
                try letters.signature("OCHK")
                block = (block.address + 4, block.count - 8)
            }
            var cursor = try file.cursor(at: block.address, count: block.count)
            let head = flags & 4 == 0 ? 4 : 6
            while cursor.remaining >= head {
                let kind = try cursor.u8()
                let size = try cursor.u16()
                let messageFlags = try cursor.u8()
                try cursor.skip(head - 4)
                try add(kind, messageFlags, try cursor.rest(size))
            }
        }
    }

    private func take(_ next: inout Int) throws(CheckpointError) -> (address: UInt64, count: Int) {
        defer { next += 1 }
        guard blocks[next].count <= Int(Self.blockByteLimit) else {
            throw file.error(.malformed, "hdf5", "a header of \(blocks[next].count) bytes", at: address)
        }
        return blocks[next]
    }

    private mutating func add(_ number: Int, _ flags: Int, _ body: HDF5Cursor) throws(CheckpointError) {
        guard let kind = Kind(rawValue: number) else { return }
        if kind == .continuation {
            var body = body
            let place = try body.u64()
            let count = try body.u64()
            guard blocks.count < Self.blockLimit, count <= Self.blockByteLimit else {
                throw body.broken("the header of an object goes on for too long")
            }
            return blocks.append((place, Int(count)))
        }
        guard messages.count < Self.messageLimit else { throw body.broken("an object has too many messages") }
        messages.append(Message(kind: kind, isShared: flags & 2 != 0, body: body))
    }
}
