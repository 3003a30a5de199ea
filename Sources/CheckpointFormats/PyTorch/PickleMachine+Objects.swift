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
        case .nestedArchive: return try nestedArchive(global, arguments)
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

    /// What a persistent id stands for: a storage, the class that whole models are saved with, or a tensor of the
    /// oldest files.
    mutating func persistent(_ identifier: PickleValue) throws(CheckpointError) -> PickleValue {
        if case .tuple = identifier, let items = heap.items(identifier), items.count >= 2 {
            if heap.text(items[0]) == Array("module".utf8), case .global = items[1] { return items[1] }
            if tensors != nil, case .global = items[0] { return items[0] }
        }
        guard let tensors else { return heap.persistent(identifier) }
        let key: Int64? =
            switch identifier {
            case .integer(let number): number
            default: heap.text(identifier).flatMap { Int64($0.string) }
            }
        guard let key, let tensor = tensors[key] else {
            throw malformed("bad-tensor", "it refers to a tensor that the file does not hold")
        }
        return tensor.call(in: &heap)
    }

    /// A call that brings the bytes of an archive: searched for what it asks for, and its storage kept.
    private mutating func nestedArchive(
        _ global: Int32, _ arguments: Int32
    ) throws(CheckpointError) -> PickleValue {
        guard nestingDepth == 0 else {
            throw malformed("nesting-limit", "an archive lies in an archive in an archive")
        }
        guard let first = heap.tuples[Int(arguments)].first, let data = heap.rawBytes(first) else {
            throw wrongOperand("an archive inside is not given as bytes")
        }
        // Bytes may be used again and again, but no honest file holds more than there are.
        nestedByteCount += data.count
        guard nestedByteCount <= bytes.count else {
            throw malformed("pickle-limit", "the pickle repeats its items without end")
        }
        let value = heap.call(global, arguments)
        do {
            let name = "\(file): an archive at byte \(baseOffset + UInt64(opcodeStart)) of its pickle"
            let storage = try LegacyCheckpoint.storage(
                in: data, name: name, file: file, member: member, globals: globals)
            if case .call(let number) = value { heap.nestedStorages[number] = storage }
        } catch {
            // The place in the file is that of the call.
            throw failure(
                error.class, error.code, "in an archive inside this pickle: \(error.message)",
                global: error.global)
        }
        return value
    }
}
