internal import TensorCore

/// The way from header to header of a tar archive.
struct TarWalk {
    let source: any ByteSource
    let limits: TarLimits
    private(set) var entries: [TarEntry] = []
    private var position: UInt64 = 0
    private var names: Set<ByteKey> = []
    /// What records before a header say about it.
    private var name: [UInt8]?
    private var size: UInt64?

    private static let blockByteCount = 512

    init(source: any ByteSource, limits: TarLimits) {
        self.source = source
        self.limits = limits
    }

    mutating func run() throws(ArchiveError) {
        var count = 0
        while let header = try nextHeader() {
            count += 1
            guard count <= limits.headerCount else {
                throw error(.malformed, "member-limit", "there are more than \(limits.headerCount) headers")
            }
            try take(header)
        }
        guard count > 0 else { throw error(.malformed, "not-tar", "this is no tar archive") }
    }

    /// The next header; nil at the end, which is a block of zeros or that of the source.
    private mutating func nextHeader() throws(ArchiveError) -> TarHeader? {
        if position == source.byteCount, !entries.isEmpty { return nil }
        let block = try read(at: position, count: Self.blockByteCount)
        if block.allSatisfy({ $0 == 0 }) { return nil }
        guard let header = TarHeader(block) else {
            throw error(.malformed, "tar-header", "a header is damaged, or this is no tar archive")
        }
        return header
    }

    private mutating func take(_ header: TarHeader) throws(ArchiveError) {
        let start = position + UInt64(Self.blockByteCount)
        let isRecord = [0x4C, 0x4B, 0x78, 0x67, 0x58].contains(header.kind)
        let byteCount = isRecord ? header.byteCount : size ?? header.byteCount
        guard start <= source.byteCount, byteCount <= source.byteCount - start else {
            throw error(.malformed, "truncated", "the archive ends in the middle of a member")
        }
        switch header.kind {
        case 0x4C:
            var text = try record(at: start, byteCount)
            if let end = text.firstIndex(of: 0) { text.removeSubrange(end...) }
            name = text
        case 0x4B: _ = try record(at: start, byteCount)
        case 0x78, 0x67, 0x58:
            try readRecords(try record(at: start, byteCount), isGlobal: header.kind == 0x67)
        default:
            try add(header, at: start, byteCount)
            name = nil
            size = nil
        }
        let (padded, overflow) = byteCount.addingReportingOverflow(UInt64(Self.blockByteCount - 1))
        position = overflow ? source.byteCount : start + padded / 512 * 512
        // The padding of the last member may be missing.
        position = min(position, source.byteCount)
    }

    private mutating func add(_ header: TarHeader, at start: UInt64, _ byteCount: UInt64) throws(ArchiveError)
    {
        let stored = name ?? header.name
        let text = String(decoding: stored.prefix(200), as: UTF8.self)
        switch header.kind {
        case 0, 0x30, 0x37: break
        case 0x35: return
        case 0x31, 0x32:
            throw error(.unsafe, "tar-link", "'\(escapedForDisplay(text))' is a link, which no model needs")
        case 0x33, 0x34, 0x36:
            throw error(.unsafe, "tar-device", "'\(escapedForDisplay(text))' is a device or a pipe")
        case 0x53:
            throw error(
                .unsupported, "tar-sparse", "'\(escapedForDisplay(text))' is stored with its holes left out")
        default:
            throw error(
                .unsupported, "tar-kind",
                "'\(escapedForDisplay(text))' is of kind \(header.kind), which is not known")
        }
        // Some old writers mark directories by their name alone.
        if stored.last == 0x2F, byteCount == 0 { return }
        let name = try safeName(stored)
        guard names.insert(ByteKey(ZipArchive.folded(name))).inserted else {
            throw error(
                .malformed, "duplicate-entry",
                "the archive has two members that readers take for the same: '\(escapedForDisplay(text))'")
        }
        entries.append(TarEntry(name: name, dataOffset: start, byteCount: byteCount))
    }

    /// A name without `./` before and within it, where it is a plain path.
    private func safeName(_ stored: [UInt8]) throws(ArchiveError) -> [UInt8] {
        let parts = stored.split(separator: 0x2F, omittingEmptySubsequences: true)
            .filter { !$0.elementsEqual(".".utf8) }
        let isPlain = parts.allSatisfy { part in
            !part.elementsEqual("..".utf8) && part.allSatisfy { $0 >= 0x20 && $0 != 0x7F && $0 != 0x5C }
        }
        guard stored.first != 0x2F, !parts.isEmpty, isPlain else {
            let text = escapedForDisplay(String(decoding: stored.prefix(200), as: UTF8.self))
            throw error(
                .unsafe, "path-escape", "'\(text)' is no plain path inside the archive")
        }
        return Array(parts.joined(separator: [0x2F]))
    }

    /// The records of pax: `LENGTH KEY=VALUE\n` one after another.
    private mutating func readRecords(_ bytes: [UInt8], isGlobal: Bool) throws(ArchiveError) {
        var rest = bytes[...]
        while let first = rest.first, first != 0 {
            let digits = rest.prefix { 0x30...0x39 ~= $0 }
            guard let count = Int(String(decoding: digits.prefix(10), as: UTF8.self)),
                count > digits.count + 1, count <= rest.count,
                rest[rest.startIndex + digits.count] == 0x20
            else { throw error(.malformed, "pax-record", "a record about a member is damaged") }
            let line = rest.prefix(count).dropFirst(digits.count + 1).dropLast()
            rest = rest.dropFirst(count)
            let key = line.prefix { $0 != 0x3D }
            let value = line.dropFirst(key.count + 1)
            if key.starts(with: "GNU.sparse".utf8) {
                throw error(.unsupported, "tar-sparse", "a member is stored with its holes left out")
            }
            let isPath = key.elementsEqual("path".utf8)
            guard isPath || key.elementsEqual("size".utf8) else { continue }
            guard !isGlobal else {
                throw error(.malformed, "pax-record", "a record gives all members the same name or size")
            }
            if isPath {
                name = Array(value)
            } else if let number = UInt64(String(decoding: value, as: UTF8.self)) {
                size = number
            } else {
                throw error(.malformed, "pax-record", "the size of a member is no number")
            }
        }
    }

    private func record(at offset: UInt64, _ byteCount: UInt64) throws(ArchiveError) -> [UInt8] {
        guard byteCount <= UInt64(limits.recordByteCount) else {
            throw error(.malformed, "tar-record", "a record about a member has \(byteCount) bytes")
        }
        return try read(at: offset, count: Int(byteCount))
    }

    private func read(at offset: UInt64, count: Int) throws(ArchiveError) -> [UInt8] {
        do { return try source.bytes(at: offset, count: count) } catch { throw ArchiveError(error) }
    }

    private func error(_ class: ArchiveError.Class, _ code: String, _ message: String) -> ArchiveError {
        ArchiveError(`class`, code, message, offset: position)
    }
}

/// A header of a tar archive.
struct TarHeader {
    let name: [UInt8]
    let byteCount: UInt64
    let kind: UInt8

    /// The header in a block, where its checksum is right.
    init?(_ block: [UInt8]) {
        guard let stated = Self.number(block[148..<156]) else { return nil }
        let sum = block.enumerated().reduce(0) { $0 + (148..<156 ~= $1.offset ? 0x20 : Int($1.element)) }
        guard stated == UInt64(sum), let size = Self.number(block[124..<136]) else { return nil }
        var name = Array(block[..<100].prefix { $0 != 0 })
        let isPOSIX = block[257..<263].elementsEqual("ustar\0".utf8)
        let prefix = block[345..<500].prefix { $0 != 0 }
        if isPOSIX, !prefix.isEmpty { name = prefix + [0x2F] + name }
        self.name = name
        byteCount = size
        kind = block[156]
    }

    /// A number in octal digits or, with the top bit set, in bytes.
    private static func number(_ field: ArraySlice<UInt8>) -> UInt64? {
        guard let first = field.first else { return nil }
        if first & 0x80 != 0 {
            // Negative numbers, and those beyond 64 bits, are none.
            let high = field.dropFirst().dropLast(8)
            guard first == 0x80, high.allSatisfy({ $0 == 0 }) else { return nil }
            return field.dropFirst().suffix(8).reduce(0) { $0 << 8 | UInt64($1) }
        }
        let digits = field.drop { $0 == 0x20 }.prefix { 0x30...0x37 ~= $0 }
        guard field.drop(while: { $0 == 0x20 }).dropFirst(digits.count).allSatisfy({ $0 == 0 || $0 == 0x20 })
        else { return nil }
        return digits.reduce(0) { $0 << 3 | UInt64($1 - 0x30) }
    }
}
