import Checkpoints
import Foundation
import Integrity
import StrictJSON
import TensorCore
import TestSupport
import Testing

@testable import Architectures

/// Tiny models of transformers in every scheme, as formulas of their own make them (Tests/Interop/architectures.py).
@Suite("Maps and upstream converters")
struct UpstreamTests {
    static let directory = Repository.path("Tests/Fixtures/architectures")
    static let models = (try? FileSystem.names(in: directory)) ?? []

    private struct Model {
        var map: ArchitectureMap
        var dimensions: Dimensions
        var tensors: [TensorRecord]
        var schemes: [JSONMember]

        init(_ file: String) throws {
            let json = try JSONValue(parsing: bytes(of: UpstreamTests.directory + "/" + file))
            let config = try #require(json["config"])
            map = try ArchitectureMap.find(config: config, file: file)
            dimensions = map.dimensions(config: config)
            var start: Float = 0
            tensors = []
            for member in try #require(json["tensors"]?.members) {
                let shape = try #require(member.value.elements).compactMap(\.uint64)
                tensors.append(try Counted.tensor(member.key, shape, from: start))
                start += Float(shape.reduce(1, *))
            }
            schemes = try #require(json["schemes"]?.members)
        }
    }

    @Test(arguments: models)
    func `every scheme has the names, shapes and bytes that upstream gives it`(file: String) throws {
        let model = try Model(file)
        for scheme in model.schemes {
            let mapped = try model.map.map(
                model.tensors, from: "hf", to: scheme.key, dimensions: model.dimensions, file: file)
            let expected = try #require(scheme.value.members)
            #expect(Set(mapped.tensors.map(\.name.string)) == Set(expected.map(\.key)), "\(scheme.key)")
            for tensor in mapped.tensors {
                let want = try #require(scheme.value[tensor.name.string]?.elements)
                #expect(
                    tensor.shape == want[0].elements?.compactMap(\.uint64), "\(scheme.key) \(tensor.name)")
                let bytes = try Counted.bytes(tensor)
                let digest = SHA256Digest.of(RawSpan(_elements: bytes.span)).hex.prefix(16)
                #expect(String(digest) == want[1].string, "\(scheme.key) \(tensor.name)")
            }
        }
    }

    @Test(arguments: models)
    func `every model comes back from every scheme as transformers has it`(file: String) throws {
        let model = try Model(file)
        let original = try model.tensors.map { ($0.name, try Counted.bytes($0)) }
        for scheme in model.schemes {
            let there = try model.map.map(
                model.tensors, from: "hf", to: scheme.key, dimensions: model.dimensions, file: file)
            let back = try model.map.map(
                there.tensors, from: scheme.key, to: "hf", dimensions: model.dimensions, file: file)
            var found: [TensorName: [UInt8]] = [:]
            for tensor in back.tensors { found[tensor.name] = try Counted.bytes(tensor) }
            for (name, bytes) in original where !there.ignored.contains(name) {
                #expect(found[name] == bytes, "\(scheme.key) \(name)")
            }
        }
    }

    @Test func `every map is tried on a model`() throws {
        let tried = Set(try Self.models.map { try Model($0).map.name })
        #expect(tried == Set(ArchitectureMap.all.map(\.name)))
    }
}
