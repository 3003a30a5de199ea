import ArchiveTestSupport
import CheckpointFormats
import Checkpoints
import TensorCore
import Testing

/// Archives that show different things to different readers, or claim what they do not hold.
@Suite struct HostileArchiveTests {
    /// The error of a good archive after a change to it.
    static func refusal(_ change: (inout ZipBuilder) -> Void) -> CheckpointError? {
        var pickle = PickleAssembler(protocol: 2)
        pickle.emptyDictionary()
        pickle.text("w")
        pickle.tensor("0", count: 4, shape: [4], strides: [1])
        pickle.op(0x73)
        var builder = ZipBuilder([
            .init("archive/data.pkl", pickle.finished),
            .init("archive/data/0", [UInt8](repeating: 0, count: 16)),
            .init("archive/version", Array("3\n".utf8)),
        ])
        change(&builder)
        do throws(CheckpointError) {
            _ = try FormatRegistry.open(builder.bytes(), name: "model.pt")
            return nil
        } catch { return error }
    }

    static let changes:
        [(code: String, kind: CheckpointError.Class, change: @Sendable (inout ZipBuilder) -> Void)] =
            [
                ("encrypted-entry", .unsupported, { $0.members[1].flags = 1 }),
                ("encrypted-entry", .unsupported, { $0.members[1].flags = 1 << 5 }),
                ("encrypted-entry", .unsupported, { $0.members[1].flags = 1 << 6 }),
                ("encrypted-entry", .unsupported, { $0.members[1].flags = 1 << 13 }),
                ("local/central-mismatch", .unsafe, { $0.members[1].localFlags = 1 }),
                ("local/central-mismatch", .unsafe, { $0.members[1].localMethod = 8 }),
                (
                    "local/central-mismatch", .unsafe,
                    { $0.members[1].localName = Array("archive/data/1".utf8) }
                ),
                ("local/central-mismatch", .unsafe, { $0.members[1].localByteCount = 12 }),
                ("local/central-mismatch", .unsafe, { $0.members[1].localCRC = 7 }),
                ("compression-method", .unsupported, { $0.members[1].method = 12 }),
                ("entry-sizes", .malformed, { $0.members[1].byteCount = 12 }),
                ("duplicate-entry", .malformed, { $0.members[1].name = Array("archive/DATA.PKL".utf8) }),
                ("local/central-mismatch", .unsafe, { $0.members[1].headerOffset = 0 }),
                ("entry-name", .unsafe, { $0.members[1].name = Array("archive/data/0\u{0}".utf8) }),
                ("path-escape", .unsafe, { $0.members[1].name = Array("archive/../../etc/x".utf8) }),
                ("path-escape", .unsafe, { $0.members[1].name = Array("/archive/data/0".utf8) }),
                ("several-folders", .malformed, { $0.members[1].name = Array("other/data/0".utf8) }),
                ("crc-mismatch", .malformed, { $0.members[0].crc = 1 }),
                ("storage-missing", .malformed, { $0.members[1].name = Array("archive/data/00".utf8) }),
                ("storage-size-mismatch", .malformed, { $0.members[1].data.removeLast() }),
                ("not-pytorch", .unsupported, { $0.members[0].name = Array("archive/data.pk".utf8) }),
                ("archive-version", .unsupported, { $0.members[2].data = Array("11\n".utf8) }),
                ("multi-disk", .unsupported, { $0.disk = 1 }),
                ("central-directory", .malformed, { $0.entryCount = 2 }),
                ("no-central-directory", .malformed, { $0.gap = [0] }),
            ]

    @Test(arguments: changes.indices)
    func `a trick with the archive is refused by its code and member`(index: Int) throws {
        let (code, kind, change) = Self.changes[index]
        let error = try #require(Self.refusal(change), "\(code)")
        #expect(error.code == code && error.class == kind, "\(error)")
        let isAboutAll = [
            "not-pytorch", "archive-version", "multi-disk", "central-directory", "no-central-directory",
        ]
        #expect(isAboutAll.contains(code) || error.member != nil || error.tensor != nil, "\(error)")
    }

    @Test func `the archive without a trick is read`() {
        #expect(Self.refusal { _ in } == nil)
    }
}
