import Checkpoints
import StrictJSON
import TensorCore

@testable import Architectures

/// Tables of counted numbers to map.
enum Counted {
    /// A tensor of F32 that counts up from `start`.
    static func tensor(_ name: String, _ shape: [UInt64], from start: Float = 0) throws -> TensorRecord {
        let count = Int(shape.reduce(1, *))
        let bytes = (0..<count).flatMap { index -> [UInt8] in
            let bits = (start + Float(index)).bitPattern
            return (0..<4).map { UInt8(truncatingIfNeeded: bits >> (8 * $0)) }
        }
        let source = MemorySource(name: name, contents: bytes)
        return TensorRecord(
            name: TensorName(name), dtype: .f32, shape: shape,
            source: .extent(Extent(source: source, offset: 0, byteCount: UInt64(bytes.count))))
    }

    static func values(_ tensor: TensorRecord) throws -> [Float] {
        let bytes = try bytes(tensor)
        return stride(from: 0, to: bytes.count, by: 4).map { offset in
            Float(bitPattern: (0..<4).reduce(0) { $0 | UInt32(bytes[offset + $1]) << (8 * $1) })
        }
    }

    static func bytes(_ tensor: TensorRecord) throws -> [UInt8] {
        try [UInt8](count: Int(tensor.byteCount)) { (buffer) throws(IOError) in
            try tensor.source.read(at: 0, into: &buffer)
        }
    }

    /// A model of a map's canonical tensors, each with numbers of its own.
    static func model(
        _ map: ArchitectureMap, _ dimensions: Dimensions, where isThere: (TensorName) -> Bool = { _ in true }
    ) throws -> [TensorRecord] {
        var result: [TensorRecord] = []
        var start: Float = 0
        for tensor in map.tensors {
            var open = [Bindings()]
            for placeholder in tensor.pattern.placeholders {
                open = open.flatMap { bindings in
                    (0..<(dimensions[placeholder.dimension] ?? 1)).map { number in
                        var bindings = bindings
                        bindings[placeholder] = UInt32(number)
                        return bindings
                    }
                }
            }
            let shape = tensor.shape.map { $0.value(dimensions) ?? 3 }
            for name in open.map(tensor.pattern.name) where isThere(name) {
                result.append(try Self.tensor(name.string, shape, from: start))
                start += Float(shape.reduce(1, *))
            }
        }
        return result
    }
}

extension ArchitectureMap {
    static func named(_ name: String) throws -> ArchitectureMap {
        guard let map = all.first(where: { $0.name == name }) else { throw Missing(name: name) }
        return map
    }

    private struct Missing: Error { let name: String }
}
