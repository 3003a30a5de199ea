/// Writes small tar archives for tests, right or wrong in chosen ways.
package struct TarBuilder {
    /// A header and what follows it.
    package struct Member {
        package var name: [UInt8]
        package var data: [UInt8]
        package var kind: UInt8 = 0x30
        package var prefix = ""
        /// The size that the header states, where it is not that of the data.
        package var byteCount: UInt64?
        /// Whether the size is written in bytes rather than digits.
        package var hasBinarySize = false
        package var isChecksumWrong = false
        package var magic: [UInt8] = Array("ustar\u{0}00".utf8)

        package init(_ name: String, _ data: [UInt8], kind: Character = "0") {
            self.name = Array(name.utf8)
            self.data = data
            self.kind = kind.asciiValue ?? 0
        }
    }

    package var members: [Member]
    /// Blocks of zeros at the end.
    package var endBlocks = 2

    package init(_ members: [Member]) { self.members = members }

    /// The archive.
    package func bytes() -> [UInt8] {
        var result: [UInt8] = []
        for member in members {
            result += header(member) + member.data
            result += [UInt8](repeating: 0, count: (512 - member.data.count % 512) % 512)
        }
        return result + [UInt8](repeating: 0, count: endBlocks * 512)
    }

    private func header(_ member: Member) -> [UInt8] {
        var block = [UInt8](repeating: 0, count: 512)
        func put(_ bytes: some Sequence<UInt8>, at offset: Int) {
            for (index, byte) in bytes.enumerated() { block[offset + index] = byte }
        }
        put(member.name.prefix(100), at: 0)
        let size = member.byteCount ?? UInt64(member.data.count)
        if member.hasBinarySize {
            put(
                [0x80, 0, 0, 0] + (0..<8).reversed().map { UInt8(truncatingIfNeeded: size >> ($0 * 8)) },
                at: 124)
        } else {
            let digits = String(size, radix: 8)
            put((String(repeating: "0", count: max(0, 11 - digits.utf8.count)) + digits).utf8, at: 124)
        }
        block[156] = member.kind
        put(member.magic, at: 257)
        put(member.prefix.utf8, at: 345)
        let sum = block.reduce(8 * 0x20) { $0 + Int($1) } + (member.isChecksumWrong ? 1 : 0)
        let digits = String(sum, radix: 8)
        put((String(repeating: "0", count: 6 - digits.utf8.count) + digits + "\u{0} ").utf8, at: 148)
        return block
    }
}
