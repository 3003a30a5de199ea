internal import StrictJSON
internal import TensorCore

/// Why a file of rules cannot be used.
public struct LoaderRulesError: Error, Sendable, CustomStringConvertible {
    /// The file.
    public var file: String
    /// What is wrong and where in the document, as a phrase without a full stop.
    public var message: String

    /// The file and the message in one line, safe to print.
    public var description: String { "\(escapedForDisplay(file)): \(message)" }
}

/// Takes the members of an object one by one and refuses what is left over.
struct RuleReader {
    private let file: String
    /// Where the object is, such as `rules[2].test`.
    private let place: String
    private var members: [JSONMember]

    init(parsing document: [UInt8], file: String) throws(LoaderRulesError) {
        let root: JSONValue
        do {
            root = try JSONValue(parsing: document, maximumDepth: 16)
        } catch {
            throw LoaderRulesError(file: file, message: "byte \(error.offset): \(error.message)")
        }
        try self.init(root, file: file, place: "")
    }

    private init(_ value: JSONValue, file: String, place: String) throws(LoaderRulesError) {
        self.file = file
        self.place = place
        guard let members = value.members else {
            throw LoaderRulesError(
                file: file, message: "\(place.isEmpty ? "the document" : place) is not an object")
        }
        self.members = members
    }

    func error(_ message: String) -> LoaderRulesError {
        LoaderRulesError(file: file, message: place.isEmpty ? message : "\(place): \(message)")
    }

    /// Throws where a member was not taken.
    func finish() throws(LoaderRulesError) {
        guard let left = members.first else { return }
        throw error("there is no member \"\(escapedForDisplay(left.key))\" here")
    }

    private mutating func take(_ key: String) -> JSONValue? {
        guard let index = members.firstIndex(where: { $0.key == key }) else { return nil }
        return members.remove(at: index).value
    }

    private mutating func optional<T>(
        _ key: String, _ what: String, _ read: (JSONValue) -> T?
    ) throws(LoaderRulesError) -> T? {
        guard let value = take(key) else { return nil }
        guard let result = read(value) else { throw error("\(key) is not \(what)") }
        return result
    }

    private mutating func required<T>(_ key: String, _ value: T?) throws(LoaderRulesError) -> T {
        guard let value else { throw error("\(key) is missing") }
        return value
    }
}

extension RuleReader {
    mutating func optionalString(_ key: String) throws(LoaderRulesError) -> String? {
        try optional(key, "a string", \.string)
    }

    mutating func string(_ key: String) throws(LoaderRulesError) -> String {
        try required(key, try optionalString(key))
    }

    mutating func optionalBool(_ key: String) throws(LoaderRulesError) -> Bool? {
        try optional(key, "true or false", \.bool)
    }

    mutating func optionalInteger(_ key: String) throws(LoaderRulesError) -> UInt64? {
        try optional(key, "a whole number", \.uint64)
    }

    mutating func integer(_ key: String) throws(LoaderRulesError) -> UInt64 {
        try required(key, try optionalInteger(key))
    }

    mutating func optionalStrings(_ key: String) throws(LoaderRulesError) -> [String]? {
        try optional(key, "an array of strings") { value in
            guard let elements = value.elements else { return nil }
            let texts = elements.compactMap(\.string)
            return texts.count == elements.count ? texts : nil
        }
    }

    mutating func strings(_ key: String) throws(LoaderRulesError) -> [String] {
        try required(key, try optionalStrings(key))
    }

    mutating func dtypes(_ key: String) throws(LoaderRulesError) -> Set<String> {
        let names = try strings(key)
        for name in names where DType(name: name) == nil {
            throw error("there is no dtype \"\(escapedForDisplay(name))\"")
        }
        return Set(names)
    }

    mutating func value<T: RawRepresentable & CaseIterable>(
        _ key: String, of type: T.Type
    ) throws(LoaderRulesError) -> T where T.RawValue == String {
        guard let value = T(rawValue: try string(key)) else {
            throw error("\(key) is not one of \(T.allCases.map(\.rawValue).joined(separator: ", "))")
        }
        return value
    }

    mutating func optionalObject(_ key: String) throws(LoaderRulesError) -> RuleReader? {
        guard let value = take(key) else { return nil }
        return try RuleReader(value, file: file, place: place.isEmpty ? key : "\(place).\(key)")
    }

    mutating func object(_ key: String) throws(LoaderRulesError) -> RuleReader {
        try required(key, try optionalObject(key))
    }

    mutating func objects(_ key: String) throws(LoaderRulesError) -> [RuleReader] {
        let values = try required(key, try optional(key, "an array", \.elements))
        var readers: [RuleReader] = []
        for (index, value) in values.enumerated() {
            readers.append(try RuleReader(value, file: file, place: "\(key)[\(index)]"))
        }
        return readers
    }
}
