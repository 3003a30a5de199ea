internal import Integrity
internal import TensorCore

/// A zip archive of stored members, laid out before their bytes are known.
///
/// As PyTorch writes them: payloads begin at multiples of 64 by padding in the header before them, and what is only
/// known afterwards follows them in a descriptor. The CRC-32 of a tensor stays a field to be filled in on the way.
struct ZipLayout {
    /// The multiple at which payloads begin.
    static let alignment: UInt64 = 64

    private(set) var frames: [ExportPlan.Frame] = []
    private(set) var checksums: [DigestLane.ChecksumField] = []
    /// The bytes so far.
    private(set) var byteCount: UInt64 = 0
    private var members: [Member] = []
    /// The bytes since the last tensor.
    private var pending: [UInt8] = []

    /// The CRC-32 of a member.
    private enum Checksum {
        case known(UInt32)
        /// That of a lane's segment after bytes with this one.
        case ofSegment(Int, after: UInt32)
    }

    private struct Member {
        let name: [UInt8]
        let offset: UInt64
        let byteCount: UInt64
        let checksum: Checksum
        var flags: UInt16 { byteCount > 0 ? 0x0808 : 0x0800 }
        var isLarge: Bool { byteCount >= ZipLayout.saturated }
        var version: UInt16 { isLarge || offset >= ZipLayout.saturated ? 45 : 20 }
    }

    private static let saturated = UInt64(UInt32.max)

    /// Adds a member of known bytes.
    mutating func add(_ name: String, _ contents: [UInt8]) {
        begin(
            Member(
                name: Array(name.utf8), offset: byteCount, byteCount: UInt64(contents.count),
                checksum: .known(CRC32.update(0, with: contents.span.bytesView))))
        append(contents)
        end()
    }

    /// Adds a member that holds a tensor behind `head`.
    ///
    /// - Parameters:
    ///   - segment: the number of the tensor in its file.
    ///   - byteCount: the bytes of the tensor.
    /// - Returns: the offset of the tensor's first byte.
    mutating func add(
        _ name: [UInt8], head: [UInt8] = [], segment: Int, byteCount: UInt64
    ) -> UInt64 {
        let crc = CRC32.update(0, with: head.span.bytesView)
        begin(
            Member(
                name: name, offset: self.byteCount, byteCount: UInt64(head.count) + byteCount,
                checksum: byteCount > 0 ? .ofSegment(segment, after: crc) : .known(crc)))
        append(head)
        let offset = self.byteCount
        if byteCount > 0 { flush() }
        self.byteCount += byteCount
        end()
        return offset
    }

    private mutating func append(_ bytes: [UInt8]) {
        pending += bytes
        byteCount += UInt64(bytes.count)
    }

    private mutating func flush() {
        if pending.isEmpty { return }
        frames.append(.init(offset: byteCount - UInt64(pending.count), bytes: pending))
        pending = []
    }

    private mutating func append(_ checksum: Checksum) {
        switch checksum {
        case .known(let crc): append(LittleEndian(crc))
        case .ofSegment(let segment, let prefix):
            checksums.append(.init(offset: byteCount, segment: segment, prefix: prefix))
            append(LittleEndian(UInt32(0)))
        }
    }

    private mutating func append(_ fields: LittleEndian) { append(fields.bytes) }

    private mutating func begin(_ member: Member) {
        members.append(member)
        let padded = byteCount + 30 + UInt64(member.name.count) + 4
        let padding = (Self.alignment - padded % Self.alignment) % Self.alignment
        append(
            LittleEndian(UInt32(0x0403_4B50)).adding(member.version, member.flags).adding(
                UInt16(0), UInt16(0)
            )
            .adding(UInt16(0)).adding(UInt32(0), UInt32(0), UInt32(0))
            .adding(UInt16(member.name.count), UInt16(4 + padding)))
        append(member.name)
        append(LittleEndian(UInt16(0x4246), UInt16(padding)))
        append([UInt8](repeating: 0x5A, count: Int(padding)))
    }

    /// Adds the descriptor of the last member.
    private mutating func end() {
        guard let member = members.last, member.byteCount > 0 else { return }
        append(LittleEndian(UInt32(0x0807_4B50)))
        append(member.checksum)
        if member.isLarge || member.offset >= Self.saturated {
            append(LittleEndian(member.byteCount, member.byteCount))
        } else {
            append(LittleEndian(UInt32(member.byteCount), UInt32(member.byteCount)))
        }
    }

    /// Adds the directory.
    mutating func finish() {
        let start = byteCount
        for member in members { appendCentral(member) }
        let end = byteCount
        let count = UInt64(members.count)
        append(
            LittleEndian(UInt32(0x0606_4B50)).adding(UInt64(44)).adding(UInt16(0x2D), UInt16(0x2D))
                .adding(UInt32(0), UInt32(0)).adding(count, count, end - start, start))
        append(LittleEndian(UInt32(0x0706_4B50), UInt32(0)).adding(end).adding(UInt32(1)))
        let short = UInt16(clamping: count)
        append(
            LittleEndian(UInt32(0x0605_4B50)).adding(UInt16(0), UInt16(0), short, short)
                .adding(UInt32(clamping: end - start), UInt32(clamping: start)).adding(UInt16(0)))
        flush()
    }

    private mutating func appendCentral(_ member: Member) {
        let isFar = member.offset >= Self.saturated
        var extra: [UInt8] = []
        if member.isLarge || isFar {
            if member.isLarge { extra += LittleEndian(member.byteCount, member.byteCount).bytes }
            if isFar { extra += LittleEndian(member.offset).bytes }
            extra = LittleEndian(UInt16(1), UInt16(extra.count)).bytes + extra
        }
        append(
            LittleEndian(UInt32(0x0201_4B50)).adding(member.version, member.version, member.flags)
                .adding(UInt16(0), UInt16(0), UInt16(0)))
        append(member.checksum)
        let size = UInt32(clamping: member.byteCount)
        append(
            LittleEndian(size, size).adding(UInt16(member.name.count), UInt16(extra.count), UInt16(0))
                .adding(UInt16(0), UInt16(0)).adding(UInt32(0), UInt32(clamping: member.offset)))
        append(member.name)
        append(extra)
    }
}
