internal import Checkpoints
internal import TensorCore

/// A value on the stack of a ``PickleMachine``: a plain number, or the place of something in its heap.
///
/// Holds no references, so that values of any depth and with any cycles cost nothing to copy or to drop.
/// Equal text is the same value; other things in the heap are equal where they are one and the same.
enum PickleValue: Hashable {
    case none
    case boolean(Bool)
    case integer(Int64)
    /// An integer beyond 64 bits, which nothing here needs the value of.
    case bigInteger
    case float(Double)
    case string(Int32)
    case bytes(Int32)
    case tuple(Int32)
    case list(Int32)
    case set(Int32)
    case dictionary(Int32)
    case global(Int32)
    case call(Int32)
    case persistent(Int32)
}

/// A dictionary in order of insertion, with the attributes that a BUILD gave it.
struct PickleDictionary {
    private(set) var keys: [PickleValue] = []
    private(set) var values: [PickleValue] = []
    /// The places of the keys, where there are more than a few.
    private var index: [PickleValue: Int32] = [:]
    private static var fewKeys: Int { 8 }
    var attributes: PickleValue = .none

    /// Adds a pair, or returns false where the key is there already.
    mutating func insert(_ value: PickleValue, forKey key: PickleValue) -> Bool {
        if keys.count < Self.fewKeys {
            guard !keys.contains(key) else { return false }
        } else {
            if index.isEmpty { for (place, key) in keys.enumerated() { index[key] = Int32(place) } }
            guard index.updateValue(Int32(keys.count), forKey: key) == nil else { return false }
        }
        keys.append(key)
        values.append(value)
        return true
    }

    subscript(key: PickleValue) -> PickleValue? {
        let place = index.isEmpty ? keys.firstIndex(of: key) : index[key].map(Int.init)
        return place.map { values[$0] }
    }
}

/// A call that the file asks for and that is never made: what, with what, and the state for the result.
struct PickleCall {
    var global: Int32
    var arguments: Int32
    var state: PickleValue = .none
    /// What is put into the result as into a dictionary or a list, as a value of that kind.
    var items: PickleValue = .none
}

/// Everything that a ``PickleMachine`` made, held by number.
struct PickleHeap {
    private(set) var strings: [[UInt8]] = []
    private var stringIndex: [ByteKey: Int32] = [:]
    private(set) var bytes: [[UInt8]] = []
    private(set) var tuples: [[PickleValue]] = [[]]
    var lists: [[PickleValue]] = []
    var dictionaries: [PickleDictionary] = []
    private(set) var globals: [PickleGlobal] = []
    private var globalIndex: [String: Int32] = [:]
    var calls: [PickleCall] = []
    private(set) var persistents: [PickleValue] = []
    /// The storages that calls bring along in their arguments, by call.
    var nestedStorages: [Int32: NestedStorage] = [:]
    /// What all takes in memory, in units of about 64 bytes; the machine bounds it.
    private(set) var count = 0

    /// Counts values that are added to a list, or pairs to a dictionary.
    mutating func countItems(_ added: Int, inPairs: Bool) { count += inPairs ? 2 * added : (added + 3) / 4 }

    /// The text with these bytes; the same number for the same bytes.
    mutating func string(_ text: [UInt8]) -> PickleValue {
        let number = Int32(strings.count)
        // Hashed once, whether it is known or not.
        let place = { (place: inout Int32) in place }(&stringIndex[ByteKey(text), default: number])
        guard place == number else { return .string(place) }
        strings.append(text)
        count += 2 + text.count / 64
        return .string(number)
    }

    /// The value of a text that was seen, or nil where none like it was.
    func known(_ text: String) -> PickleValue? {
        stringIndex[ByteKey(text)].map(PickleValue.string)
    }

    mutating func bytes(_ data: [UInt8]) -> PickleValue {
        bytes.append(data)
        count += 1 + data.count / 64
        return .bytes(Int32(bytes.count - 1))
    }

    mutating func tuple(_ items: [PickleValue]) -> PickleValue {
        if items.isEmpty { return .tuple(0) }
        tuples.append(items)
        count += 1 + items.count / 4
        return .tuple(Int32(tuples.count - 1))
    }

    private mutating func newList() -> Int32 {
        lists.append([])
        count += 1
        return Int32(lists.count - 1)
    }

    mutating func list() -> PickleValue { .list(newList()) }

    mutating func set() -> PickleValue { .set(newList()) }

    mutating func dictionary() -> PickleValue {
        dictionaries.append(PickleDictionary())
        count += 1
        return .dictionary(Int32(dictionaries.count - 1))
    }

    /// The global with the role that `table` gives it, or nil where the table has none like it.
    mutating func global(module: String, name: String, in table: PickleGlobals) -> PickleValue? {
        let key = module + " " + name
        if let known = globalIndex[key] { return .global(known) }
        guard let role = table.role(module: module, name: name) else { return nil }
        let number = Int32(globals.count)
        globals.append(PickleGlobal(module: module, name: name, role: role))
        globalIndex[key] = number
        count += 1
        return .global(number)
    }

    mutating func call(_ global: Int32, _ arguments: Int32) -> PickleValue {
        calls.append(PickleCall(global: global, arguments: arguments))
        count += 1
        return .call(Int32(calls.count - 1))
    }

    mutating func persistent(_ identifier: PickleValue) -> PickleValue {
        persistents.append(identifier)
        count += 1
        return .persistent(Int32(persistents.count - 1))
    }
}

extension PickleHeap {
    /// The items of a tuple or list, or nil for other values.
    func items(_ value: PickleValue) -> [PickleValue]? {
        switch value {
        case .tuple(let number): tuples[Int(number)]
        case .list(let number): lists[Int(number)]
        default: nil
        }
    }

    /// The bytes of a text, or nil for other values.
    func text(_ value: PickleValue) -> [UInt8]? {
        if case .string(let number) = value { strings[Int(number)] } else { nil }
    }

    /// A global, or nil for other values.
    func global(_ value: PickleValue) -> PickleGlobal? {
        if case .global(let number) = value { globals[Int(number)] } else { nil }
    }

    /// The bytes that a value is, or that a call of `_codecs.encode` would make of text; nil for other values.
    func rawBytes(_ value: PickleValue) -> [UInt8]? {
        switch value {
        case .bytes(let number): return bytes[Int(number)]
        case .call(let number):
            let call = calls[Int(number)]
            let (global, arguments) = (globals[Int(call.global)], arguments(of: call))
            if global.name == "bytes", arguments.isEmpty { return [] }
            guard global.module == "_codecs", global.name == "encode", arguments.count == 2,
                let encoding = text(arguments[1]), ["latin1", "latin-1"].contains(encoding.string),
                let text = text(arguments[0]), let decoded = String(validating: text, as: UTF8.self)
            else { return nil }
            var result: [UInt8] = []
            result.reserveCapacity(text.count)
            for scalar in decoded.unicodeScalars {
                guard let byte = UInt8(exactly: scalar.value) else { return nil }
                result.append(byte)
            }
            return result
        default: return nil
        }
    }

    /// The attributes in an object's state: a dictionary, or the second half of a pair for one that has slots.
    func attributes(_ state: PickleValue) -> PickleDictionary? {
        if case .dictionary(let number) = state { return dictionaries[Int(number)] }
        guard case .tuple = state, let items = items(state), items.count == 2,
            case .dictionary(let slots) = items[1]
        else { return nil }
        return dictionaries[Int(slots)]
    }

    /// The items of a set, also where a call makes one of a list; nil for other values.
    func setItems(_ value: PickleValue) -> [PickleValue]? {
        switch value {
        case .set(let number): return lists[Int(number)]
        case .call(let number):
            let call = calls[Int(number)]
            guard globals[Int(call.global)].name == "set" else { return nil }
            return arguments(of: call).first.map { items($0) ?? [] } ?? []
        default: return nil
        }
    }

    /// The arguments of a call.
    func arguments(of call: PickleCall) -> [PickleValue] { tuples[Int(call.arguments)] }
}

/// A storage whose bytes stand in an archive inside a pickle.
struct NestedStorage {
    var extent: Extent
    var element: TorchElement
}

extension [UInt8] {
    /// The bytes as text; those that are no UTF-8 are replaced.
    var string: String { String(decoding: self, as: UTF8.self) }
}
