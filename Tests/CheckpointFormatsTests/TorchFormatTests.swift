import CheckpointFormats
import Checkpoints
import StrictJSON
import TensorCore
import Testing

/// Everything that torch and NeMo write, against what torch itself says.
@Suite struct TorchFormatTests {
    static let cases = FormatFixtures.cases(["expected-torch.json", "expected-torch-made.json"])
    static let good = cases.keys.filter { cases[$0]?["tensors"] != nil }.sorted()
    static let refused = cases.keys.filter { cases[$0]?["error"] != nil }.sorted()

    static func open(_ name: String, _ options: ReadOptions = ReadOptions()) throws(CheckpointError)
        -> Checkpoint
    {
        try FormatRegistry.open(path: FormatFixtures.path(name), options: options).checkpoint
    }

    static func options(_ name: String) -> ReadOptions {
        var options = ReadOptions()
        options.allowsOpaque = cases[name]?["opaque"]?.bool == true
        return options
    }

    @Test(arguments: good)
    func `every tensor has the name, dtype, shape and bytes that torch gives it`(name: String) throws {
        let expected = try #require(FormatFixtures.tensors(of: Self.cases[name]))
        let checkpoint = try Self.open(name, Self.options(name))
        for piece in [1 << 20, 40] {
            #expect(try FormatFixtures.tensors(of: checkpoint, piece: piece) == expected, "by \(piece)")
        }
        if let root = Self.cases[name]?["subtree"]?.string { #expect(checkpoint.root == root) }
        if let values = Self.cases[name]?["values"] {
            #expect(JSONValue.object(checkpoint.values).text == values.text)
        }
        if let count = Self.cases[name]?["skipped_tensors"]?.text {
            #expect(
                "\(checkpoint.skipped.reduce(0) { $0 + $1.tensorCount })" == count, "\(checkpoint.skipped)")
        }
        if let files = Self.cases[name]?["embedded"]?.elements?.map(\.string) {
            #expect(checkpoint.embedded.map(\.file.name) == files)
        }
    }

    @Test(arguments: refused)
    func `what cannot be read is refused by its code`(name: String) throws {
        let expected = try #require(Self.cases[name])
        let error = try #require(throws: CheckpointError.self) { try Self.open(name) }
        #expect(error.code == expected["error"]?.string, "\(error)")
        let kind = expected["class"]?.string ?? "unsafe"
        #expect(error.class.rawValue == kind)
        for word in expected["names"]?.elements ?? [] { #expect(error.message.contains(word.string ?? "?")) }
    }

    @Test func `settings without weights become values, and the enumerations in them their values`() throws {
        let checkpoint = try Self.open("pt/training_args.bin")
        let expected = try #require(Self.cases["pt/training_args.bin"]?["config"]?.members)
        let values = JSONValue.object(checkpoint.values)
        for member in expected { #expect(values[member.key]?.text == member.value.text) }
        #expect(checkpoint.tensors.isEmpty)
        #expect(checkpoint.skipped.first?.name == "transformers.training_args.TrainingArguments")
    }

    @Test func `the files in a NeMo archive can be read`() throws {
        for name in ["nemo/plain.nemo", "nemo/gzip.nemo"] {
            let checkpoint = try Self.open(name)
            #expect(checkpoint.format == "nemo")
            let config = try #require(checkpoint.embedded.first)
            #expect(try config.source.bytes(at: 0, count: 10) == Array("target: x\n".utf8))
            #expect(checkpoint.skipped.contains { $0.name == "notes.bin" })
        }
    }

    @Test func `stored weights in a NeMo archive are ranges of the file, with their checksums`() throws {
        let checkpoint = try Self.open("nemo/plain.nemo")
        let file = try #require(checkpoint.files.first)
        #expect(checkpoint.tensors.allSatisfy { $0.source.extent?.source.name == file.source.name })
        #expect(file.checksums.count == 2)
    }

    @Test func `tensors that merely have the same shape are not tied`() throws {
        for name in ["pt/arrays_p2.pt", "pt/devices.pt", "pt/deflated_storages.pt", "pt/complex32.pt"] {
            #expect(try Self.open(name).tiedGroups.isEmpty, "\(name)")
        }
        var pickle = PickleAssembler()
        pickle.emptyDictionary()
        let storage = try NestedStorages.archive()
        for name in ["a", "b"] {
            pickle.text(name)
            pickle.global("torch._utils", "_rebuild_tensor_v2")
            pickle.mark()
            pickle.global("torch.storage", "_load_from_bytes")
            pickle.mark()
            pickle.data(storage)
            pickle.tuple()
            pickle.reduce()
            pickle.integer(0)
            pickle.integers([2])
            pickle.integers([1])
            pickle.op(0x89)
            pickle.emptyDictionary()
            pickle.tuple()
            pickle.reduce()
            pickle.op(0x73)
        }
        let file = HostilePickleTests.archive(pickle.finished)
        let checkpoint = try FormatRegistry.open(file, name: "a.pt")
        #expect(checkpoint.tensors.count == 2 && checkpoint.tiedGroups.isEmpty)
    }

    @Test func `unsupported tensors are left out and listed where the caller wants that`() throws {
        var options = ReadOptions()
        options.skipsUnsupported = true
        for (name, kept, left) in [("bad/complex128.pt", "w", "z"), ("bad/dtensor_part.pt", "v", "w")] {
            let checkpoint = try Self.open(name, options)
            #expect(checkpoint.tensors.map(\.name.string) == [kept])
            #expect(checkpoint.skipped.contains { $0.name == left && $0.tensorCount == 1 })
        }
    }

    @Test func `a module that holds another file's names is read whole, without looking for a root`() throws {
        var options = ReadOptions()
        options.allowsOpaque = true
        let checkpoint = try Self.open("pt/whole_module.pt", options)
        #expect(checkpoint.root == nil)
        #expect(checkpoint.skipped.contains { $0.reason.contains("state dict leaves out") })
        #expect(checkpoint.skipped.contains { $0.reason.contains("attributes of a module") })
        let error = try #require(throws: CheckpointError.self) { try Self.open("pt/whole_module.pt") }
        #expect(error.message.contains("--allow-opaque"))
        #expect(error.global == "__main__.Unknown")
    }

    @Test func `a deflated storage that was changed is noticed when it is read to its end`() throws {
        var bytes = try FormatFixtures.bytes("pt/deflated_storages.pt")
        let checkpoint = try FormatRegistry.open(bytes, name: "a.pt")
        let member = try #require(checkpoint.files.first?.members.first)
        #expect(member.checksums.count == 1)
        // Somewhere in the middle of the largest member, which is the first.
        bytes[6000] ^= 1
        let changed = try FormatRegistry.open(bytes, name: "a.pt")
        #expect(throws: IOError.self) {
            for tensor in changed.tensors { _ = try tensor.source.contents(width: 4) }
        }
    }

    @Test(arguments: (good + refused).filter { !$0.hasSuffix("rng_state.pth") })
    func `every truncated file is refused`(name: String) throws {
        let bytes = try FormatFixtures.bytes(name)
        for point in 0..<200 {
            let part = Array(bytes[..<(bytes.count * point / 200)])
            if let checkpoint = try? FormatRegistry.open(part, name: name, options: Self.options(name)) {
                // A tar archive may lack what is behind its last member.
                #expect(name.contains("nemo") || name.hasSuffix("oldest.pth"), "\(point)")
                _ = try? FormatFixtures.tensors(of: checkpoint)
            }
        }
    }

    @Test(arguments: good.filter { (try? FormatFixtures.bytes($0).count) ?? .max < 12_000 })
    func `a changed byte gives an error or a table that can be read`(name: String) throws {
        var random = SeededRandom(seed: 11)
        var bytes = try FormatFixtures.bytes(name)
        for index in bytes.indices where bytes[index] != 0x5A && (index < 2048 || index % 5 == 0) {
            let change = UInt8.random(in: 1...255, using: &random)
            bytes[index] ^= change
            if let checkpoint = try? FormatRegistry.open(bytes, name: name, options: Self.options(name)) {
                for tensor in checkpoint.tensors where tensor.byteCount < 1 << 16 {
                    _ = try? tensor.source.contents(width: tensor.dtype.byteWidth ?? 1)
                }
            }
            bytes[index] ^= change
        }
    }
}
