import ArchiveTestSupport
import Archives
import TensorCore
import Testing

@Suite struct TarArchiveTests {
    typealias Member = TarBuilder.Member

    static func open(_ bytes: [UInt8], limits: TarLimits = TarLimits()) throws(ArchiveError) -> TarArchive {
        try TarArchive(reading: MemorySource(name: "memory", contents: bytes), limits: limits)
    }

    static func refusal(_ members: [Member]) -> String? {
        do throws(ArchiveError) {
            _ = try open(TarBuilder(members).bytes())
            return nil
        } catch { return error.code }
    }

    static func pax(_ key: String, _ value: String) -> [UInt8] {
        let body = " \(key)=\(value)\n"
        let count = body.utf8.count + (body.utf8.count > 96 ? 3 : 2)
        return Array("\(count)\(body)".utf8)
    }

    @Test func `members are found with the place of their data`() throws {
        var prefixed = Member("deep", [7])
        prefixed.prefix = "a/b"
        let archive = try Self.open(
            TarBuilder([Member("./one", [1, 2, 3]), Member("dir/", [], kind: "5"), prefixed]).bytes())
        #expect(archive.entries.map(\.text) == ["one", "a/b/deep"])
        #expect(archive.entries.map(\.dataOffset) == [512, 2048])
        #expect(try archive.contents(of: archive.entries[0], limit: 3) == [1, 2, 3])
        #expect(
            try #require(throws: ArchiveError.self) {
                try archive.contents(of: archive.entries[0], limit: 2)
            }.code == "member-too-large")
    }

    @Test func `long names of GNU and records of pax count`() throws {
        let long = String(repeating: "n", count: 300)
        let archive = try Self.open(
            TarBuilder([
                Member("././@LongLink", Array(long.utf8) + [0], kind: "L"), Member("short", [1]),
                Member("x", Self.pax("path", "a/named"), kind: "x"), Member("y", [2]),
                Member("g", Self.pax("comment", "c"), kind: "g"), Member("z", [3]),
            ]).bytes())
        #expect(archive.entries.map(\.text) == [long, "a/named", "z"])
    }

    @Test func `a size from a record or in bytes counts, and a last member may lack its padding`() throws {
        var sized = Member("big", [UInt8](repeating: 9, count: 600))
        sized.byteCount = 0
        let archive = try Self.open(
            TarBuilder([Member("x", Self.pax("size", "600"), kind: "x"), sized, Member("next", [1])]).bytes())
        #expect(archive.entries.map(\.byteCount) == [600, 1])
        var binary = Member("b", [1, 2])
        binary.hasBinarySize = true
        let bytes = TarBuilder([binary]).bytes()
        #expect(try Self.open(Array(bytes[..<514])).entries.map(\.byteCount) == [2])
    }

    @Test(
        arguments: [
            ("/etc/passwd", "0", "path-escape"), ("../x", "0", "path-escape"),
            ("a/../../x", "0", "path-escape"),
            ("a\\b", "0", "path-escape"), ("a\u{1}", "0", "path-escape"), ("./", "0", nil),
            (".", "0", "path-escape"),
            ("l", "1", "tar-link"), ("l", "2", "tar-link"), ("d", "3", "tar-device"),
            ("d", "4", "tar-device"),
            ("p", "6", "tar-device"), ("s", "S", "tar-sparse"), ("q", "Q", "tar-kind"),
        ] as [(String, Character, String?)])
    func `what is no plain file inside the archive is refused`(
        name: String, kind: Character, code: String?
    ) {
        #expect(Self.refusal([Member("ok", [1]), Member(name, [], kind: kind)]) == code)
    }

    @Test func `names that readers take for the same are refused`() {
        #expect(Self.refusal([Member("a", []), Member("a", [])]) == "duplicate-entry")
        #expect(Self.refusal([Member("a/B", []), Member("./A/b", [])]) == "duplicate-entry")
    }

    @Test func `damage is refused`() {
        var wrong = Member("a", [1])
        wrong.isChecksumWrong = true
        #expect(Self.refusal([wrong]) == "tar-header")
        var large = Member("a", [1])
        large.byteCount = 1 << 30
        #expect(Self.refusal([large]) == "truncated")
        large.hasBinarySize = true
        large.byteCount = .max
        #expect(Self.refusal([large]) == "truncated")
        #expect(Self.refusal([Member("x", Array("9999 path=a\n".utf8), kind: "x")]) == "pax-record")
        #expect(Self.refusal([Member("x", Array("1 =".utf8), kind: "x")]) == "pax-record")
        #expect(
            Self.refusal([Member("x", Self.pax("size", "-1"), kind: "x"), Member("a", [])]) == "pax-record")
        #expect(Self.refusal([Member("g", Self.pax("path", "a"), kind: "g")]) == "pax-record")
        #expect(
            Self.refusal([Member("x", Self.pax("GNU.sparse.major", "1"), kind: "x"), Member("a", [])])
                == "tar-sparse")
        #expect(
            Self.refusal([Member("L", [UInt8](repeating: 65, count: 2 << 20), kind: "L")]) == "tar-record")
        #expect(Self.refusal([]) == "not-tar")
        var limits = TarLimits()
        limits.headerCount = 1
        let two = TarBuilder([Member("a", []), Member("b", [])]).bytes()
        #expect(throws: ArchiveError.self) { try Self.open(two, limits: limits) }
    }

    @Test(arguments: 0..<512)
    func `any byte of a header may be any other without a trap`(place: Int) {
        for value: UInt8 in [0, 0x2F, 0x38, 0x7F, 0x80, 0x81, 0xFF] {
            var bytes = TarBuilder([Member("a", [1, 2])]).bytes()
            bytes[place] = value
            _ = try? Self.open(bytes)
        }
    }

    @Test func `what is cut off gives an error or fewer members, never a trap`() {
        let bytes = TarBuilder([
            Member("x", Self.pax("path", "a/named"), kind: "x"), Member("y", [2]), Member("z", [3]),
        ]).bytes()
        for count in stride(from: 0, to: bytes.count, by: 7) { _ = try? Self.open(Array(bytes[..<count])) }
    }
}
