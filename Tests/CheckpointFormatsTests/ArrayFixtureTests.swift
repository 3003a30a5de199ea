import CheckpointFormats
import Checkpoints
import Foundation
import TensorCore
import Testing

/// Files of arrays under `Tests/Fixtures/formats` and what the libraries that own their formats read in them.
enum ArrayFixtures {
    static let directory = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .appending(path: "Fixtures/formats").path

    struct Options: Decodable {
        var void_as: String?
        var skip_unsupported: Bool?
    }

    struct Case: Decodable {
        var tensors: [String: Fixtures.Tensor]?
        var error: String?
        var `class`: String?
        var options: Options?
        var warn: [String]?
        var skipped: [String]?
        var readError: String?
        var files: [String]?
        var left: [String]?
    }

    static let cases: [String: Case] = {
        do {
            let data = try Data(contentsOf: URL(filePath: directory + "/expected-arrays.json"))
            return try JSONDecoder().decode([String: Case].self, from: data)
        } catch { fatalError("the list of fixtures: \(error)") }
    }()

    static func open(_ name: String) throws(CheckpointError) -> OpenedModel {
        var options = ReadOptions()
        options.voidDType = cases[name]?.options?.void_as.flatMap(DType.init(name:))
        options.skipsUnsupported = cases[name]?.options?.skip_unsupported ?? false
        return try FormatRegistry.open(path: directory + "/" + name, options: options)
    }
}

@Suite struct ArrayFixtureTests {
    static let good = ArrayFixtures.cases.filter { $0.value.tensors != nil }.keys.sorted()
    static let refused = ArrayFixtures.cases.filter { $0.value.error != nil }.keys.sorted()

    @Test(arguments: good)
    func `every tensor has the name, dtype, shape and bytes that its library gives it`(name: String) throws {
        let expected = try #require(ArrayFixtures.cases[name])
        let tensors = try #require(expected.tensors)
        let model = try ArrayFixtures.open(name)
        #expect(Set(model.checkpoint.tensors.map(\.name.string)) == Set(tensors.keys))
        for tensor in model.checkpoint.tensors {
            let want = try #require(tensors[tensor.name.string])
            #expect(tensor.dtype.name == want.dtype)
            #expect(tensor.shape == want.shape)
            try #require(tensor.byteCount == want.nbytes)
            if let text = expected.readError {
                let error = try #require(throws: IOError.self) { try tensor.digest() }
                #expect(error.description.contains(text))
                continue
            }
            for piece in [1000, 7, 1 << 20] {
                #expect(try tensor.digest(piece: piece) == want.sha256, "\(tensor.name) by \(piece)")
            }
        }
        // MLX writes SafeTensors files without regard to alignment.
        let warnings = model.checkpoint.warnings.map(\.code).filter { $0 != "unalignedTensor" }
        #expect(warnings == expected.warn ?? [])
        #expect(model.checkpoint.skipped.map(\.name) == expected.skipped ?? [])
        if let files = expected.files { #expect(model.checkpoint.files.map(\.path) == files) }
        if let left = expected.left { #expect(model.directory?.left.map(\.name) == left) }
        #expect(model.checkpoint.tiedGroups.isEmpty)
    }

    @Test(arguments: refused)
    func `a file that is damaged, hostile or of no use is refused with its code`(name: String) throws {
        let expected = try #require(ArrayFixtures.cases[name])
        let error = try #require(throws: CheckpointError.self) { try ArrayFixtures.open(name) }
        #expect(error.code == expected.error, "\(error)")
        #expect(error.class.rawValue == expected.class ?? "unsafe", "\(error)")
    }

    @Test(arguments: ["mlx/made/mixed", "mlx/q4g64"])
    func `a config travels without the quantisation that was undone`(name: String) throws {
        let side = try ArrayFixtures.open(name).sideFiles
        let config = try #require(side.first { $0.file.name == "config.json" })
        let source = try #require(config.embedded)
        let text = String(decoding: try source.bytes(at: 0, count: Int(source.byteCount)), as: UTF8.self)
        #expect(!text.contains("quantization"))
        #expect(text.contains("architectures") == (name == "mlx/made/mixed"))
        #expect(side.filter { $0.file.name == "config.json" }.count == 1)
    }

    @Test(arguments: ["npy/npz/deflated.npz", "npy/npz/large.npz"])
    func `compressed members are read by turns, and more of them than are kept open`(name: String) throws {
        let tensors = try ArrayFixtures.open(name).checkpoint.tensors
        var contents: [TensorName: [UInt8]] = [:]
        var offset: UInt64 = 0
        while tensors.contains(where: { $0.byteCount > offset }) {
            for tensor in tensors where tensor.byteCount > offset {
                let count = Int(min(40_000, tensor.byteCount - offset))
                contents[tensor.name, default: []] += try [UInt8](count: count) { (span) throws(IOError) in
                    try tensor.source.read(at: offset, into: &span)
                }
            }
            offset += 40_000
        }
        for tensor in tensors {
            var hash = SHA256()
            hash.update(contents[tensor.name] ?? [])
            #expect(hash.finish() == ArrayFixtures.cases[name]?.tensors?[tensor.name.string]?.sha256)
        }
    }

    @Test func `external data behind a link that leads out of the directory is refused`() throws {
        let folder = FileManager.default.temporaryDirectory.appending(path: "artifact-\(UUID().uuidString)")
        defer { try? FileManager.default.removeItem(at: folder) }
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        let source = URL(filePath: ArrayFixtures.directory + "/onnx/made/beside")
        try FileManager.default.copyItem(
            at: source.appending(path: "model.onnx"), to: folder.appending(path: "model.onnx"))
        try FileManager.default.createSymbolicLink(
            at: folder.appending(path: "weights.bin"),
            withDestinationURL: source.appending(path: "weights.bin"))
        let error = try #require(throws: CheckpointError.self) {
            try FormatRegistry.open(path: folder.appending(path: "model.onnx").path)
        }
        #expect(error.code == "path-escape" && error.class == .unsafe && error.tensor == "w")
    }

    @Test func `a model whose external data cannot be reached says so`() throws {
        let bytes = try FileSystem.contents(
            of: ArrayFixtures.directory + "/onnx/made/beside/model.onnx", limit: 1 << 20)
        let error = try #require(throws: CheckpointError.self) {
            try FormatRegistry.open(source: MemorySource(name: "remote", contents: bytes), name: "model.onnx")
        }
        #expect(error.code == "sibling-unreachable")
    }
}
