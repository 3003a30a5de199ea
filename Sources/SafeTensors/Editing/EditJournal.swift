internal import TensorCore

/// What a change in place is about to do, on stable storage before the file is touched.
///
/// The journal holds the header before and after, so that what a killed process left can be brought to either.
/// A journal that is not complete proves that the file was not touched.
struct EditJournal: Equatable {
    private static let magic = Array("artifact journal 1\n".utf8)

    /// The size of the file before, in bytes.
    let fileByteCount: UInt64
    /// The bytes by which the file grows at its start, 0 for none.
    let growth: UInt64
    /// A checksum of samples of the data section, which must survive.
    let dataSample: UInt64
    /// The file up to its data section, before and after.
    let before: [UInt8]
    let after: [UInt8]

    /// The journal's path for a file: beside it, with a name that no file system refuses.
    static func path(for file: String) -> String {
        let name = Path.name(of: file)
        var shown = String(String.UnicodeScalarView(name.unicodeScalars.prefix(200)))
        while shown.utf8.count > 200 { shown.unicodeScalars.removeLast() }
        if shown.utf8.count < name.utf8.count {
            shown += "-" + String(Checksum.of(RawSpan(_elements: Array(name.utf8).span)), radix: 16)
        }
        return Path.join(Path.parent(of: file), ".\(shown).artifact-journal")
    }

    var encoded: [UInt8] {
        var bytes = Self.magic
        for number in [
            fileByteCount, growth, dataSample, UInt64(before.count), UInt64(after.count),
        ] {
            for shift in 0..<8 { bytes.append(UInt8(truncatingIfNeeded: number >> (8 * UInt64(shift)))) }
        }
        bytes += before
        bytes += after
        let checksum = Checksum.of(bytes.span.bytesView)
        for shift in 0..<8 { bytes.append(UInt8(truncatingIfNeeded: checksum >> (8 * UInt64(shift)))) }
        return bytes
    }

    init(fileByteCount: UInt64, growth: UInt64, dataSample: UInt64, before: [UInt8], after: [UInt8]) {
        self.fileByteCount = fileByteCount
        self.growth = growth
        self.dataSample = dataSample
        self.before = before
        self.after = after
    }

    /// Reads a journal; nil where it is not complete.
    init?(decoding bytes: [UInt8]) {
        let start = Self.magic.count
        guard bytes.count >= start + 48, bytes.starts(with: Self.magic) else { return nil }
        let span = bytes.span.bytesView
        let body = span.extracting(0..<bytes.count - 8)
        guard Checksum.of(body) == span.load(littleEndian: UInt64.self, at: bytes.count - 8) else {
            return nil
        }
        func number(_ index: Int) -> UInt64 { span.load(littleEndian: UInt64.self, at: start + 8 * index) }
        let rest = UInt64(bytes.count - start - 48)
        guard number(3) <= rest, number(4) == rest - number(3) else { return nil }
        let middle = start + 40 + Int(number(3))
        self.init(
            fileByteCount: number(0), growth: number(1), dataSample: number(2),
            before: Array(bytes[start + 40..<middle]), after: Array(bytes[middle..<bytes.count - 8]))
    }
}

/// CRC-64/XZ: tells a torn journal from a complete one.
enum Checksum {
    private static let table: [UInt64] = (0..<256).map { byte in
        (0..<8).reduce(UInt64(byte)) { value, _ in
            value & 1 == 1 ? value >> 1 ^ 0xC96C_5795_D787_0F42 : value >> 1
        }
    }

    static func of(_ bytes: RawSpan) -> UInt64 {
        var value = UInt64.max
        for index in 0..<bytes.byteCount {
            value = table[Int(UInt8(truncatingIfNeeded: value) ^ bytes[index])] ^ value >> 8
        }
        return ~value
    }

    /// The checksum of up to sixteen pieces, evenly spread, of the data section that begins at `offset`.
    static func ofSamples(
        of source: some ByteSource, from offset: UInt64, byteCount: UInt64
    ) throws(IOError) -> UInt64 {
        let piece = min(byteCount, 4096)
        guard piece > 0 else { return 0 }
        var samples: [UInt8] = []
        for number in 0..<16 as Range<UInt64> {
            let place = (byteCount - piece) / 15 * number
            samples += try source.bytes(at: offset + place, count: Int(piece))
        }
        return of(samples.span.bytesView)
    }
}
