public import Checkpoints
internal import TensorCore

extension ArchitectureMap {
    /// The whole tensors of a model whose scheme splits them over several files.
    ///
    /// - Parameters:
    ///   - parts: the tables of the files, in order.
    ///   - scheme: the scheme that they are in.
    ///   - dimensions: the model's numbers.
    ///   - file: what the tables were read from, for messages.
    /// - Returns: one table under the names of the scheme, in the order of the first file.
    public func joining(
        _ parts: [TensorTable], scheme: String, dimensions: Dimensions, file: String
    ) throws(CheckpointError) -> [TensorRecord] {
        guard let own = self.scheme(scheme) else { return parts.flatMap { Array($0) } }
        var order: [TensorName] = []
        var found: [TensorName: [TensorRecord]] = [:]
        for part in parts {
            for tensor in part {
                if found[tensor.name] == nil { order.append(tensor.name) }
                found[tensor.name, default: []].append(tensor)
            }
        }
        let index = NameIndex(self, own, toOurs: true)
        var result: [TensorRecord] = []
        for name in order {
            let pieces = found[name] ?? []
            let rule = index.find(name, dimensions)?.rule
            let axes = rule.map { own.rules[$0].settings.partAxes } ?? []
            // What is in one file alone, or has no parts, is whole.
            guard parts.count > 1, pieces.count > 1, !axes.isEmpty, let rule else {
                result.append(pieces[0])
                continue
            }
            guard pieces.count == parts.count else {
                throw CheckpointError(
                    .malformed, "tensor-missing",
                    "the tensor is in \(pieces.count) of \(parts.count) files, which each have a part of it",
                    file: file, tensor: name)
            }
            let shape = shape(of: own.rules[rule].ours[0]).map { $0.value(dimensions) }
            do throws(ExpressionError) {
                let tensors = try pieces.map { (piece) throws(ExpressionError) in try piece.expression }
                let axis = Self.axis(axes, parts: tensors, shape: shape)
                result.append(TensorRecord(name: name, try .concatenated(tensors, axis: axis)))
            } catch {
                throw CheckpointError(
                    .malformed, "shape-mismatch", error.description, file: file, tensor: name)
            }
        }
        return result
    }

    private func shape(of pattern: NamePattern) -> [SizeExpression] {
        tensors.first { $0.pattern.text == pattern.text }?.shape ?? []
    }

    /// The axis of a choice along which the parts have less than the whole.
    private static func axis(_ axes: [Int], parts: [TensorExpression], shape: [UInt64?]) -> Int {
        axes.first { axis in
            guard shape.indices.contains(axis), parts[0].shape.indices.contains(axis) else { return false }
            return shape[axis].map { $0 != parts[0].shape[axis] } ?? false
        } ?? axes[0]
    }
}
