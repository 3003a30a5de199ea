/// Writes small zip archives for tests, right or wrong in chosen ways.
package struct ZipBuilder {
    /// A member as it is written.
    package struct Member {
        package var name: [UInt8]
        package var data: [UInt8]
        package var crc: UInt32 = 0
        package var method: UInt16 = 0
        package var flags: UInt16 = 0
        /// The size that both headers state, where it is not that of the data.
        package var byteCount: UInt32?
        /// What the local header says, where it differs.
        package var localName: [UInt8]?
        package var localFlags: UInt16?
        package var localMethod: UInt16?
        package var localByteCount: UInt32?
        package var localCRC: UInt32?
        /// Where the directory says that the local header is, where that is not the truth.
        package var headerOffset: UInt32?
        /// Whether the directory keeps sizes and offset in a zip64 field.
        package var isZip64 = false

        package init(_ name: String, _ data: [UInt8]) {
            self.name = Array(name.utf8)
            self.data = data
        }
    }

    package var members: [Member]
    package var comment: [UInt8] = []
    package var trailing: [UInt8] = []
    package var disk: UInt16 = 0
    package var entryCount: UInt16?
    package var hasZip64End = false
    /// Bytes between the directory and the end record.
    package var gap: [UInt8] = []

    package init(_ members: [Member]) { self.members = members }

    /// Bytes never written, as the data of a member (which must have none of its own and be zip64).
    package var hole: (after: Int, byteCount: UInt64)?

    /// The archive, which must have no hole.
    package func bytes() -> [UInt8] { pieces().flatMap(\.bytes) }

    /// The archive as pieces of a file with places.
    package func pieces() -> [(offset: UInt64, bytes: [UInt8])] {
        var pieces: [(offset: UInt64, bytes: [UInt8])] = []
        var directory: [UInt8] = []
        var position: UInt64 = 0
        for (index, member) in members.enumerated() {
            let missing = hole.map { $0.after == index ? $0.byteCount : 0 } ?? 0
            directory += centralHeader(member, at: position, missing: missing)
            let header = localHeader(member)
            pieces.append((position, header))
            position += UInt64(header.count) + missing
        }
        let count = UInt64(directory.count)
        pieces.append((position, directory + gap + end(start: position, count: count) + trailing))
        return pieces
    }

    private func localHeader(_ member: Member) -> [UInt8] {
        let count = member.byteCount ?? UInt32(member.data.count)
        let stored = UInt32(member.data.count)
        let name = member.localName ?? member.name
        var header = little(0x0403_4B50 as UInt32) + little(20 as UInt16)
        header += little(member.localFlags ?? member.flags) + little(member.localMethod ?? member.method)
        header += little(0 as UInt32) + little(member.localCRC ?? member.crc)
        header += little(member.localByteCount ?? stored) + little(member.localByteCount ?? count)
        return header + little(UInt16(name.count)) + little(0 as UInt16) + name + member.data
    }

    private func centralHeader(_ member: Member, at position: UInt64, missing: UInt64) -> [UInt8] {
        let offset = member.headerOffset.map(UInt64.init) ?? position
        let count = (member.byteCount.map(UInt64.init) ?? UInt64(member.data.count)) + missing
        let stored = UInt64(member.data.count) + missing
        let isZip64 = member.isZip64 || missing > 0
        let extra =
            isZip64
            ? little(1 as UInt16) + little(24 as UInt16) + little(count) + little(stored) + little(offset)
            : []
        func field(_ value: UInt64) -> [UInt8] { little(isZip64 ? .max : UInt32(value)) }
        var header = little(0x0201_4B50 as UInt32) + little(20 as UInt16) + little(20 as UInt16)
        header += little(member.flags) + little(member.method) + little(0 as UInt32)
        header += little(member.crc) + field(stored) + field(count)
        header += little(UInt16(member.name.count)) + little(UInt16(extra.count))
        return header + [UInt8](repeating: 0, count: 10) + field(offset) + member.name + extra
    }

    private func end(start: UInt64, count: UInt64) -> [UInt8] {
        var result: [UInt8] = []
        let entries = entryCount ?? UInt16(members.count)
        if hasZip64End {
            result += little(0x0606_4B50 as UInt32) + little(44 as UInt64) + little(45 as UInt16)
            result += little(45 as UInt16) + little(0 as UInt64) + little(UInt64(entries))
            result += little(UInt64(entries)) + little(count) + little(start)
            result += little(0x0706_4B50 as UInt32) + little(0 as UInt32)
            result += little(start + count + UInt64(gap.count)) + little(1 as UInt32)
        }
        func field(_ value: UInt64) -> [UInt8] { little(hasZip64End ? .max : UInt32(value)) }
        result += little(0x0605_4B50 as UInt32) + little(disk) + little(disk)
        result += little(hasZip64End ? .max : entries) + little(hasZip64End ? .max : entries)
        return result + field(count) + field(start) + little(UInt16(comment.count)) + comment
    }

    private func little<T: FixedWidthInteger>(_ value: T) -> [UInt8] {
        (0..<MemoryLayout<T>.size).map { UInt8(truncatingIfNeeded: value >> T($0 * 8)) }
    }
}
