import ArchiveTestSupport
import CheckpointFormats
import Checkpoints
import TensorCore
import Testing

/// The oldest files of PyTorch, damaged and hostile.
@Suite struct TarCheckpointTests {
    static let payload: [UInt8] = {
        var pickle = PickleAssembler(protocol: 2)
        pickle.call("posix", "system", "true")
        return pickle.finished
    }()

    static func number(_ value: Int64) -> [UInt8] {
        var pickle = PickleAssembler(protocol: 2)
        pickle.integer(value)
        return pickle.finished
    }

    /// An archive of nothing, but for the members that are given.
    static func open(_ members: [String: [UInt8]]) throws(CheckpointError) -> Checkpoint {
        let all: [(String, [UInt8])] = [
            ("sys_info", [0x4E, 0x2E]), ("pickle", [0x7D, 0x2E]), ("tensors", number(0)),
            ("storages", number(0) + [0x5D, 0x2E]),
        ]
        let archive = TarBuilder(all.map { .init($0.0, members[$0.0] ?? $0.1) })
        return try FormatRegistry.open(archive.bytes(), name: "model.pth")
    }

    @Test func `a payload in any member is found`() throws {
        #expect(try Self.open([:]).tensors.isEmpty)
        for name in ["sys_info", "pickle", "tensors", "storages"] {
            let error = try #require(throws: CheckpointError.self) { try Self.open([name: Self.payload]) }
            #expect(error.global == "posix.system" && error.class == .unsafe, "\(name)")
            #expect(error.member == name)
        }
    }

    @Test func `claims that the members do not hold are refused`() throws {
        var reference = PickleAssembler(protocol: 2)
        reference.integer(7)
        reference.op(0x51)
        for members in [
            ["pickle": reference.finished], ["tensors": Self.number(1)], ["tensors": Self.number(1 << 40)],
            ["storages": Self.number(-1)], ["storages": Self.number(2) + [0x4E, 0x2E]], ["storages": []],
        ] as [[String: [UInt8]]] {
            let error = try #require(throws: CheckpointError.self) { try Self.open(members) }
            #expect(error.class == .malformed, "\(members): \(error)")
        }
    }

    @Test func `a tar archive of something else is called so`() throws {
        let archive = TarBuilder([.init("weights.bin", [1])]).bytes()
        let error = try #require(throws: CheckpointError.self) {
            try FormatRegistry.open(archive, name: "model.pt")
        }
        #expect(error.code == "not-pytorch" && error.class == .unsupported)
    }
}
