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

    var result = MappedTable()
    var places: [TensorName: TensorName] = [:]
    var gathered: [GroupKey: Group] = [:]
    var order: [GroupKey] = []
    let shapes: [String: [SizeExpression]]
    let index: NameIndex

    /// The most tensors that splitting makes, so that no claim about empty ones fills the memory.
    static let countLimit: UInt64 = 1 << 18

    /// Parts of one whole: a rule and the numbers that the whole's name has.
    struct GroupKey: Hashable {
        var rule: Int
        var bindings: Bindings
    }

    /// The parts that were found, where in the table the first of them stands among those made.
    struct Group {
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
