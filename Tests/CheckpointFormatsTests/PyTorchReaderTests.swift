import ArchiveTestSupport
import Archives
import CheckpointFormats
import Checkpoints
import TensorCore
import Testing

@Suite struct PyTorchReaderTests {
    @Test func `the root may be chosen, by keys with dots too`() throws {
        func names(_ file: String, _ root: String) throws -> [String] {
            try PyTorchReader.readFile(path: Fixtures.path(file), options: ReadOptions(root: root)).tensors
                .map(\.name.string)
        }
        #expect(try names("more/trainer.pt", "ema") == ["w"])
        #expect(try names("more/trainer.pt", "optimizer.state.0") == ["exp_avg", "exp_avg_sq"])
        #expect(try names("more/trainer.pt", "best_acc1") == ["best_acc1"])
        #expect(try names("more/ambiguous.pt", "net") == ["w"])
        #expect(try names("more/containers.pt", "od.u.v") == ["od.u.v"])
        #expect(try names("more/containers.pt", "list.1") == ["x"])
        let whole = try PyTorchReader.readFile(
            path: Fixtures.path("more/trainer.pt"), options: ReadOptions(root: ""))
        #expect(whole.tensors.count == 7)
        #expect(whole.root == nil)
        #expect(whole.skipped.allSatisfy { $0.tensorCount == 0 })
    }

    @Test func `a root that is not there is refused with those that are`() throws {
        let error = try #require(throws: CheckpointError.self) {
            try PyTorchReader.readFile(
                path: Fixtures.path("more/trainer.pt"), options: ReadOptions(root: "optimizer.stat"))
        }
        #expect(error.code == "root-missing")
        #expect(error.message.contains("optimizer.state"))
    }

    @Test func `no tensor is left out in silence, whatever the root`() throws {
        for root in [nil, "", "ema", "model", "optimizer.state", "optimizer.state.0.exp_avg", "rng_state"] {
            let table = try PyTorchReader.readFile(
                path: Fixtures.path("more/trainer.pt"), options: ReadOptions(root: root))
            let skipped = table.skipped.reduce(0) { $0 + $1.tensorCount }
            #expect(table.tensors.count + skipped == 7, "\(root ?? "nil")")
        }
    }

    @Test func `the checksums of storages are handed on, in order, and are right`() throws {
        for name in PyTorchFixtureTests.good where !name.contains("nocrc") && !name.contains("legacy") {
            let bytes = try Fixtures.bytes(name)
            let file = try #require(try Fixtures.read(bytes).files.first)
            #expect(
                name.contains("protocol0") || name.contains("empty") || !file.checksums.isEmpty
                    || !file.members.isEmpty)
            var end: UInt64 = 0
            for checksum in file.checksums {
                #expect(checksum.range.lowerBound >= end)
                end = checksum.range.upperBound
                let part = Array(bytes[Int(checksum.range.lowerBound)..<Int(end)])
                let actual = crc32(part.span.bytesView)
                #expect(actual == checksum.crc32, "\(checksum.label)")
                #expect(checksum.label.contains("/data/"))
            }
        }
    }

    @Test func `an archive without checksums is read with one warning`() throws {
        let table = try PyTorchReader.readFile(path: Fixtures.path("pt/nocrc.pt"))
        #expect(table.warnings.map(\.code) == ["crc-absent"])
        #expect(table.files[0].checksums.isEmpty)
        #expect(try PyTorchReader.readFile(path: Fixtures.path("pt/dtypes_v2.pt")).warnings.isEmpty)
    }

    @Test func `bytes after the pickle are searched for what they ask for`() throws {
        func read(_ tail: String) throws -> Checkpoint {
            let pickle = Array("}.".utf8) + Array(tail.utf8)
            return try Fixtures.read(ZipBuilder([.init("a/data.pkl", pickle)]).bytes())
        }
        #expect(try read("").warnings.map(\.code) == ["crc-absent"])
        #expect(try read("xyz").warnings.map(\.code) == ["bytes-after-pickle", "crc-absent"])
        let error = try #require(throws: CheckpointError.self) { try read("N.cos\nsystem\n.") }
        #expect(error.global == "os.system")
    }

    @Test(arguments: [
        ("version https://git-lfs.github.com/spec/v1\n", "git lfs pull"), ("<!DOCTYPE html>", "web page"),
        ("GGUF\u{3}", "GGUF"), ("BZh9", "bzip2"), ("{\"a\": 1}", "JSON"), ("7z", nil), ("", nil), ("PK", nil),
    ])
    func `a file of another kind is called what it is`(content: String, words: String?) throws {
        let error = try #require(throws: CheckpointError.self) { try Fixtures.read(Array(content.utf8)) }
        #expect(error.code == "not-pytorch")
        if let words { #expect(error.message.contains(words)) }
    }

    @Test func `other zip archives and plain pickles are told apart`() throws {
        func code(_ bytes: [UInt8]) -> String? {
            do throws(CheckpointError) {
                _ = try Fixtures.read(bytes)
                return nil
            } catch { return error.code }
        }
        #expect(code(ZipBuilder([.init("word/document.xml", [1])]).bytes()) == "not-pytorch")
        #expect(
            code(ZipBuilder([.init("a/data.pkl", [0x4E, 0x2E]), .init("b/x", [])]).bytes())
                == "several-folders")
        #expect(code([0x80, 2, 0x4E, 0x2E]) == "bare-pickle")
        #expect(code([0x80, 2] + Array("cos\nsystem\n.".utf8)) == "refused-global")
    }

    @Test func `files are recognised by content, and by name where that says nothing`() throws {
        for name in Fixtures.names where name.hasPrefix("pt/") {
            #expect(
                PyTorchReader.recognizes(firstBytes: Array(try Fixtures.bytes(name).prefix(512)), path: "x"))
        }
        #expect(PyTorchReader.recognizes(firstBytes: [], path: "dir/pytorch_model.bin"))
        #expect(!PyTorchReader.recognizes(firstBytes: Array("GGUF".utf8), path: "model.gguf"))
        #expect(
            !PyTorchReader.recognizes(firstBytes: ZipBuilder([.init("a.npy", [1])]).bytes(), path: "a.npz"))
    }

    @Test func `a file that is not there is an input error`() throws {
        let error = try #require(throws: CheckpointError.self) {
            try PyTorchReader.readFile(path: Fixtures.path("pt/none.pt"))
        }
        #expect(error.class == .io)
    }
}
