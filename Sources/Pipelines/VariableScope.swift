/// The variables of a pipeline: `${name}` for those that it declares, `${env.NAME}` for the environment's, `$${` for
/// `${` itself.
struct VariableScope {
    private let given: [String: String]
    private let environment: (String) -> String?
    /// What is declared; nil where the file gives no value.
    private var values: [String: String?] = [:]

    init(given: [String: String], environment: @escaping (String) -> String?) {
        self.given = given
        self.environment = environment
    }

    /// Takes the `vars` of a file; each may use those before it.
    mutating func declare(_ node: YAMLNode) throws(PipelineError) {
        guard case .mapping(let entries) = node.value else {
            throw PipelineError("vars are names with values", at: node.place)
        }
        for entry in entries {
            guard Self.isName(entry.key) else {
                throw PipelineError(
                    "the name of a variable is letters, digits, - and _, not \(entry.key)", at: entry.place)
            }
            switch entry.value.value {
            case .empty: values[entry.key] = .some(given[entry.key])
            case .scalar(let text, _):
                let value: String
                if let own = given[entry.key] {
                    value = own
                } else {
                    value = try replace(in: text, at: entry.value.place)
                }
                values[entry.key] = value
            case .sequence, .mapping:
                throw PipelineError("the value of a variable is text", at: entry.value.place)
            }
        }
    }

    /// Refuses values for variables that are not declared.
    func checkGiven(at place: TextPlace) throws(PipelineError) {
        for name in given.keys.sorted() where values[name] == nil {
            throw PipelineError("a value was given for \(name), which vars does not declare", at: place)
        }
    }

    /// The text with variables replaced.
    func replace(in text: String, at place: TextPlace) throws(PipelineError) -> String {
        var result: [UInt8] = []
        var rest = Array(text.utf8)[...]
        while let byte = rest.first {
            if rest.starts(with: Array("$${".utf8)) {
                result += Array("${".utf8)
                rest = rest.dropFirst(3)
            } else if rest.starts(with: Array("${".utf8)) {
                guard let end = rest.firstIndex(of: UInt8(ascii: "}")) else {
                    throw PipelineError("${ is never closed; $${ stands for the characters", at: place)
                }
                let name = String(decoding: rest[(rest.startIndex + 2)..<end], as: UTF8.self)
                result += Array(try value(of: name, at: place).utf8)
                rest = rest[(end + 1)...]
            } else {
                result.append(byte)
                rest = rest.dropFirst()
            }
        }
        return String(decoding: result, as: UTF8.self)
    }

    private func value(of name: String, at place: TextPlace) throws(PipelineError) -> String {
        if name.hasPrefix("env.") {
            guard let value = environment(String(name.dropFirst(4))) else {
                throw PipelineError("the environment has no \(name.dropFirst(4))", at: place)
            }
            return value
        }
        guard let declared = values[name] else {
            let known = values.keys.sorted().joined(separator: ", ")
            throw PipelineError(
                "there is no variable \(name)"
                    + (known.isEmpty ? ": declare it under vars" : "; there are \(known)"),
                at: place)
        }
        guard let value = declared else {
            throw PipelineError("\(name) has no value: give it with --var \(name)=…", at: place)
        }
        return value
    }

    private static func isName(_ text: String) -> Bool {
        !text.isEmpty
            && text.utf8.allSatisfy {
                0x30...0x39 ~= $0 || 0x41...0x5A ~= $0 || 0x61...0x7A ~= $0 || $0 == 0x5F || $0 == 0x2D
            }
    }
}
