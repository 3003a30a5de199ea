internal import Architectures
internal import CheckpointFormats
internal import Checkpoints
internal import StrictJSON
internal import TensorCore

extension FuzzEntry {
    /// A config, or the parameters of Meta's, with the shapes of tensors: whatever they say, a table that is made can
    /// be read from its first byte to its last.
    static func readNames(_ bytes: [UInt8]) {
        guard let json = try? JSONValue(parsing: bytes) else { return }
        let tensors = (json["tensors"]?.members ?? []).compactMap { member -> TensorRecord? in
            let shape = member.value.elements?.compactMap(\.uint64) ?? []
            guard let zeros = try? TensorExpression.filled(with: 0, dtype: .bf16, shape: shape) else {
                return nil
            }
            return TensorRecord(name: TensorName(member.key), zeros)
        }
        var config = json["config"] ?? .null
        if let params = json["params"] {
            guard let made = try? MetaParams(params, parts: [TensorTable(tensors)], file: "fuzz") else {
                return
            }
            config = made.config
        }
        guard let map = try? ArchitectureMap.find(config: config, file: "fuzz") else { return }
        let dimensions = map.dimensions(config: config)
        let scheme = try? map.scheme(
            of: tensors.map(\.name), dimensions: dimensions, allowsUnknown: true, file: "fuzz")
        let target = json["to"]?.string ?? ArchitectureMap.canonicalScheme
        for isPartial in [false, true] {
            let mapped = try? map.map(
                tensors, from: scheme ?? ArchitectureMap.canonicalScheme, to: target, dimensions: dimensions,
                unmapped: .left, isPartial: isPartial, file: "fuzz")
            for tensor in mapped?.tensors.prefix(64) ?? [] { checkEnds(of: tensor) }
        }
        let parts = [TensorTable(tensors), TensorTable(tensors)]
        _ = try? map.joining(parts, scheme: "meta", dimensions: dimensions, file: "fuzz")
    }

    private static func checkEnds(of tensor: TensorRecord) {
        precondition(tensor.byteCount == (try? tensor.expression)?.byteCount, "a size is wrong")
        let count = min(tensor.byteCount, UInt64(64 * (tensor.dtype.byteWidth ?? 1)))
        for offset in [0, tensor.byteCount - count] where count > 0 {
            do {
                _ = try [UInt8](count: Int(count)) { (buffer) throws(IOError) in
                    try tensor.source.read(at: offset, into: &buffer)
                }
            } catch {
                preconditionFailure("zeros cannot be read: \(error)")
            }
        }
    }
}
