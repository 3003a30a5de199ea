import CheckpointFormats
import Checkpoints
import TensorCore
import Testing

@Suite struct PyTorchFixtureTests {
    static let good = Fixtures.names.filter { Fixtures.cases[$0]?.tensors != nil }
    static let refused = Fixtures.names.filter { Fixtures.cases[$0]?.error != nil }

    @Test func `the digest of abc is the published one`() {
        var hash = SHA256()
        hash.update("abc".utf8)
        #expect(hash.finish() == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
    }

    @Test(arguments: good)
    func `every tensor has the name, dtype, shape and bytes that PyTorch gives it`(name: String) throws {
        let expected = try #require(Fixtures.cases[name]?.tensors)
        let checkpoint = try PyTorchReader.readFile(path: Fixtures.path(name))
        #expect(Set(checkpoint.tensors.map(\.name.string)) == Set(expected.keys))
        for tensor in checkpoint.tensors {
            let want = try #require(expected[tensor.name.string])
            #expect(tensor.dtype.name == want.dtype)
            #expect(tensor.shape == want.shape)
            #expect(tensor.byteCount == want.nbytes)
            #expect(tensor.dtype.byteCount(of: tensor.shape) == want.nbytes)
            for piece in [1, 7, 20, 1 << 20] {
                #expect(try tensor.digest(piece: piece) == want.sha256, "\(tensor.name) by \(piece)")
            }
        }
    }

    @Test(arguments: good)
    func `tied tensors and the chosen root are reported`(name: String) throws {
        let expected = try #require(Fixtures.cases[name])
        let checkpoint = try PyTorchReader.readFile(path: Fixtures.path(name))
        #expect(checkpoint.tiedGroups.map { $0.map(\.string) } == expected.tied ?? [])
        #expect(checkpoint.root == expected.subtree)
        if let count = expected.skippedTensors {
            #expect(checkpoint.skipped.reduce(0) { $0 + $1.tensorCount } == count, "\(checkpoint.skipped)")
        }
    }

    @Test(arguments: refused)
    func `a damaged or hostile file is refused with its code`(name: String) throws {
        let expected = try #require(Fixtures.cases[name])
        let error = try #require(throws: CheckpointError.self) {
            try PyTorchReader.readFile(path: Fixtures.path(name))
        }
        #expect(expected.error?.hasPrefix(error.code) == true, "\(error)")
        let kind = expected.class ?? (name.hasPrefix("mal/") ? "unsafe" : "malformed")
        #expect(error.class.rawValue == kind)
    }
}
