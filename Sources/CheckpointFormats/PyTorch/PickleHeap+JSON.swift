internal import StrictJSON

/// Pickled values as JSON, for people and for settings: tensors and objects by what they are, never by their bytes.
extension PickleHeap {
    /// A value as JSON.
    ///
    /// Tuples, lists and sets become arrays, dictionaries and the state of objects become objects, a call with one
    /// plain argument (an enumeration) that argument, other calls the name of what is called, and integers beyond
    /// 64 bits, bytes and numbers that JSON lacks become text.
    ///
    /// - Parameters:
    ///   - value: the value.
    ///   - budget: the most values to write, taken down by each; shared values count each time. Where it is used up,
    ///     the rest is `null`.
    func json(_ value: PickleValue, budget: inout Int, depth: Int = 0) -> JSONValue {
        budget -= 1
        guard budget >= 0, depth < 100 else { return .null }
        switch value {
        case .none: return .null
        case .boolean(let flag): return .bool(flag)
        case .integer(let number): return .integer(number)
        case .bigInteger: return .string("(an integer beyond 64 bits)")
        case .float(let number):
            return number.isFinite ? .number("\(number)") : .string("\(number)")
        case .string(let place): return .string(String(decoding: strings[Int(place)], as: UTF8.self))
        case .bytes(let place): return .string("(\(bytes[Int(place)].count) bytes)")
        case .tuple(let place): return array(tuples[Int(place)], &budget, depth)
        case .list(let place), .set(let place): return array(lists[Int(place)], &budget, depth)
        case .dictionary(let place): return object(dictionaries[Int(place)], &budget, depth)
        case .global(let place): return .string(globals[Int(place)].qualifiedName)
        case .persistent: return .string("(a storage)")
        case .call(let place): return self.json(calls[Int(place)], &budget, depth)
        }
    }

    private func array(_ items: [PickleValue], _ budget: inout Int, _ depth: Int) -> JSONValue {
        var result: [JSONValue] = []
        for item in items where budget > 0 { result.append(json(item, budget: &budget, depth: depth + 1)) }
        return .array(result)
    }

    private func object(_ dictionary: PickleDictionary, _ budget: inout Int, _ depth: Int) -> JSONValue {
        var members: [JSONMember] = []
        for (key, value) in zip(dictionary.keys, dictionary.values) where budget > 0 {
            let text =
                switch key {
                case .string(let place): String(decoding: strings[Int(place)], as: UTF8.self)
                case .integer(let number): String(number)
                default: "(a key that is neither text nor a whole number)"
                }
            members.append(.init(key: text, value: json(value, budget: &budget, depth: depth + 1)))
        }
        return .object(members)
    }

    private func json(_ call: PickleCall, _ budget: inout Int, _ depth: Int) -> JSONValue {
        let global = globals[Int(call.global)]
        if case .tensor = global.role { return .string("(a tensor)") }
        if case .dictionary(let state) = call.state {
            return object(dictionaries[Int(state)], &budget, depth)
        }
        let arguments = arguments(of: call)
        if arguments.count == 1, let only = arguments.first {
            switch only {
            case .boolean, .integer, .float, .string: return json(only, budget: &budget, depth: depth + 1)
            default: break
            }
        }
        return .string(global.qualifiedName)
    }
}
