internal import Checkpoints

/// What each opcode does.
extension PickleMachine {
    mutating func perform(_ opcode: PickleOpcode) throws(CheckpointError) {
        switch opcode {
        case .stop: break
        case .proto: try checkProtocol()
        case .frame: _ = try take(8)
        case .mark: try pushMark()
        case .pop: try performPop()
        case .popMark: _ = try popToMark()
        case .dup: push(try top())
        case .put, .binPut, .longBinPut, .memoize, .get, .binGet, .longBinGet: try performMemo(opcode)
        case .none, .newTrue, .newFalse, .int, .binInt, .binInt1, .binInt2, .long, .long1, .long4, .float,
            .binFloat:
            push(try number(opcode))
        case .string, .binString, .shortBinString, .unicode, .binUnicode, .shortBinUnicode, .binUnicode8,
            .binBytes, .shortBinBytes, .binBytes8:
            push(try text(opcode))
        case .emptyTuple, .tuple, .tuple1, .tuple2, .tuple3, .emptyList, .list, .emptyDict, .dict, .emptySet,
            .frozenSet:
            push(try container(opcode))
        case .append, .appends, .setItem, .setItems, .addItems: try fill(opcode)
        case .global, .stackGlobal, .inst: try pushGlobal(opcode)
        case .reduce, .newObject: push(try call())
        case .build: try build()
        case .binPersID: push(try persistent(pop()))
        case .persID, .object, .newObjectEx, .ext1, .ext2, .ext4:
            throw failure(
                .unsafe, "refused-opcode",
                "the file asks Python to make an object in a way that plain weights never use "
                    + "(\(opcode)); nothing was run")
        case .byteArray8, .nextBuffer, .readOnlyBuffer:
            throw failure(.unsupported, "refused-opcode", "the pickle uses \(opcode), which is not supported")
        }
    }

    private mutating func checkProtocol() throws(CheckpointError) {
        let version = try readByte()
        guard version <= 5 else {
            throw failure(
                .unsupported, "pickle-protocol", "pickle protocol \(version) is newer than 5, the last known")
        }
    }

    /// POP takes a mark where one is on top.
    private mutating func performPop() throws(CheckpointError) {
        if marks.last == stack.count { marks.removeLast() } else { _ = try pop() }
    }

    private mutating func performMemo(_ opcode: PickleOpcode) throws(CheckpointError) {
        switch opcode {
        case .memoize: try memoize(top(), at: memo.count)
        case .put: try memoize(top(), at: memoNumber(readLine()))
        case .binPut: try memoize(top(), at: Int(readByte()))
        case .longBinPut: try memoize(top(), at: Int(readInteger(UInt32.self)))
        case .get: try pushMemo(memoNumber(readLine()))
        case .binGet: try pushMemo(Int(readByte()))
        default: try pushMemo(Int(readInteger(UInt32.self)))
        }
    }

    private func memoNumber(_ line: ArraySlice<UInt8>) throws(CheckpointError) -> Int {
        guard let number = Int(String(decoding: line, as: UTF8.self)), number >= 0 else {
            throw wrongOperand("a memo number is not a number")
        }
        return number
    }

    private mutating func container(_ opcode: PickleOpcode) throws(CheckpointError) -> PickleValue {
        switch opcode {
        case .emptyTuple: return heap.tuple([])
        case .tuple: return heap.tuple(try popToMark())
        case .tuple1: return heap.tuple([try pop()])
        case .tuple2, .tuple3:
            var items = [try pop(), try pop()]
            if opcode == .tuple3 { items.append(try pop()) }
            return heap.tuple(items.reversed())
        case .emptyList: return heap.list()
        case .emptySet: return heap.set()
        case .emptyDict: return heap.dictionary()
        case .list, .frozenSet:
            let items = try popToMark()
            let value = opcode == .list ? heap.list() : heap.set()
            try append(items, to: value)
            return value
        default:
            let items = try popToMark()
            let value = heap.dictionary()
            try insert(items, into: value)
            return value
        }
    }

    private mutating func fill(_ opcode: PickleOpcode) throws(CheckpointError) {
        switch opcode {
        case .append:
            let item = try pop()
            try append([item], to: top())
        case .setItem:
            let value = try pop()
            let key = try pop()
            try insert([key, value], into: top())
        case .setItems:
            let items = try popToMark()
            try insert(items, into: top())
        default:
            let items = try popToMark()
            guard case .set = try top() else {
                try append(items, to: top())
                return
            }
            try append(items, to: top())
        }
    }

    private mutating func append(_ items: [PickleValue], to value: PickleValue) throws(CheckpointError) {
        heap.countItems(items.count, inPairs: false)
        switch value {
        case .list(let number), .set(let number): heap.lists[Int(number)] += items
        case .call(let number) where isRecord(number):
            if heap.calls[Int(number)].items == .none { heap.calls[Int(number)].items = heap.list() }
            guard case .list(let list) = heap.calls[Int(number)].items else {
                throw wrongOperand("an object is a list and a dictionary")
            }
            heap.lists[Int(list)] += items
        default: throw wrongOperand("it appends to something that is not a list")
        }
    }

    /// Inserts keys and values that stand in turn.
    mutating func insert(_ items: [PickleValue], into value: PickleValue) throws(CheckpointError) {
        guard let number = try dictionaryNumber(of: value) else {
            throw wrongOperand("it sets an item of something that is not a dictionary")
        }
        heap.countItems(items.count / 2, inPairs: true)
        guard items.count % 2 == 0 else { throw wrongOperand("a key has no value") }
        for index in stride(from: 0, to: items.count, by: 2) {
            let key = items[index]
            switch key {
            case .list, .set, .dictionary: throw wrongOperand("a key is a container")
            default: break
            }
            guard heap.dictionaries[Int(number)].insert(items[index + 1], forKey: key) else {
                let name = heap.text(key).map { escaped($0) } ?? "\(key)"
                throw malformed("duplicate-name", "a dictionary has the key '\(name)' twice")
            }
        }
    }

    /// Whether a call makes an object that is kept as a record.
    private func isRecord(_ call: Int32) -> Bool {
        switch heap.globals[Int(heap.calls[Int(call)].global)].role {
        case .record, .opaque: true
        default: false
        }
    }

    /// The dictionary that a value is, or that an object of a class of its own keeps its items in.
    private mutating func dictionaryNumber(of value: PickleValue) throws(CheckpointError) -> Int32? {
        switch value {
        case .dictionary(let number): return number
        case .call(let number) where isRecord(number):
            if heap.calls[Int(number)].items == .none { heap.calls[Int(number)].items = heap.dictionary() }
            guard case .dictionary(let items) = heap.calls[Int(number)].items else {
                throw wrongOperand("an object is a list and a dictionary")
            }
            return items
        default: return nil
        }
    }
}
