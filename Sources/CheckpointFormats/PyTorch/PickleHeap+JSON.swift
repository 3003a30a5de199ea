internal import StrictJSON
internal import TensorCore

/// Pickled values as JSON, for people and for settings: tensors and objects by what they are, never by their bytes.
///
/// Tuples, lists and sets become arrays, dictionaries and the state of objects become objects, a call with one
/// plain argument (an enumeration) that argument, other calls the name of what is called, and integers beyond
/// 64 bits, bytes and numbers that JSON lacks become text.
struct PickleJSON {
    let heap: PickleHeap
    /// The bytes that may still be written, about: shared values count each time, and where they are used up, the
    /// rest is `null`.
    var budget = 1 << 20

    init(_ heap: PickleHeap) { self.heap = heap }

    /// A value as JSON.
    mutating func json(_ value: PickleValue, depth: Int = 0) -> JSONValue {
        budget -= 16
        guard budget >= 0, depth < 100 else { return .null }
        switch value {
        case .none: return .null
        case .boolean(let flag): return .bool(flag)
        case .integer(let number): return .integer(number)
        case .bigInteger: return .string("(an integer beyond 64 bits)")
        case .float(let number): return Self.number(number)
        case .string(let place): return .string(text(heap.strings[Int(place)]))
        case .bytes(let place): return .string("(\(heap.bytes[Int(place)].count) bytes)")
        case .tuple(let place): return array(heap.tuples[Int(place)], depth)
        case .list(let place), .set(let place): return array(heap.lists[Int(place)], depth)
        case .dictionary(let place): return .object(members(of: heap.dictionaries[Int(place)], depth))
        case .global(let place): return .string(heap.globals[Int(place)].qualifiedName)
        case .persistent: return .string("(a storage)")
        case .call(let place): return call(heap.calls[Int(place)], depth)
        }
    }

    /// The items of a dictionary whose keys are text or whole numbers, each key once.
    mutating func members(of dictionary: PickleDictionary, _ depth: Int = 0) -> [JSONMember] {
        var members: [JSONMember] = []
        var seen: Set<ByteKey> = []
        for (key, value) in zip(dictionary.keys, dictionary.values) {
            guard budget > 0 else { break }
            let name =
                switch key {
                case .string(let place): text(heap.strings[Int(place)])
                case .integer(let number): String(number)
                default: "(a key that is neither text nor a whole number)"
                }
            guard seen.insert(ByteKey(Array(name.utf8))).inserted else { continue }
            let isSecret = Self.isSecret(name, heap.text(value))
            members.append(
                .init(
                    key: name,
                    value: isSecret ? .string("<\(name.uppercased())>") : json(value, depth: depth + 1)))
        }
        return members
    }

    /// Whether a value is what nobody should pass on with a model, such as the token of a hub.
    private static func isSecret(_ name: String, _ text: [UInt8]?) -> Bool {
        guard let text, !text.isEmpty else { return false }
        let name = name.lowercased()
        let endings = [
            "hub_token", "auth_token", "access_token", "api_token", "api_key", "apikey", "password", "secret",
            "secret_key", "access_key",
        ]
        return endings.contains { name.hasSuffix($0) } || text.starts(with: "hf_".utf8) && text.count > 30
    }

    private mutating func text(_ bytes: [UInt8]) -> String {
        guard bytes.count <= budget else { return "(a text of \(bytes.count) bytes)" }
        budget -= bytes.count
        return bytes.string
    }

    private static func number(_ value: Double) -> JSONValue {
        value.isFinite ? .number("\(value)") : .string("\(value)")
    }

    private mutating func array(_ items: [PickleValue], _ depth: Int) -> JSONValue {
        var result: [JSONValue] = []
        for item in items {
            guard budget > 0 else { break }
            result.append(json(item, depth: depth + 1))
        }
        return .array(result)
    }

    private mutating func call(_ call: PickleCall, _ depth: Int) -> JSONValue {
        let global = heap.globals[Int(call.global)]
        let arguments = heap.arguments(of: call)
        switch global.role {
        case .tensor: return .string("(a tensor)")
        case .array: return scalar(call) ?? .string("(an array)")
        default: break
        }
        if global.module.hasPrefix("pathlib") {
            let parts = arguments.compactMap { heap.text($0)?.string }
            return .string(text(Array(Self.path(parts).utf8)))
        }
        if let state = heap.attributes(call.state) {
            var result = members(of: state, depth)
            if case .dictionary(let items) = call.items {
                let names = Set(result.map { ByteKey($0.key) })
                result += members(of: heap.dictionaries[Int(items)], depth).filter {
                    !names.contains(ByteKey($0.key))
                }
            }
            return .object(result)
        }
        if call.items != .none { return json(call.items, depth: depth + 1) }
        if ["set", "frozenset"].contains(global.name), let items = arguments.first.flatMap(heap.items) {
            return array(items, depth)
        }
        if arguments.count == 1, let only = arguments.first {
            switch only {
            case .boolean, .integer, .float, .string: return json(only, depth: depth + 1)
            default: break
            }
        }
        guard arguments.count > 1 else { return .string(global.qualifiedName) }
        return .object([
            .init(key: "class", value: .string(global.qualifiedName)),
            .init(key: "arguments", value: array(arguments, depth)),
        ])
    }

    private static func path(_ parts: [String]) -> String {
        guard let first = parts.first else { return "." }
        return first == "/" ? "/" + parts.dropFirst().joined(separator: "/") : parts.joined(separator: "/")
    }

    /// The number that a NumPy scalar is.
    private func scalar(_ call: PickleCall) -> JSONValue? {
        let arguments = heap.arguments(of: call)
        guard heap.globals[Int(call.global)].name == "scalar", arguments.count == 2,
            let element = NumPyElement(arguments[0], in: heap), let dtype = element.dtype,
            dtype != .c64, var bytes = heap.rawBytes(arguments[1]), bytes.count == dtype.byteWidth
        else { return nil }
        if element.isBigEndian { bytes.reverse() }
        var bits: UInt64 = 0
        for byte in bytes.reversed() { bits = bits << 8 | UInt64(byte) }
        switch dtype {
        case .bool: return .bool(bits != 0)
        case .i64: return .integer(Int64(bitPattern: bits))
        case .u64: return .integer(bits)
        default:
            var values = [Double(0)]
            var span = values.mutableSpan
            ElementCodec.decode(bytes.span.bytesView, dtype, into: &span)
            return values[0] == values[0].rounded() && !dtype.isFloatingPoint && abs(values[0]) < 1e15
                ? .integer(Int64(values[0])) : Self.number(values[0])
        }
    }
}

extension DType {
    fileprivate var isFloatingPoint: Bool {
        switch self {
        case .u8, .i8, .u16, .i16, .u32, .i32, .bool: false
        default: true
        }
    }
}

extension PickleHeap {
    /// A value as JSON, by ``PickleJSON``, and what is left of a budget.
    func json(_ value: PickleValue, budget: inout Int) -> JSONValue {
        var writer = PickleJSON(self)
        writer.budget = budget
        defer { budget = max(0, writer.budget) }
        return writer.json(value)
    }
}
