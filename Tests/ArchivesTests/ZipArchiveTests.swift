import ArchiveTestSupport
import Archives
import TensorCore
import Testing

@Suite struct ZipArchiveTests {
    typealias Member = ZipBuilder.Member

    static func open(_ bytes: [UInt8]) throws(ArchiveError) -> ZipArchive {
        try ZipArchive(reading: MemorySource(name: "memory", contents: bytes))
    }

    /// The error of an archive of two members after a change.
    static func refusal(_ change: (inout ZipBuilder) -> Void) -> String? {
        var builder = ZipBuilder([Member("a/one", [1, 2, 3]), Member("a/two", Array("hello".utf8))])
        change(&builder)
        do throws(ArchiveError) {
            _ = try open(builder.bytes())
            return nil
        } catch { return error.code }
    }

    @Test func `members are found with the place of their data`() throws {
        let bytes = ZipBuilder([Member("a/one", [1, 2, 3]), Member("a/two", Array("hello".utf8))]).bytes()
        let archive = try Self.open(bytes)
        #expect(archive.entries.map(\.text) == ["a/one", "a/two"])
        let two = try #require(archive.entry(named: "a/two"))
        #expect(
            bytes[Int(two.dataRange.lowerBound)..<Int(two.dataRange.upperBound)].elementsEqual("hello".utf8))
        #expect(archive.entry(named: "A/TWO") == nil)
        #expect(try archive.contents(of: two, limit: 5) == Array("hello".utf8))
    }

    @Test func `an archive without members is read`() throws {
        #expect(try Self.open(ZipBuilder([]).bytes()).entries.isEmpty)
    }

    @Test func `zip64 records, comments and bytes after the end are read through`() throws {
        #expect(Self.refusal { $0.hasZip64End = true } == nil)
        #expect(Self.refusal { $0.members[1].isZip64 = true } == nil)
        #expect(Self.refusal { $0.comment = Array(repeating: 0x20, count: 65_535) } == nil)
        #expect(Self.refusal { $0.trailing = Array(repeating: 0, count: 60_000) } == nil)
    }

    @Test func `a part of a source is an archive of its own`() throws {
        let first = ZipBuilder([Member("x", [1])]).bytes()
        let second = ZipBuilder([Member("y", [2, 3])]).bytes()
        let source = MemorySource(name: "memory", contents: first + second)
        let archive = try ZipArchive(
            reading: source, range: UInt64(first.count)..<UInt64(first.count + second.count))
        let entry = try #require(archive.entries.first)
        #expect(try archive.contents(of: entry, limit: 10) == [2, 3])
        #expect(entry.dataOffset > UInt64(first.count))
        let front = try ZipArchive(reading: source, range: 0..<UInt64(first.count))
        #expect(front.entries.map(\.text) == ["x"])
    }

    @Test func `headers that disagree are refused`() {
        let code = "local/central-mismatch"
        #expect(Self.refusal { $0.members[0].localName = Array("a/0ne".utf8) } == code)
        #expect(Self.refusal { $0.members[0].localName = Array("a/one1".utf8) } == code)
        #expect(Self.refusal { $0.members[0].localFlags = 8 } == code)
        #expect(Self.refusal { $0.members[0].localMethod = 8 } == code)
        #expect(Self.refusal { $0.members[0].localByteCount = 2 } == code)
        #expect(Self.refusal { $0.members[0].localCRC = 77 } == code)
        #expect(Self.refusal { $0.members[0].localByteCount = 0 } == nil)
    }

    @Test func `names that readers take for one another are refused`() {
        #expect(Self.refusal { $0.members[1].name = Array("A/ONE".utf8) } == "duplicate-entry")
        #expect(Self.refusal { $0.members[1].name = Array("a/one".utf8) } == "duplicate-entry")
        #expect(Self.refusal { $0.members[1].name = [0x61, 0, 0x62] } == "entry-name")
        #expect(Self.refusal { $0.members[1].name = [] } == "entry-name")
    }

    @Test func `members that share bytes are refused`() {
        #expect(Self.refusal { $0.members[1].headerOffset = 0 } == "local/central-mismatch")
        // A member within the data of another.
        let inner = ZipBuilder([Member("a/two", [9])]).bytes()
        #expect(
            Self.refusal {
                $0.members[0].data = inner
                $0.members[1].data = [9]
                $0.members[1].headerOffset = 35
            } == "overlapping-entries")
        #expect(
            Self.refusal {
                $0.members[1].data = []; $0.members[1].byteCount = 40; $0.members[1].method = 8
            } == nil)
    }

    @Test func `members beyond the archive are refused`() {
        #expect(Self.refusal { $0.members[1].headerOffset = 0xFFFF_FF00 } == "entry-out-of-bounds")
        #expect(Self.refusal { $0.members[1].headerOffset = 3 } == "local-header")
        #expect(Self.refusal { $0.members[1].byteCount = 9 } == "entry-sizes")
    }

    @Test func `encrypted, split and strangely compressed archives are refused`() {
        #expect(Self.refusal { $0.members[0].flags = 1 } == "encrypted-entry")
        #expect(Self.refusal { $0.members[0].flags = 0x40 } == "encrypted-entry")
        #expect(Self.refusal { $0.members[0].method = 12 } == "compression-method")
        #expect(Self.refusal { $0.disk = 1 } == "multi-disk")
    }

    @Test func `a directory that is not where it should be is refused`() {
        #expect(Self.refusal { $0.gap = [0] } == "no-central-directory")
        #expect(Self.refusal { $0.entryCount = 1 } == "central-directory")
        #expect(Self.refusal { $0.entryCount = 3 } == "central-directory")
        #expect(Self.refusal { $0.trailing = Array(repeating: 0, count: 70_000) } == "no-central-directory")
        #expect(Self.refusal { $0.comment = [0x50, 0x4B, 5, 6] + Array(repeating: 7, count: 18) } != nil)
    }

    @Test func `more members than the limit are refused`() throws {
        var limits = ZipLimits()
        limits.memberCount = 1
        let source = MemorySource(
            name: "memory", contents: ZipBuilder([Member("x", []), Member("y", [])]).bytes())
        let error = try #require(throws: ArchiveError.self) {
            try ZipArchive(reading: source, limits: limits)
        }
        #expect(error.code == "member-limit")
    }

    @Test func `a wrong checksum is noticed when the data is read`() throws {
        var member = Member("x", Array("123456789".utf8))
        member.crc = 0xCBF4_3926
        let right = try Self.open(ZipBuilder([member]).bytes())
        #expect(try right.contents(of: right.entries[0], limit: 9).count == 9)
        member.crc += 1
        let wrong = try Self.open(ZipBuilder([member]).bytes())
        let error = try #require(throws: ArchiveError.self) {
            try wrong.contents(of: wrong.entries[0], limit: 9)
        }
        #expect(error.code == "crc-mismatch")
    }

    @Test func `the checksum continues from a seed`() {
        func sum(_ bytes: [UInt8], seed: UInt32 = 0) -> UInt32 { crc32(bytes.span.bytesView, seed: seed) }
        let bytes = Array("123456789".utf8)
        #expect(sum(bytes) == 0xCBF4_3926)
        #expect(sum(Array(bytes[4...]), seed: sum(Array(bytes[..<4]))) == 0xCBF4_3926)
        #expect(sum([], seed: 5) == 5)
    }
}

@Suite struct LargeArchiveTests {
    @Test func `members beyond four gibibytes of a sparse file are found`() throws {
        let directory = "/tmp/zip64-\(UInt64.random(in: 0 ... .max))"
        try FileSystem.createDirectory(directory)
        defer { try? FileSystem.removeTree(directory) }
        let path = directory + "/large.zip"
        let far: UInt64 = (4 << 30) + 96
        var big = ZipBuilder.Member("a/big", [])
        big.flags = 8
        var late = ZipBuilder.Member("a/late", Array("late".utf8))
        late.flags = 8
        late.isZip64 = true
        var builder = ZipBuilder([big, late])
        builder.hasZip64End = true
        builder.hole = (after: 0, byteCount: far)
        let file = try OutputFile(creating: path)
        for piece in builder.pieces() { try file.write(piece.bytes.span.bytesView, at: piece.offset) }
        let archive = try ZipArchive(reading: InputFile(path: path))
        let entry = try #require(archive.entry(named: "a/late"))
        #expect(entry.dataOffset > far)
        #expect(try archive.contents(of: entry, limit: 4) == Array("late".utf8))
        let hole = try #require(archive.entry(named: "a/big"))
        #expect(hole.byteCount == far)
        let refused = try #require(throws: ArchiveError.self) { try archive.contents(of: hole, limit: .max) }
        #expect(refused.code == "member-too-large")
    }
}

@Suite struct DeflatedMemberTests {
    /// `0` sixteen times, as zlib writes it.
    static let zeros: [UInt8] = [0x33, 0x30, 0x40, 0x05, 0x00]

    static func contents(_ data: [UInt8], claiming count: UInt32, limit: Int = 1 << 20) -> Result<
        Int, ArchiveError
    > {
        var member = ZipBuilder.Member("x", data)
        member.method = 8
        member.byteCount = count
        return Result { () throws(ArchiveError) in
            let archive = try ZipArchiveTests.open(ZipBuilder([member]).bytes())
            return try archive.contents(of: archive.entries[0], limit: limit).count
        }
    }

    @Test func `data of the stated size is expanded`() throws {
        #expect(try Self.contents(Self.zeros, claiming: 16).get() == 16)
    }

    static let wrong: [(data: [UInt8], count: UInt32)] = [
        (zeros, 15), (zeros, 17), (Array(zeros.dropLast()), 16), (zeros + [0], 16), ([0xFF, 0xFF], 4),
        ([], 4),
    ]

    @Test(arguments: wrong)
    func `data of another size is refused`(data: [UInt8], count: UInt32) throws {
        let error = try #require(throws: ArchiveError.self) { try Self.contents(data, claiming: count).get() }
        #expect(error.code == "deflate-corrupt")
    }

    @Test func `data that claims to be huge is refused before it is expanded`() throws {
        let ratio = try #require(throws: ArchiveError.self) {
            try Self.contents(Self.zeros, claiming: 1 << 29, limit: 1 << 30).get()
        }
        #expect(ratio.code == "inflation-limit")
        let limit = try #require(throws: ArchiveError.self) {
            try Self.contents(Self.zeros, claiming: 1 << 29).get()
        }
        #expect(limit.code == "member-too-large")
    }
}
