/// Writes small zip archives for tests, right or wrong in chosen ways.
public struct ZipBuilder {
    /// A member as it is written.
    public struct Member {
        public var name: [UInt8]
        public var data: [UInt8]
        public var crc: UInt32 = 0
        public var method: UInt16 = 0
        public var flags: UInt16 = 0
        /// The size that both headers state, where it is not that of the data.
        public var byteCount: UInt32?
        /// What the local header says, where it differs.
        public var localName: [UInt8]?
        public var localFlags: UInt16?
        public var localMethod: UInt16?
        public var localByteCount: UInt32?
        public var localCRC: UInt32?
        /// Where the directory says that the local header is, where that is not the truth.
        public var headerOffset: UInt32?
        /// Whether the directory keeps sizes and offset in a zip64 field.
        public var isZip64 = false

        public init(_ name: String, _ data: [UInt8]) {
            self.name = Array(name.utf8)
            self.data = data
        }
    }

    public var members: [Member]
    public var comment: [UInt8] = []
    public var trailing: [UInt8] = []
    public var disk: UInt16 = 0
    public var entryCount: UInt16?
    public var hasZip64End = false
    /// Bytes between the directory and the end record.
    public var gap: [UInt8] = []

    public init(_ members: [Member]) { self.members = members }

    /// The archive.
    public func bytes() -> [UInt8] {
        var file: [UInt8] = []
        var directory: [UInt8] = []
        for member in members {
            let offset = member.headerOffset ?? UInt32(file.count)
            let count = member.byteCount ?? UInt32(member.data.count)
            let stored = UInt32(member.data.count)
            let name = member.localName ?? member.name
            let localCount = member.localByteCount
            file += little(0x0403_4B50 as UInt32) + little(20 as UInt16)
            file += little(member.localFlags ?? member.flags) + little(member.localMethod ?? member.method)
            file += little(0 as UInt32) + little(member.localCRC ?? member.crc)
            file += little(localCount ?? stored) + little(localCount ?? count)
            file += little(UInt16(name.count)) + little(0 as UInt16) + name + member.data
            var extra: [UInt8] = []
            if member.isZip64 {
                extra = little(1 as UInt16) + little(24 as UInt16) + little(UInt64(count))
                extra += little(UInt64(stored)) + little(UInt64(offset))
            }
            func field(_ value: UInt32) -> [UInt8] { little(member.isZip64 ? .max : value) }
            directory += little(0x0201_4B50 as UInt32) + little(20 as UInt16) + little(20 as UInt16)
            directory += little(member.flags) + little(member.method) + little(0 as UInt32)
            directory += little(member.crc) + field(stored) + field(count)
            directory += little(UInt16(member.name.count)) + little(UInt16(extra.count))
            directory += [UInt8](repeating: 0, count: 10) + field(offset) + member.name + extra
        }
        return file + directory + gap + end(start: file.count, count: directory.count) + trailing
    }

    private func end(start: Int, count: Int) -> [UInt8] {
        var result: [UInt8] = []
        let entries = entryCount ?? UInt16(members.count)
        if hasZip64End {
            result += little(0x0606_4B50 as UInt32) + little(44 as UInt64) + little(45 as UInt16)
            result += little(45 as UInt16) + little(0 as UInt64) + little(UInt64(entries))
            result += little(UInt64(entries)) + little(UInt64(count)) + little(UInt64(start))
            result += little(0x0706_4B50 as UInt32) + little(0 as UInt32)
            result += little(UInt64(start + count + gap.count)) + little(1 as UInt32)
        }
        func field(_ value: Int) -> [UInt8] { little(hasZip64End ? .max : UInt32(value)) }
        result += little(0x0605_4B50 as UInt32) + little(disk) + little(disk)
        result += little(hasZip64End ? .max : entries) + little(hasZip64End ? .max : entries)
        return result + field(count) + field(start) + little(UInt16(comment.count)) + comment
    }

    private func little<T: FixedWidthInteger>(_ value: T) -> [UInt8] {
        (0..<MemoryLayout<T>.size).map { UInt8(truncatingIfNeeded: value >> T($0 * 8)) }
    }
}
