internal import Checkpoints
internal import TensorCore

extension TableMapper {
    mutating func emit(
        _ name: TensorName, _ tensor: TensorRecord, from source: TensorName
    ) throws(CheckpointError) {
        try claim(name, for: source)
        var tensor = tensor
        tensor.name = name
        result.tensors.append(tensor)
    }

    mutating func emit(
        _ name: TensorName, _ tensor: TensorExpression, from source: TensorName
    ) throws(CheckpointError) {
        try claim(name, for: source)
        result.tensors.append(TensorRecord(name: name, tensor))
    }

    mutating func claim(_ name: TensorName, for source: TensorName) throws(CheckpointError) {
        if let other = places.updateValue(source, forKey: name) {
            throw CheckpointError(
                .malformed, "mapped-twice", "\(other) and this both are \(name)", file: file, tensor: source)
        }
    }

    func expression(_ tensor: TensorRecord) throws(CheckpointError) -> TensorExpression {
        try fitting(tensor.name) { () throws(ExpressionError) in try tensor.expression }
    }

    func fitting<T>(
        _ name: TensorName, _ body: () throws(ExpressionError) -> T
    ) throws(CheckpointError) -> T {
        do { return try body() } catch {
            throw CheckpointError(
                .malformed, "shape-mismatch", error.description, file: file, tensor: name)
        }
    }

    func unknown(_ what: String, _ name: TensorName) -> CheckpointError {
        CheckpointError(
            .unsupported, "dimension-unknown",
            "\(what) is not known, which the layout of the tensor depends on: the config must say it",
            file: file, tensor: name)
    }

    func checkShape(
        _ shape: [UInt64], _ canonical: String, of name: TensorName
    ) throws(CheckpointError) {
        let expected = shapes[canonical] ?? []
        let sizes = expected.map { $0.value(dimensions) }
        guard expected.count == shape.count, zip(sizes, shape).allSatisfy({ $0 ?? $1 == $1 }) else {
            let text = sizes.map { $0.map(String.init) ?? "?" }.joined(separator: ", ")
            throw CheckpointError(
                .malformed, "shape-mismatch",
                "its shape makes \(shape) for \(canonical), and the config says [\(text)]", file: file,
                tensor: name)
        }
    }

    func operate(
        _ rule: MapRule, _ tensor: TensorExpression, _ place: Int, of name: TensorName
    ) throws(CheckpointError) -> TensorExpression {
        var tensor = tensor
        let canonical = shapes[rule.ours[min(place, rule.ours.count - 1)].text] ?? []
        let operations = rule.settings.operations
        for operation in toOurs ? operations : operations.reversed() {
            do throws(MapFault) {
                tensor = try operation.apply(to: tensor, toOurs: toOurs, canonical: canonical, dimensions)
            } catch {
                switch error {
                case .unknownDimension: throw unknown("the number of heads or their size", name)
                case .expression(let error):
                    throw CheckpointError(
                        .malformed, "shape-mismatch", error.description, file: file, tensor: name)
                }
            }
        }
        return tensor
    }

    /// Ours without the rows by which theirs was made longer.
    func withoutPadding(
        _ rule: MapRule, _ tensor: TensorExpression, of name: TensorName
    ) throws(CheckpointError) -> TensorExpression {
        guard rule.settings.isPadded, let rows = shapes[rule.ours[0].text]?.first?.value(dimensions),
            let own = tensor.shape.first, own > rows
        else { return tensor }
        return try fitting(name) { () throws(ExpressionError) in try tensor.sliced(axis: 0, 0..<rows) }
    }
}
