import CheckpointFormats
import Checkpoints
import Foundation
import Integrity
import SafeTensors
import StrictJSON
import TensorCore
import TestSupport

@testable import Conversion

/// Adapters of the fixtures and what PEFT made of them.
enum AdapterFixtures {
    static let directory = Repository.path("Tests/Fixtures/formats/lora")

    struct Tensor: Decodable {
        var dtype: String
        var shape: [UInt64]
        var sha256: String
    }

    struct Case: Decodable {
        var base: String
        var tensors: [String: Tensor]
    }

    /// The cases with a base of their own, by name.
    static let variants: [String] = {
        (try? FileManager.default.contentsOfDirectory(atPath: directory + "/variants").sorted()) ?? []
    }()

    static func open(_ path: String) throws -> OpenedModel { try FormatRegistry.open(path: path) }
}

extension OpenedModel {
    /// The tensors that an export writes, by name.
    func written(_ transforms: [Transform] = []) throws -> [String: TensorRecord] {
        let plan = try ExportPlan(model: self, options: ExportOptions(transforms: transforms))
        return Dictionary(
            uniqueKeysWithValues: plan.shards.flatMap(\.tensors).map { ($0.tensor.name.string, $0.tensor) })
    }
}

extension TensorRecord {
    /// All bytes, read in pieces of about `piece`.
    func contents(piece: Int = 1 << 20) throws -> [UInt8] {
        var result: [UInt8] = []
        while result.count < Int(byteCount) {
            let count = min(piece, Int(byteCount) - result.count)
            result += try [UInt8](count: count) { (bytes) throws(IOError) in
                try source.read(at: UInt64(result.count), into: &bytes)
            }
        }
        return result
    }

    func sha256(piece: Int = 1 << 20) throws -> String {
        let bytes = try contents(piece: piece)
        return SHA256Digest.of(bytes.span.bytesView).hex
    }

    /// The values of an F32 tensor.
    func floats() throws -> [Float] {
        let bytes = try contents()
        return stride(from: 0, to: bytes.count, by: 4).map { place in
            Float(bitPattern: bytes[place..<place + 4].reversed().reduce(0) { $0 << 8 | UInt32($1) })
        }
    }
}

/// Writes a directory with SafeTensors weights.
struct WeightsBuilder {
    var tensors: [(name: String, dtype: DType, shape: [UInt64], bytes: [UInt8])] = []

    mutating func add(_ name: String, _ shape: [UInt64], _ values: [Float], dtype: DType = .f32) {
        let floats = values.flatMap { value in withUnsafeBytes(of: value.bitPattern.littleEndian, Array.init)
        }
        let bytes = [UInt8](count: floats.count / 4 * dtype.bitWidth / 8) { bytes in
            ElementCast.convert(floats.span.bytesView, from: .f32, to: dtype, into: &bytes)
        }
        tensors.append((name, dtype, shape, bytes))
    }

    /// Random numbers of a seed.
    mutating func add(_ name: String, _ shape: [UInt64], seed: UInt64, dtype: DType = .f32) {
        var random = SeededGenerator(seed: seed)
        let count = shape.reduce(1, *)
        add(name, shape, (0..<count).map { _ in Float.random(in: -1...1, using: &random) }, dtype: dtype)
    }

    func file() throws -> [UInt8] {
        let layout = try SafeTensorsLayout(
            tensors: tensors.map { (TensorName($0.name), $0.dtype, $0.shape) }, metadata: [], alignment: 8)
        var bytes =
            layout.header + [UInt8](repeating: 0, count: Int(layout.fileByteCount) - layout.header.count)
        for place in layout.tensors {
            let own = tensors.first { $0.name == place.name.string }?.bytes ?? []
            bytes.replaceSubrange(
                Int(place.fileRange.lowerBound)..<Int(place.fileRange.upperBound), with: own)
        }
        return bytes
    }

    /// Writes a directory of this name: the weights, and the config where there is one.
    func write(
        _ name: String, in directory: TemporaryDirectory, weights: String = "adapter_model.safetensors",
        config: (name: String, text: String)? = nil
    ) throws -> String {
        let path = directory.file(name)
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        try Data(try file()).write(to: URL(fileURLWithPath: path + "/" + weights))
        if let config { try Data(config.text.utf8).write(to: URL(fileURLWithPath: path + "/" + config.name)) }
        return path
    }
}

/// A base of two linear layers and an adapter for it, to be changed by tests.
struct SmallAdapter {
    let directory: TemporaryDirectory
    var base = WeightsBuilder()
    var weights = WeightsBuilder()
    var settings = #""peft_type":"LORA","r":2,"lora_alpha":4"#
    var baseConfig = #"{"architectures":["LlamaForCausalLM"],"tie_word_embeddings":false}"#

    static let prefix = "base_model.model."

    init() throws {
        directory = try TemporaryDirectory()
        base.add("model.embed_tokens.weight", [10, 6], seed: 1)
        base.add("lm_head.weight", [10, 6], seed: 2)
        base.add("model.q.weight", [4, 6], seed: 3)
        base.add("model.q.bias", [4], seed: 4)
        base.add("model.norm.weight", [6], seed: 5)
    }

    mutating func addUpdate(_ module: String = "model.q", outputs: UInt64 = 4, inputs: UInt64 = 6) {
        weights.add(Self.prefix + module + ".lora_A.weight", [2, inputs], seed: 6)
        weights.add(Self.prefix + module + ".lora_B.weight", [outputs, 2], seed: 7)
    }

    func openBase() throws -> OpenedModel {
        try AdapterFixtures.open(
            base.write(
                "base", in: directory, weights: "model.safetensors", config: ("config.json", baseConfig)))
    }

    func openAdapter(_ name: String = "adapter") throws -> Adapter {
        try Adapter(
            path: weights.write(name, in: directory, config: ("adapter_config.json", "{\(settings)}")))
    }

    func merged(_ rounding: MergeRounding = .once) throws -> OpenedModel {
        try openBase().merging(openAdapter(), rounding: rounding)
    }

    /// The error of a merge.
    func failure() throws -> CheckpointError? {
        do throws(ConversionError) {
            _ = try merging()
            return nil
        } catch {
            guard case .source(let error) = error else { return nil }
            return error
        }
    }

    private func merging() throws(ConversionError) -> OpenedModel {
        let base: OpenedModel
        let path: String
        do {
            base = try openBase()
            path = try weights.write(
                "adapter", in: directory, config: ("adapter_config.json", "{\(settings)}"))
        } catch { fatalError("\(error)") }
        return try base.merging(Adapter(path: path))
    }
}
