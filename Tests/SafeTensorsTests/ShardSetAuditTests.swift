import Glibc
import SafeTensors
import StrictJSON
import TensorCore
import Testing

/// The cases X1 to X12, each on a copy of a set that a library wrote.
@Suite struct ShardSetAuditTests {
    private let directory: TemporaryDirectory
    private let indexName = "model.safetensors.index.json"
    private let first = "model-00001-of-00003.safetensors"
    private let second = "model-00002-of-00003.safetensors"
    private let third = "model-00003-of-00003.safetensors"

    init() throws {
        directory = try TemporaryDirectory()
        try copy("hub")
    }

    private func copy(_ library: String) throws {
        let source = repositoryFile("Tests/Fixtures/shards/" + library)
        for name in try FileSystem.names(in: source) {
            try FileSystem.create(
                directory.file(name), contents: FileSystem.contents(of: source + "/" + name, limit: 1 << 20))
        }
    }

    private func audit() throws -> ShardSetAudit { try ShardSetAudit(directory: directory.path) }

    /// The findings as `severity code file tensor`.
    private func findings() throws -> [String] {
        try audit().findings.map { finding in
            "\(finding.severity.rawValue) \(finding.code.rawValue) \(finding.file)"
                + (finding.tensor.map { " \($0)" } ?? "")
        }
    }

    private func remove(_ name: String) throws { try FileSystem.removeTree(directory.file(name)) }

    private func changeIndex(_ old: String, _ new: String) throws {
        let text = String(
            decoding: try FileSystem.contents(of: directory.file(indexName), limit: 1 << 20), as: UTF8.self)
        try #require(text.contains(old))
        try remove(indexName)
        let parts = text.split(separator: old, omittingEmptySubsequences: false)
        try FileSystem.create(directory.file(indexName), contents: Array(parts.joined(separator: new).utf8))
    }

    private func write(_ name: String, _ tensors: [(name: TensorName, dtype: DType, shape: [UInt64])]) throws
    {
        let layout = try SafeTensorsLayout(tensors: tensors)
        try writeFile(directory.file(name), layout) { name in
            Array(repeating: 0, count: Int(layout.tensors.first { $0.name == name }?.byteCount ?? 0))
        }
    }

    @Test(arguments: ["hub", "transformers"])
    func `X1 a set that a library wrote has no findings`(library: String) throws {
        for name in try directory.names { try remove(name) }
        try copy(library)
        let audit = try audit()
        #expect(audit.findings.isEmpty && !audit.hasErrors)
        #expect(audit.indexes.count == 1 && audit.shards.allSatisfy { $0.header != nil })
    }

    @Test func `X2 a shard that is not there is named`() throws {
        try remove(second)
        let audit = try audit()
        #expect(audit.findings.map(\.code) == [.shardMissing] && audit.hasErrors)
        #expect(audit.findings[0].message.contains(second))
        // A link to nowhere is no file either.
        symlink("nowhere", directory.file(second))
        #expect(try findings() == ["error shardMissing \(indexName)"])
    }

    @Test func `X3 a tensor that is not in its shard is reported, with the place where it is`() throws {
        try changeIndex("\"embed\": \"\(first)\"", "\"embed\": \"\(second)\"")
        #expect(try findings() == ["error tensorMissing \(indexName) embed"])
        #expect(try audit().findings[0].message.contains("it is in \(first)"))
        try changeIndex("\"embed\": \"\(second)\"", "\"nothing\": \"\(second)\"")
        #expect(try findings().contains("error tensorMissing \(indexName) nothing"))
    }

    @Test func `X4 a tensor that the index does not list is a warning`() throws {
        try changeIndex("\"embed\": \"\(first)\",", "")
        #expect(try findings() == ["warning tensorNotIndexed \(indexName) embed"])
    }

    @Test func `X5 a tensor in two shards is an error`() throws {
        try write(second, [("layer.10.weight", .f16, [16, 8]), ("norm", .f16, [16])])
        #expect(try findings().contains("error duplicateAcrossShards \(second) norm"))
        // Also without an index, by the numbers.
        try remove(indexName)
        #expect(try findings().contains("error duplicateAcrossShards \(second) norm"))
    }

    @Test func `X6 a wrong total size is a warning with the true one`() throws {
        try changeIndex("\"total_size\": 806", "\"total_size\": 807")
        #expect(try findings() == ["warning totalSizeMismatch \(indexName)"])
        #expect(try audit().findings[0].message.contains("806"))
        try changeIndex("\"total_size\": 807", "\"total_size\": 806.0")
        #expect(try findings().isEmpty)
        try changeIndex("\"total_size\": 806.0", "\"total_size\": \"806\"")
        #expect(try findings() == ["warning totalSizeMismatch \(indexName)"])
    }

    @Test(arguments: ["../x.safetensors", "/abs/x.safetensors", #"C:\\x.safetensors"#])
    func `X7 a path that leaves the directory is an error for its tensor`(path: String) throws {
        try changeIndex("\"embed\": \"\(first)\"", "\"embed\": \"\(path)\"")
        #expect(try findings().contains("error unsafePath \(indexName) embed"))
    }

    @Test func `X8 an index without metadata is a warning`() throws {
        let index = try ShardIndex(
            parsing: FileSystem.contents(of: directory.file(indexName), limit: 1 << 20))
        try remove(indexName)
        let map = index.entries.map { "\"\($0.tensor.string)\":\"\($0.file)\"" }.joined(separator: ",")
        try FileSystem.create(
            directory.file(indexName), contents: Array("{\"weight_map\":{\(map)}}".utf8))
        #expect(try findings() == ["warning indexWithoutMetadata \(indexName)"])
    }

    @Test(arguments: [
        "[]", "{}", "{\"weight_map\": []}", "{", "{\"weight_map\": {\"a\": \"x\"}, \"metadata\": 1}",
    ])
    func `X9 an index of the wrong shape is an error`(text: String) throws {
        try remove(indexName)
        try FileSystem.create(directory.file(indexName), contents: Array(text.utf8))
        #expect(
            try findings().contains { $0.hasPrefix("error badIndex") || $0.hasPrefix("error wrongExtension") }
        )
        #expect(try audit().hasErrors)
    }

    @Test func `X9 a file name that is no text is an error for its tensor`() throws {
        try changeIndex("\"embed\": \"\(first)\"", "\"embed\": 1")
        #expect(try findings().first == "error badIndex \(indexName) embed")
    }

    @Test func `X10 a shard of another kind is an error`() throws {
        try changeIndex("\"embed\": \"\(first)\"", "\"embed\": \"pytorch_model.bin\"")
        #expect(try findings().first == "error wrongExtension \(indexName) embed")
    }

    @Test func `X11 a file that no index lists is a warning`() throws {
        try write("consolidated.safetensors", [("norm", .f16, [16])])
        #expect(try findings() == ["warning unreferencedShard consolidated.safetensors"])
    }

    @Test func `X12 names that state another number of files are a warning`() throws {
        for name in [first, second, third] {
            let new = name.split(separator: "-of-")[0] + "-of-00030.safetensors"
            rename(directory.file(name), directory.file(String(new)))
        }
        try changeIndex("-of-00003", "-of-00030")
        #expect(try findings() == ["warning shardCountMismatch \(indexName)"])
        try remove(indexName)
        #expect(
            try audit().findings.map(\.code) == [.shardCountMismatch, .indexMissing])
    }

    @Test func `numbers from zero, as some checkpoints have, are no finding`() throws {
        for (name, number) in [(first, 0), (second, 1), (third, 2)] {
            rename(directory.file(name), directory.file("model-0000\(number)-of-00002.safetensors"))
            try changeIndex(name, "model-0000\(number)-of-00002.safetensors")
        }
        #expect(try findings().isEmpty)
    }

    @Test func `a shard in a subdirectory is read, and one that is refused is reported with its own code`()
        throws
    {
        try FileSystem.createDirectory(directory.file("sub"))
        rename(directory.file(third), directory.file("sub/" + third))
        try changeIndex("\"\(third)\"", "\"sub/\(third)\"")
        #expect(try findings().isEmpty)
        truncate(directory.file("sub/" + third), 20)
        #expect(try findings() == ["error headerTruncated sub/\(third)"])
    }

    @Test func `two sets with an index each are not compared with each other`() throws {
        for name in [first, second, third] {
            let variant = name.split(separator: "model")[0]
            try FileSystem.create(
                directory.file("model.fp16" + variant),
                contents: FileSystem.contents(of: directory.file(name), limit: 1 << 20))
        }
        let text = String(
            decoding: try FileSystem.contents(of: directory.file(indexName), limit: 1 << 20), as: UTF8.self)
        try FileSystem.create(
            directory.file("model.safetensors.index.fp16.json"),
            contents: Array(text.split(separator: "model-").joined(separator: "model.fp16-").utf8))
        #expect(try findings().isEmpty)
        #expect(try audit().indexes.count == 2)
    }

    @Test func `findings of a kind are bounded`() throws {
        try write(second, (0..<1500).map { (TensorName("x\($0)"), .u8, [0]) })
        let audit = try audit()
        #expect(audit.count(of: .tensorNotIndexed) == 1500)
        #expect(audit.findings.count { $0.code == .tensorNotIndexed } == ShardSetAudit.limit)
    }

    // MARK: Rebuild and repair

    @Test func `an index is rebuilt from the headers as the library would write it`() throws {
        let golden = try FileSystem.contents(
            of: repositoryFile("Tests/Fixtures/shards/transformers/" + indexName), limit: 1 << 20)
        for name in try directory.names { try remove(name) }
        try copy("transformers")
        try remove(indexName)
        let rebuilt = try audit().rebuiltIndex()
        #expect(rebuilt.name == indexName && rebuilt.index.serialized(.transformers) == golden)
    }

    @Test func `no index is rebuilt from shards that cannot have one`() throws {
        func code(_ body: (ShardSetAudit) throws(ShardSetAudit.Finding) -> Void) throws -> ShardSetAudit.Code?
        {
            let audit = try audit()
            do throws(ShardSetAudit.Finding) {
                try body(audit)
                return nil
            } catch {
                return error.code
            }
        }
        let rebuild = { (audit: ShardSetAudit) throws(ShardSetAudit.Finding) in _ = try audit.rebuiltIndex() }
        #expect(try code(rebuild) == nil)
        try write("other-00001-of-00002.safetensors", [("x", .u8, [1])])
        #expect(try code(rebuild) == .shardCountMismatch)
        #expect(
            try code { (a) throws(ShardSetAudit.Finding) in _ = try a.rebuiltIndex(base: "model") } == nil)
        #expect(
            try code { (a) throws(ShardSetAudit.Finding) in _ = try a.rebuiltIndex(base: "other") }
                == .shardMissing)
        try remove("other-00001-of-00002.safetensors")
        try write(second, [("norm", .f16, [16])])
        #expect(try code(rebuild) == .duplicateAcrossShards)
        truncate(directory.file(second), 4)
        #expect(try code(rebuild)?.rawValue == "headerTooSmall")
        try remove(second)
        #expect(try code(rebuild) == .shardMissing)
        #expect(
            try code { (a) throws(ShardSetAudit.Finding) in _ = try a.rebuiltIndex(allowingGaps: true) }
                == nil)
        for name in [first, third] { try remove(name) }
        #expect(try code(rebuild) == .shardMissing)
    }

    @Test func `a repair keeps order and metadata and puts right what the headers contradict`() throws {
        let golden = try FileSystem.contents(of: directory.file(indexName), limit: 1 << 20)
        try changeIndex("\"embed\": \"\(first)\"", "\"embed\": \"\(second)\"")
        try changeIndex("\"norm\": \"\(first)\"", "\"norm\": \"../x.safetensors\"")
        try changeIndex("\"total_size\": 806", "\"total_size\": 1")
        let audit = try audit()
        let repaired = try audit.repaired(audit.indexes[0])
        #expect(repaired.index.serialized(.hub) == golden && !repaired.isIncomplete)
        #expect(repaired.changes.map(\.kind) == [.moved, .moved, .totalSize])
    }

    @Test func `a repair removes what is nowhere, adds what is not listed and leaves what it cannot know`()
        throws
    {
        try changeIndex("\"embed\": \"\(first)\"", "\"gone\": \"\(first)\"")
        var audit = try audit()
        var repaired = try audit.repaired(audit.indexes[0])
        #expect(repaired.changes.map(\.kind) == [.removed, .added])
        #expect(repaired.index.entries.last?.tensor == "embed")
        try remove(third)
        audit = try self.audit()
        repaired = try audit.repaired(audit.indexes[0])
        #expect(repaired.isIncomplete)
        #expect(repaired.index.entries.contains { $0.tensor == "layer.9.weight" && $0.file == third })
        #expect(repaired.index.totalSize == 806)
    }

    @Test func `a sound index needs no repair`() throws {
        let audit = try audit()
        let repaired = try audit.repaired(audit.indexes[0])
        #expect(repaired.changes.isEmpty)
        #expect(repaired.index.serialized(.hub) == audit.indexes[0].document)
    }
}
