import Glibc
@testable import SafeTensors
import TensorCore
import Testing

/// How an edit gets into the file, and what is left where it is interrupted.
@Suite struct MetadataEditorTests {
    private let directory: TemporaryDirectory
    private var path: String { directory.file("m.safetensors") }
    private var journal: String { directory.file(".m.safetensors.artifact-journal") }

    init() throws {
        directory = try TemporaryDirectory()
        try Self.make(path)
    }

    /// A file of some blocks whose bytes tell their place.
    private static func make(_ path: String) throws {
        let layout = try SafeTensorsLayout(
            tensors: [("a", .u8, [100_000]), ("b", .f32, [5])], metadata: [("format", "pt")])
        try writeFile(path, layout) { name in
            (0..<(name == "a" ? 100_000 : 20)).map { UInt8(truncatingIfNeeded: $0 ^ $0 >> 8) }
        }
    }

    private static let small = [(key: "k", value: "")]
    private static let large = [(key: "k", value: String(repeating: "v", count: 5000))]

    private func isWhole(_ path: String) throws -> Bool {
        let reader = try SafeTensorsReader(opening: path)
        let expected = (0..<100_000).map { UInt8(truncatingIfNeeded: $0 ^ $0 >> 8) }
        return try reader.bytes(of: try #require(reader.header["a"])) == expected && reader.header.count == 2
    }

    private func inode(_ path: String) -> UInt64 {
        var status = stat()
        stat(path, &status)
        return UInt64(status.st_ino)
    }

    /// Whether the file system of the tests can insert blocks; all others write anew.
    private func canInsert() throws -> Bool {
        try FileSystem.create(directory.file("probe"), contents: [1])
        return try EditableFile(path: directory.file("probe")).insertAtStart(byteCount: 4096)
    }

    @Test func `a change that fits the padding writes the header where it stands`() throws {
        let before = inode(path)
        let size = try InputFile(path: path).byteCount
        // Removing makes room.
        let editor = try SafeTensorsMetadataEditor(path: path)
        #expect(try editor.apply(MetadataEdit(set: [("format", "x")])).method == .inPlace)
        #expect(try editor.apply(MetadataEdit(set: [("format", "pt")])).method == .inPlace)
        #expect(try InputFile(path: path).byteCount == size && inode(path) == before)
        #expect(try isWhole(path) && directory.names == ["m.safetensors"])
    }

    @Test func `a header that grows moves the data by whole blocks, and leaves room for the next change`()
        throws
    {
        let before = inode(path)
        let canInsert = try canInsert()
        let old = try SafeTensorsReader(opening: path).header
        let editor = try SafeTensorsMetadataEditor(path: path)
        let outcome = try editor.apply(MetadataEdit(set: Self.large))
        #expect(outcome.method == (canInsert ? .insert : .rewrite))
        #expect((inode(path) == before) == canInsert)
        let new = try SafeTensorsReader(opening: path).header
        #expect(new.headerByteCount - old.headerByteCount == 8192)
        #expect(outcome.headerByteCount == (old.headerByteCount, new.headerByteCount))
        #expect(try isWhole(path))
        #expect(try editor.apply(MetadataEdit(set: Self.small)).method == .inPlace)
        #expect(try editor.metadata().map(\.key) == ["format", "k"])
    }

    @Test(.enabled(if: SmallFileSystem.isAvailable))
    func `a file system that cannot insert blocks gets the same bytes by a file written anew`() throws {
        let disk = try #require(SmallFileSystem(byteCount: 1 << 20))
        let other = disk.path + "/m.safetensors"
        try Self.make(other)
        chmod(other, 0o640)
        #expect(
            try SafeTensorsMetadataEditor(path: other).apply(MetadataEdit(set: Self.large)).method == .rewrite
        )
        try SafeTensorsMetadataEditor(path: path).apply(MetadataEdit(set: Self.large))
        #expect(
            try FileSystem.contents(of: other, limit: 1 << 20)
                == FileSystem.contents(of: path, limit: 1 << 20))
        var status = stat()
        stat(other, &status)
        #expect(status.st_mode & 0o7777 == 0o640)
        #expect(try FileSystem.names(in: disk.path) == ["m.safetensors"])
    }

    @Test(.enabled(if: SmallFileSystem.isAvailable))
    func `a full disk leaves the file as it was and nothing beside it`() throws {
        let disk = try #require(SmallFileSystem(byteCount: 150 << 10))
        let other = disk.path + "/m.safetensors"
        try Self.make(other)
        let before = try FileSystem.contents(of: other, limit: 1 << 20)
        let error = #expect(throws: SafeTensorsError.self) {
            try SafeTensorsMetadataEditor(path: other).apply(MetadataEdit(set: Self.large))
        }
        #expect(error?.io?.errno == ENOSPC)
        #expect(try FileSystem.contents(of: other, limit: 1 << 20) == before)
        #expect(try FileSystem.names(in: disk.path) == ["m.safetensors"])
    }

    @Test func `a plan says what would be done and does nothing`() throws {
        let before = try FileSystem.contents(of: path, limit: 1 << 20)
        let editor = try SafeTensorsMetadataEditor(path: path)
        #expect(try editor.plan(MetadataEdit(set: Self.large)).method == .insert)
        #expect(try editor.plan(MetadataEdit(unset: ["format"])).method == .inPlace)
        #expect(try editor.plan(MetadataEdit(set: [("format", "pt")])).method == .none)
        #expect(try FileSystem.contents(of: path, limit: 1 << 20) == before)
    }

    @Test func `a link is followed, a shared file is asked about, a read-only one is refused`() throws {
        symlink("m.safetensors", directory.file("link"))
        try SafeTensorsMetadataEditor(path: directory.file("link")).apply(
            MetadataEdit(set: [("format", "x")]))
        #expect(try FileSystem.kind(of: directory.file("link"), followingLinks: false) == .symbolicLink)
        #expect(try SafeTensorsMetadataEditor(path: path).metadata()[0].value == "x")

        link(path, directory.file("other"))
        let shared = #expect(throws: SafeTensorsError.self) {
            try SafeTensorsMetadataEditor(path: path).apply(MetadataEdit(set: [("format", "y")]))
        }
        #expect(shared?.code == .sharedFile)
        try SafeTensorsMetadataEditor(path: path, changesSharedFiles: true)
            .apply(MetadataEdit(set: [("format", "y")]))
        #expect(try SafeTensorsMetadataEditor(path: directory.file("other")).metadata()[0].value == "y")
        unlink(directory.file("other"))

        chmod(path, 0o444)
        let readOnly = #expect(throws: SafeTensorsError.self) {
            try SafeTensorsMetadataEditor(path: path).apply(MetadataEdit(set: [("format", "z")]))
        }
        #expect(readOnly?.io?.errno == EACCES)
        for bad in [directory.path, "/dev/null", directory.file("missing")] {
            let error = #expect(throws: SafeTensorsError.self) {
                try SafeTensorsMetadataEditor(path: bad).apply(MetadataEdit(set: [("format", "z")]))
            }
            #expect(error?.code == .io)
        }
    }

    @Test func `a file that another program has locked is busy`() throws {
        let other = try EditableFile(path: path)
        #expect(try other.lock())
        let error = #expect(throws: SafeTensorsError.self) {
            try SafeTensorsMetadataEditor(path: path).apply(MetadataEdit(set: Self.small))
        }
        #expect(error?.code == .fileBusy)
        withExtendedLifetime(other) {}
    }

    // MARK: Interruption

    /// Kills a child at each of `steps` of a change and looks at what it leaves in `place`.
    private func interrupt(
        at steps: [SafeTensorsMetadataEditor.Step], set: [(key: String, value: String)], in place: String
    ) async throws {
        let file = place + "/m.safetensors"
        for step in steps {
            try FileSystem.removeTree(file)
            try Self.make(file)
            let (name, value) = (step.rawValue, set[0].value)
            await #expect(processExitsWith: .signal(SIGKILL), "\(step)") {
                [name = name as String, value = value as String, file = file as String] in
                try SafeTensorsMetadataEditor(path: file) {
                    if $0.rawValue == name { kill(getpid(), SIGKILL) }
                }
                .apply(MetadataEdit(set: [("k", value)]))
            }
            if step == .inserted {
                let error = #expect(throws: SafeTensorsError.self) { try SafeTensorsReader(opening: file) }
                #expect(error?.message.contains("interrupted") == true)
            }
            let editor = try SafeTensorsMetadataEditor(path: file)
            let keys = try editor.metadata().map(\.key)
            let isBefore = [.journalWritten, .journalSynchronized, .copied].contains(step)
            #expect(keys == (isBefore ? ["format"] : ["format", "k"]), "\(step)")
            #expect(try isWhole(file) && !SafeTensorsMetadataEditor.isInterrupted(file), "\(step)")
            // The next change removes the rest.
            try editor.apply(MetadataEdit(set: [("k", value + "more")]))
            try editor.apply(MetadataEdit(set: [("k", value + String(repeating: "x", count: 9000))]))
            #expect(try editor.metadata().count == 2 && isWhole(file))
            #expect(try FileSystem.names(in: place) == ["m.safetensors"], "\(step)")
        }
    }

    @Test func `a process killed at any step of a change in the padding leaves the file old or new`()
        async throws
    {
        let place = directory.file("inner")
        try FileSystem.createDirectory(place)
        try await interrupt(
            at: [
                .journalWritten, .journalSynchronized, .headerWritten, .headerSynchronized, .journalRemoved,
            ],
            set: Self.small, in: place)
    }

    @Test func `a process killed at any step of a change that inserts blocks leaves the file old or new`()
        async throws
    {
        let place = directory.file("inner")
        try FileSystem.createDirectory(place)
        let steps: [SafeTensorsMetadataEditor.Step] = [
            .journalWritten, .journalSynchronized, .inserted, .headerWritten, .headerSynchronized,
            .journalRemoved,
        ]
        try await interrupt(at: canInsert() ? steps : [.copied, .replaced], set: Self.large, in: place)
    }

    @Test(.enabled(if: SmallFileSystem.isAvailable))
    func `a process killed at any step of writing anew leaves the file old or new`() async throws {
        let disk = try #require(SmallFileSystem(byteCount: 1 << 20))
        try await interrupt(at: [.copied, .replaced], set: Self.large, in: disk.path)
    }

    @Test func `a header that cannot be written is undone, blocks and all`() async throws {
        guard try canInsert() else { return }
        await #expect(processExitsWith: .success) {
            let directory = try TemporaryDirectory()
            let file = directory.file("m.safetensors")
            try MetadataEditorTests.make(file)
            let before = try FileSystem.contents(of: file, limit: 1 << 20)
            let editor = try SafeTensorsMetadataEditor(path: file) { step in
                guard step == .inserted else { return }
                signal(SIGXFSZ, SIG_IGN)
                var limit = rlimit(rlim_cur: 0, rlim_max: 0)
                setrlimit(__rlimit_resource_t(1), &limit)
            }
            let error = #expect(throws: SafeTensorsError.self) {
                try editor.apply(MetadataEdit(set: MetadataEditorTests.large))
            }
            guard error?.io?.errno == EFBIG, try FileSystem.contents(of: file, limit: 1 << 20) == before,
                try directory.names == ["m.safetensors"]
            else { exit(2) }
        }
    }

    @Test func `a header that was half written is finished from the journal`() throws {
        for set in [Self.small, Self.large] {
            try FileSystem.removeTree(path)
            try Self.make(path)
            let old = try FileSystem.contents(of: path, limit: 1 << 20)
            try SafeTensorsMetadataEditor(path: path).apply(MetadataEdit(set: set))
            let new = try FileSystem.contents(of: path, limit: 1 << 20)
            let start = Int(try SafeTensorsReader(opening: path).header.dataOffset)
            let oldStart = start - (new.count - old.count)
            let record = EditJournal(
                fileByteCount: UInt64(old.count), growth: UInt64(new.count - old.count),
                dataSample: try Checksum.ofSamples(
                    of: InputFile(path: path), from: UInt64(start), byteCount: UInt64(new.count - start)),
                before: Array(old[..<oldStart]), after: Array(new[..<start]))
            let before = [UInt8](repeating: 0, count: new.count - old.count) + old[..<oldStart]
            for cut in [0, 3, 8, 20, start / 2, start - 1, start] {
                try FileSystem.removeTree(path)
                try FileSystem.create(path, contents: Array(new[..<cut] + before[cut...] + new[start...]))
                try FileSystem.create(journal, contents: record.encoded)
                let editor = try SafeTensorsMetadataEditor(path: path)
                #expect(
                    editor.recovery == (cut == 0 && record.growth == 0 ? .rolledBack : .finished), "\(cut)")
                let isNew = editor.recovery == .finished
                #expect(try FileSystem.contents(of: path, limit: 1 << 20) == (isNew ? new : old))
                #expect(try directory.names == ["m.safetensors"])
            }
        }
    }

    @Test func `a journal that is cut or of another file is forgotten, one of a damaged file is kept`() throws
    {
        let contents = try FileSystem.contents(of: path, limit: 1 << 20)
        let record = EditJournal(
            fileByteCount: 77, growth: 0, dataSample: 1, before: [1, 2, 3], after: [4, 5, 6])
        #expect(EditJournal(decoding: record.encoded) == record)
        for count in 0..<record.encoded.count {
            #expect(EditJournal(decoding: Array(record.encoded[..<count])) == nil)
        }
        for bytes in [Array(record.encoded.dropLast()), [], record.encoded] {
            try FileSystem.create(journal, contents: bytes)
            #expect(try SafeTensorsMetadataEditor(path: path).recovery == .rolledBack)
            #expect(try FileSystem.contents(of: path, limit: 1 << 20) == contents)
            #expect(try directory.names == ["m.safetensors"])
        }
        truncate(path, 10)
        try FileSystem.create(journal, contents: record.encoded)
        let error = #expect(throws: SafeTensorsError.self) { try SafeTensorsMetadataEditor(path: path) }
        #expect(error?.code == .interruptedEdit)
        #expect(try directory.names.count == 2)
    }

    @Test func `names of any length have a journal of their own`() {
        let long = String(repeating: "é", count: 125)
        let paths = [long + "a.safetensors", long + "b.safetensors"].map { EditJournal.path(for: "/d/" + $0) }
        #expect(paths[0] != paths[1] && paths.allSatisfy { Path.name(of: $0).utf8.count <= 255 })
    }
}
