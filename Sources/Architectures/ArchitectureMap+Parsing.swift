internal import Checkpoints
internal import StrictJSON
internal import TensorCore

extension ArchitectureMap {
    /// Reads map files, each of which may build on another.
    static func maps(_ files: [(file: String, text: String)]) throws(CheckpointError) -> [ArchitectureMap] {
        var documents: [(name: String, document: MapDocument)] = []
        for (file, text) in files {
            let json: JSONValue
            do { json = try JSONValue(parsing: Array(text.utf8)) } catch {
                throw CheckpointError(.malformed, "bad-map", error.message, file: file)
            }
            let document = try MapDocument(json, file: file)
            documents.append((document.name, document))
        }
        var result: [ArchitectureMap] = []
        for (_, document) in documents {
            var chain = [document]
            while let base = chain.last?.base {
                guard chain.count < 8, let found = documents.first(where: { $0.name == base })?.document
                else {
                    throw document.bad("extends \"\(base)\", which is not known or extends it")
                }
                chain.append(found)
            }
            var whole = chain.removeLast()
            for document in chain.reversed() { try whole.add(document) }
            result.append(try whole.map())
        }
        return result
    }
}

/// A map file before its rules are checked against its tensors.
private struct MapDocument {
    var name = ""
    var base: String?
    private var modelTypes: [String] = []
    private var ggufArchitectures: [String] = []
    private var hasExperts = false
    private var basePrefix: String?
    private var tensors: [(name: String, shape: String, need: JSONValue?)] = []
    private var removed: [String] = []
    private var dimensions: [(name: String, text: String)] = []
    private var schemes: [(name: String, scheme: NamingScheme, stacked: String?, hasPrefixes: Bool)] = []
    private var removedSchemes: [String] = []
    private let file: String

    func bad(_ message: String) -> CheckpointError {
        CheckpointError(.malformed, "bad-map", message, file: file)
    }

    init(_ json: JSONValue, file: String) throws(CheckpointError) {
        self.file = file
        for member in json.members ?? [] {
            let value = member.value
            switch member.key {
            case "schema":
                guard value.string == "artifact.architecture/v1" else { throw bad("unknown schema") }
            case "title": break
            case "name": name = value.string ?? ""
            case "extends": base = value.string
            case "model_types": modelTypes = value.elements?.compactMap(\.string) ?? []
            case "gguf_architectures": ggufArchitectures = value.elements?.compactMap(\.string) ?? []
            case "experts": hasExperts = value.bool ?? false
            case "dimensions":
                dimensions = (value.members ?? []).map { ($0.key, $0.value.string ?? "") }
            case "tensors", "optional": try addTensors(value, isOptional: member.key == "optional")
            case "schemes": for scheme in value.members ?? [] { try addScheme(scheme) }
            default: throw bad("unknown member \"\(member.key)\"")
            }
        }
        guard !name.isEmpty else { throw bad("there is no name") }
    }

    private mutating func addTensors(_ json: JSONValue, isOptional: Bool) throws(CheckpointError) {
        for tensor in json.members ?? [] {
            for name in MapRule.expand(tensor.key) {
                if tensor.value.isNull {
                    removed.append(name)
                } else if let shape = tensor.value.string ?? tensor.value["shape"]?.string {
                    tensors.append((name, shape, isOptional ? tensor.value : nil))
                } else {
                    throw bad("\(name) has no shape")
                }
            }
        }
    }

    /// When a tensor is needed: always where `json` is nil, else where its `with` is there or its `without` is not.
    private static func need(_ json: JSONValue?) -> ArchitectureMap.Need? {
        guard let json else { return .always }
        if let text = json["with"] { return text.string.flatMap { NamePattern($0) }.map { .with($0) } }
        if let text = json["without"] { return text.string.flatMap { NamePattern($0) }.map { .without($0) } }
        return .never
    }

    private mutating func addScheme(_ member: JSONMember) throws(CheckpointError) {
        if member.value.isNull { return removedSchemes.append(member.key) }
        guard let scheme = NamingScheme(member.value) else {
            throw bad("the scheme \"\(member.key)\" has a rule that is none")
        }
        if member.key == ArchitectureMap.canonicalScheme { basePrefix = member.value["base"]?.string }
        schemes.append(
            (member.key, scheme, member.value["stacked"]?.string, member.value["prefixes"] != nil))
    }

    /// Puts a document that builds on this one over it.
    mutating func add(_ other: MapDocument) throws(CheckpointError) {
        name = other.name
        modelTypes = other.modelTypes
        ggufArchitectures = other.ggufArchitectures
        hasExperts = other.hasExperts
        basePrefix = other.basePrefix ?? basePrefix
        let replaced = Set(other.tensors.map(\.name) + other.removed)
        tensors = tensors.filter { !replaced.contains($0.name) } + other.tensors
        // Later dimensions may need earlier ones, so those of the base keep their places.
        for dimension in other.dimensions {
            if let place = dimensions.firstIndex(where: { $0.name == dimension.name }) {
                dimensions[place] = dimension
            } else {
                dimensions.append(dimension)
            }
        }
        schemes.removeAll { other.removedSchemes.contains($0.name) }
        for (name, scheme, stacked, hasPrefixes) in other.schemes {
            guard let place = schemes.firstIndex(where: { $0.name == name }) else {
                schemes.append((name, scheme, stacked, hasPrefixes))
                continue
            }
            schemes[place].scheme.add(scheme, prefixes: hasPrefixes)
            schemes[place].stacked = stacked ?? schemes[place].stacked
        }
        // Rules for tensors that are no more go with them.
        let names = Set(tensors.map(\.name))
        for place in schemes.indices {
            schemes[place].scheme.rules.removeAll { rule in
                !rule.ours.allSatisfy { names.contains($0.text) }
                    && rule.ours.contains { other.removed.contains($0.text) }
            }
        }
    }

    /// Refuses rules for tensors that there are not, and two for one.
    private func check(_ scheme: NamingScheme, _ name: String, _ names: Set<String>) throws(CheckpointError) {
        var ours: Set<String> = []
        for rule in scheme.rules {
            for tensor in rule.ours.map(\.text) {
                guard names.contains(tensor) else {
                    throw bad("the scheme \"\(name)\" maps to \(tensor), which is no tensor of the map")
                }
                guard rule.settings.isForReading || ours.insert(tensor).inserted else {
                    throw bad("the scheme \"\(name)\" maps to \(tensor) twice")
                }
            }
        }
    }

    /// The map, with everything in it checked.
    func map() throws(CheckpointError) -> ArchitectureMap {
        var canonical: [ArchitectureMap.Tensor] = []
        for tensor in tensors {
            let shape = tensor.shape.split(separator: ",").map { SizeExpression($0) }
            guard let pattern = NamePattern(tensor.name), let need = Self.need(tensor.need),
                !shape.contains(where: { $0 == nil })
            else {
                throw bad("\(tensor.name) or its shape is not understood")
            }
            canonical.append(
                ArchitectureMap.Tensor(pattern: pattern, shape: shape.compactMap { $0 }, need: need))
        }
        let names = Set(tensors.map(\.name))
        guard names.count == tensors.count else { throw bad("a tensor is listed twice") }
        var own: [(name: String, scheme: NamingScheme)] = []
        var hf: NamingScheme?
        for (name, scheme, stacked, _) in schemes {
            var scheme = scheme
            if scheme.keepsOthers { scheme.keepOthers(canonical) }
            try check(scheme, name, names)
            if name == ArchitectureMap.canonicalScheme {
                hf = scheme
                continue
            }
            own.append((name, scheme))
            if let stacked {
                guard let scheme = scheme.stacked(without: stacked) else {
                    throw bad("the scheme \"\(name)\" has a rule whose layers cannot be stacked")
                }
                own.append((name + "-stacked", scheme))
            }
        }
        guard let hf = hf ?? NamingScheme(.object([])) else { throw bad("there is no canonical scheme") }
        return ArchitectureMap(
            name: name, modelTypes: modelTypes, ggufArchitectures: ggufArchitectures, hasExperts: hasExperts,
            tensors: canonical,
            dimensions: dimensions.map { DimensionSource(name: $0.name, $0.text) }, schemes: own,
            base: basePrefix ?? "", canonical: hf)
    }
}
