internal import Checkpoints

/// Globals, calls and state: all kept as data.
extension PickleMachine {
    /// Pushes the global that GLOBAL, INST or STACK_GLOBAL names, where the table has it.
    mutating func pushGlobal(_ opcode: PickleOpcode) throws(CheckpointError) {
        let (module, name) = try globalName(opcode)
        guard let value = heap.global(module: module, name: name, in: globals) else {
            let shown = escaped((module + "." + name).utf8)
            throw failure(
                .unsafe, "refused-global",
                refusalMessage(module: escaped(module.utf8), name: escaped(name.utf8)), global: shown)
        }
        guard opcode != .inst else {
            throw failure(
                .unsafe, "refused-opcode",
                "the file asks Python to make an object in a way that plain weights never use (inst); "
                    + "nothing was run")
        }
        push(value)
    }

    private mutating func globalName(_ opcode: PickleOpcode) throws(CheckpointError) -> (String, String) {
        if opcode != .stackGlobal {
            let module = try readLine()
            let name = try readLine()
            return (String(decoding: module, as: UTF8.self), String(decoding: name, as: UTF8.self))
        }
        let name = try pop()
        let module = try pop()
        guard let moduleText = heap.text(module), let nameText = heap.text(name) else {
            throw failure(
                .unsafe, "refused-global",
                "the file computes the name of what Python should use; nothing was run. "
                    + "Do not load this file with PyTorch")
        }
        return (String(decoding: moduleText, as: UTF8.self), String(decoding: nameText, as: UTF8.self))
    }

    /// What REDUCE and NEWOBJ make of a global and arguments.
    mutating func call() throws(CheckpointError) -> PickleValue {
        guard case .tuple(let arguments) = try pop() else {
            throw wrongOperand("the arguments of a call are not a tuple")
        }
        guard case .global(let global) = try pop() else {
            throw failure(
                .unsafe, "refused-opcode",
                "the file asks Python to call something that it computed; nothing was run. "
                    + "Do not load this file with PyTorch")
        }
        let items = heap.tuples[Int(arguments)]
        switch heap.globals[Int(global)].role {
        case .dictionary: return try dictionary(from: items)
        case .size:
            if let first = items.first, case .tuple = first { return first }
            return heap.call(global, arguments)
        default: return heap.call(global, arguments)
        }
    }

    /// A dictionary from no argument, from a dictionary (which stays the same one), or from a list of pairs.
    private mutating func dictionary(from items: [PickleValue]) throws(CheckpointError) -> PickleValue {
        guard let first = items.first else { return heap.dictionary() }
        if case .dictionary = first { return first }
        guard items.count == 1, let pairs = heap.items(first) else {
            throw wrongOperand("a dictionary is made from something else than pairs")
        }
        // A list may be used again and again, but no honest file holds more pairs than bytes.
        listedPairCount += pairs.count
        guard listedPairCount <= bytes.count else {
            throw malformed("pickle-limit", "the pickle repeats its items without end")
        }
        let result = heap.dictionary()
        for pair in pairs {
            guard let items = heap.items(pair), items.count == 2 else {
                throw wrongOperand("a dictionary is made from something else than pairs")
            }
            try insert(items, into: result)
        }
        return result
    }

    /// BUILD: state for an object, or attributes for a dictionary.
    mutating func build() throws(CheckpointError) {
        let state = try pop()
        switch try top() {
        case .dictionary(let number): heap.dictionaries[Int(number)].attributes = state
        case .call(let number): heap.calls[Int(number)].state = state
        default: throw wrongOperand("it gives state to something that is not an object")
        }
    }
}
