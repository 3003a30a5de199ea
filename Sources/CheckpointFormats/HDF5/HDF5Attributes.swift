internal import Checkpoints

/// The attributes of an object that are texts.
extension HDF5Object {
    /// The text of an attribute; nil where there is none of this name or it is no single text.
    func text(ofAttribute name: String) throws(CheckpointError) -> [UInt8]? {
        for message in messages where message.kind == .attribute && !message.isShared {
            var cursor = message.body
            let version = try cursor.u8()
            let flags = try cursor.u8()
            guard 1...3 ~= version else { continue }
            let sizes = (try cursor.u16(), try cursor.u16(), try cursor.u16())
            if version == 3 { try cursor.skip(1) }
            func padded(_ count: Int) -> Int { version == 1 ? (count + 7) / 8 * 8 : count }
            let own = try cursor.take(padded(sizes.0)).prefix { $0 != 0 }
            guard own.elementsEqual(name.utf8), version == 1 || flags == 0 else { continue }
            var type = try cursor.rest(padded(sizes.1))
            let datatype = try HDF5Datatype(&type)
            var space = try cursor.rest(padded(sizes.2))
            guard let shape = try space.dataspace(), shape.allSatisfy({ $0 == 1 }) else { return nil }
            switch datatype.kind {
            case .text: return Array(try cursor.take(datatype.byteCount).prefix { $0 != 0 })
            case .heapText: return try heapText(&cursor)
            default: return nil
            }
        }
        return nil
    }

    private static let textLimit: UInt64 = 16 << 20

    /// A text of the global heap: its size, its collection, and its number there.
    private func heapText(_ cursor: inout HDF5Cursor) throws(CheckpointError) -> [UInt8]? {
        let count = try cursor.u32()
        let address = try cursor.u64()
        let index = try cursor.u32()
        var head = try file.cursor(at: address, count: 16)
        try head.signature("GCOL")
        try head.skip(4)
        let size = try head.u64()
        guard size >= 16, size <= Self.textLimit else {
            throw head.broken("a heap of texts of \(size) bytes")
        }
        var body = try file.cursor(at: address + 16, count: Int(size) - 16)
        while body.remaining >= 16 {
            let number = try body.u16()
            try body.skip(6)
            let length = try body.u64()
            guard number != 0, length <= UInt64(body.remaining) else { return nil }
            let padded = min(body.remaining, Int((length + 7) / 8 * 8))
            let object = try body.take(padded)
            if number == index { return count <= Int(length) ? Array(object.prefix(count)) : nil }
        }
        return nil
    }
}
