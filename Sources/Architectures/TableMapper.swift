internal import Checkpoints
internal import TensorCore

/// Puts one table from a scheme into the canonical one, or the other way.
struct TableMapper {
    let map: ArchitectureMap
    let scheme: NamingScheme
    let toOurs: Bool
    let dimensions: Dimensions
    let unmapped: UnmappedTensors
    let file: String
    /// Whether names are only checked against the canonical ones.
    var isIdentity = false

    private var result = MappedTable()
    private var places: [TensorName: TensorName] = [:]
    private var gathered: [GroupKey: Group] = [:]
    private var order: [GroupKey] = []
    private let shapes: [String: [SizeExpression]]
    private let index: NameIndex

    /// The most tensors that splitting makes, so that no claim about empty ones fills the memory.
    private static let countLimit: UInt64 = 1 << 18

    /// Parts of one whole: a rule and the numbers that the whole's name has.
    private struct GroupKey: Hashable {
        var rule: Int
        var bindings: Bindings
    }

    /// The parts that were found, where in the table the first of them stands among those made.
    private struct Group {
        var place: Int
        var parts: [(name: Int, bindings: Bindings, tensor: TensorRecord)]
    }

    init(
        map: ArchitectureMap, scheme: NamingScheme, toOurs: Bool, dimensions: Dimensions,
        unmapped: UnmappedTensors, file: String
    ) {
        self.map = map
        self.scheme = scheme
        self.toOurs = toOurs
        self.dimensions = dimensions
        self.unmapped = unmapped
        self.file = file
        shapes = Dictionary(map.tensors.map { ($0.pattern.text, $0.shape) }) { first, _ in first }
        index = NameIndex(map, scheme, toOurs: toOurs)
    }

    /// Maps a whole table.
    mutating func map(_ tensors: some Sequence<TensorRecord>) throws(CheckpointError) -> MappedTable {
        var leftover: [TensorName] = []
        for tensor in tensors {
            if isIdentity {
                if try !check(tensor) { leftover.append(tensor.name) }
            } else if let (rule, name, bindings) = index.find(tensor.name, dimensions) {
                try add(tensor, rule, name, bindings)
            } else if index.ignores(tensor.name) {
                result.ignored.append(tensor.name)
            } else {
                leftover.append(tensor.name)
                if unmapped == .kept { try emit(tensor.name, tensor, from: tensor.name) }
            }
        }
        guard leftover.isEmpty || unmapped != .refused else {
            throw CheckpointError(
                .unsupported, "unmapped-tensors",
                "the map \(map.name) says nothing about \(leftover.count) of its tensors: "
                    + ArchitectureMap.list(leftover), file: file, tensor: leftover[0])
        }
        result.unmapped = leftover
        try finishGroups()
        return result
    }

    /// Whether a tensor is canonical or carries no weights.
    private mutating func check(_ tensor: TensorRecord) throws(CheckpointError) -> Bool {
        if let (canonical, name) = index.canonical(tensor.name, dimensions) {
            try checkShape(tensor.shape, map.tensors[canonical].pattern.text, of: tensor.name)
            try emit(name, tensor, from: tensor.name)
        } else if index.ignores(tensor.name) {
            result.ignored.append(tensor.name)
        } else {
            if unmapped == .kept { try emit(tensor.name, tensor, from: tensor.name) }
            return false
        }
        return true
    }

    private mutating func add(
        _ tensor: TensorRecord, _ rule: Int, _ name: Int, _ bindings: Bindings
    ) throws(CheckpointError) {
        let line = scheme.rules[rule]
        if !toOurs { try checkShape(tensor.shape, line.ours[name].text, of: tensor.name) }
        guard line.parts != nil else {
            var made = try operate(line, try expression(tensor), 0, of: tensor.name)
            if toOurs {
                made = try withoutPadding(line, made, of: tensor.name)
                try checkShape(made.shape, line.ours[0].text, of: tensor.name)
            }
            let target = toOurs ? line.ours[0] : line.theirs[0]
            return try emit(target.name(bindings), made, from: tensor.name)
        }
        guard (line.parts == .theirs) == toOurs else { return try split(tensor, line, bindings) }
        let key = GroupKey(rule: rule, bindings: bindings.without(line.stacked))
        if gathered[key] == nil {
            order.append(key)
            gathered[key] = Group(place: result.tensors.count, parts: [])
        }
        gathered[key]?.parts.append((name, bindings, tensor))
    }
}

// MARK: - Results

extension TableMapper {
    private mutating func emit(
        _ name: TensorName, _ tensor: TensorRecord, from source: TensorName
    ) throws(CheckpointError) {
        try claim(name, for: source)
        var tensor = tensor
        tensor.name = name
        result.tensors.append(tensor)
    }

    private mutating func emit(
        _ name: TensorName, _ tensor: TensorExpression, from source: TensorName
    ) throws(CheckpointError) {
        try claim(name, for: source)
        result.tensors.append(TensorRecord(name: name, tensor))
    }

    private mutating func claim(_ name: TensorName, for source: TensorName) throws(CheckpointError) {
        if let other = places.updateValue(source, forKey: name) {
            throw CheckpointError(
                .malformed, "mapped-twice", "\(other) and this both are \(name)", file: file, tensor: source)
        }
    }

    private func expression(_ tensor: TensorRecord) throws(CheckpointError) -> TensorExpression {
        try fitting(tensor.name) { () throws(ExpressionError) in try tensor.expression }
    }

    private func fitting<T>(
        _ name: TensorName, _ body: () throws(ExpressionError) -> T
    ) throws(CheckpointError) -> T {
        do { return try body() } catch {
            throw CheckpointError(
                .malformed, "shape-mismatch", error.description, file: file, tensor: name)
        }
    }

    private func unknown(_ what: String, _ name: TensorName) -> CheckpointError {
        CheckpointError(
            .unsupported, "dimension-unknown",
            "\(what) is not known, which the layout of the tensor depends on: the config must say it",
            file: file, tensor: name)
    }

    private func checkShape(
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

    private func operate(
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
    private func withoutPadding(
        _ rule: MapRule, _ tensor: TensorExpression, of name: TensorName
    ) throws(CheckpointError) -> TensorExpression {
        guard rule.settings.isPadded, let rows = shapes[rule.ours[0].text]?.first?.value(dimensions),
            let own = tensor.shape.first, own > rows
        else { return tensor }
        return try fitting(name) { () throws(ExpressionError) in try tensor.sliced(axis: 0, 0..<rows) }
    }
}

// MARK: - Parts

extension TableMapper {
    /// The parts of a whole.
    private mutating func split(
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
    private mutating func finishGroups() throws(CheckpointError) {
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
