internal import Checkpoints
internal import TensorCore

extension TableMapper {
    /// The parts of a whole.
    mutating func split(
        _ tensor: TensorRecord, _ rule: MapRule, _ bindings: Bindings
    ) throws(CheckpointError) {
        var open: [(bindings: Bindings, tensor: TensorExpression)] = [(bindings, try expression(tensor))]
        for placeholder in rule.stacked {
            guard let count = dimensions[placeholder.dimension] else {
                throw unknown("the number of \(placeholder.dimension)", tensor.name)
            }
            var next: [(bindings: Bindings, tensor: TensorExpression)] = []
            for (bindings, whole) in open {
                guard let first = whole.shape.first, first == count,
                    UInt64(result.tensors.count + next.count) + count <= Self.countLimit
                else {
                    throw CheckpointError(
                        .malformed, "shape-mismatch",
                        "shape \(tensor.shape) does not stack \(count) \(placeholder.dimension)", file: file,
                        tensor: tensor.name)
                }
                for number in 0..<count {
                    var bindings = bindings
                    bindings[placeholder] = UInt32(number)
                    let part = try fitting(tensor.name) { () throws(ExpressionError) in
                        try whole.sliced(axis: 0, number..<number + 1)
                            .reshaped(to: Array(whole.shape.dropFirst()))
                    }
                    next.append((bindings, part))
                }
            }
            open = next
        }
        let names = rule.names(toOurs ? .ours : .theirs)
        for (bindings, whole) in open {
            for (place, part) in try cut(whole, rule, of: tensor.name).enumerated() {
                let pattern = names[place]
                let made = try operate(rule, part, place, of: tensor.name)
                if toOurs { try checkShape(made.shape, pattern.text, of: tensor.name) }
                try emit(pattern.name(bindings), made, from: tensor.name)
            }
        }
    }

    /// The lengths of the parts along the axis of a rule; nil where the canonical shapes do not say.
    private func sizes(_ rule: MapRule) -> [UInt64]? {
        let expressions =
            rule.settings.sizes.isEmpty
            ? rule.ours.compactMap { shapes[$0.text]?.dropFirst(rule.settings.axis).first }
            : rule.settings.sizes
        let sizes = expressions.compactMap { $0.value(dimensions) }
        return sizes.count == rule.names(rule.parts ?? .ours).count ? sizes : nil
    }

    private func cut(
        _ whole: TensorExpression, _ rule: MapRule, of name: TensorName
    ) throws(CheckpointError) -> [TensorExpression] {
        guard rule.names(rule.parts ?? .ours).count > 1 else { return [whole] }
        guard let sizes = sizes(rule) else { throw unknown("the size of its parts", name) }
        let parts = Parts(axis: rule.settings.axis, groups: try groupCount(rule, of: name), sizes: sizes)
        guard parts.fill(whole.shape) else {
            throw CheckpointError(
                .malformed, "shape-mismatch",
                "shape \(whole.shape) is not parts of \(sizes) along axis \(rule.settings.axis)", file: file,
                tensor: name)
        }
        return try fitting(name) { () throws(ExpressionError) in try parts.cut(whole) }
    }

    private func groupCount(_ rule: MapRule, of name: TensorName) throws(CheckpointError) -> UInt64 {
        guard let groups = rule.settings.groups else { return 1 }
        guard let count = groups.value(dimensions), count > 0 else {
            throw unknown("the number of groups", name)
        }
        return count
    }

    /// Makes the wholes whose parts were gathered, each where its first part stood.
    mutating func finishGroups() throws(CheckpointError) {
        guard !order.isEmpty else { return }
        var made: [(place: Int, tensor: TensorRecord)] = []
        for key in order {
            guard let group = gathered[key] else { continue }
            let rule = scheme.rules[key.rule]
            let first = group.parts[0].tensor.name
            var whole = try join(group, rule, first)
            let target = rule.names(toOurs ? .ours : .theirs)[0]
            if toOurs {
                whole = try withoutPadding(rule, whole, of: first)
                try checkShape(whole.shape, target.text, of: first)
            }
            let name = target.name(key.bindings)
            try claim(name, for: first)
            made.append((group.place, TensorRecord(name: name, whole)))
        }
        var tensors: [TensorRecord] = []
        tensors.reserveCapacity(result.tensors.count + made.count)
        var next = made[...]
        for (place, tensor) in result.tensors.enumerated() {
            while let whole = next.first, whole.place <= place { tensors.append(next.removeFirst().tensor) }
            tensors.append(tensor)
        }
        result.tensors = tensors + next.map(\.tensor)
    }

    private func join(
        _ group: Group, _ rule: MapRule, _ first: TensorName
    ) throws(CheckpointError) -> TensorExpression {
        let names = rule.names(rule.parts ?? .ours)
        var parts: [Bindings: [TensorExpression?]] = [:]
        for (name, bindings, tensor) in group.parts {
            let made = try operate(rule, try expression(tensor), name, of: tensor.name)
            parts[bindings, default: Array(repeating: nil, count: names.count)][name] = made
        }
        var key = group.parts[0].bindings
        return try stack(rule.stacked[...], &key, first) { (bindings) throws(CheckpointError) in
            let found = parts[bindings] ?? []
            let all = found.compactMap { $0 }
            guard all.count == names.count else {
                let missing = found.isEmpty ? 0 : found.firstIndex { $0 == nil } ?? 0
                throw CheckpointError(
                    .malformed, "tensor-missing",
                    "the model needs \(names[missing].name(bindings)), which is not there", file: file,
                    tensor: names[missing].name(bindings))
            }
            let groups = try groupCount(rule, of: first)
            return try fitting(first) { () throws(ExpressionError) in
                try Parts.join(all, axis: rule.settings.axis, groups: groups)
            }
        }
    }

    private func stack(
        _ placeholders: ArraySlice<Placeholder>, _ bindings: inout Bindings, _ name: TensorName,
        _ part: (Bindings) throws(CheckpointError) -> TensorExpression
    ) throws(CheckpointError) -> TensorExpression {
        guard let placeholder = placeholders.first else { return try part(bindings) }
        guard let count = dimensions[placeholder.dimension], count > 0 else {
            throw unknown("the number of \(placeholder.dimension)", name)
        }
        var layers: [TensorExpression] = []
        for number in 0..<count {
            bindings[placeholder] = UInt32(number)
            let inner = try stack(placeholders.dropFirst(), &bindings, name, part)
            layers.append(
                try fitting(name) { () throws(ExpressionError) in try inner.reshaped(to: [1] + inner.shape) })
        }
        return try fitting(name) { () throws(ExpressionError) in try .concatenated(layers, axis: 0) }
    }
}
