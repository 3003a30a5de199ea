/// Pickles written opcode by opcode, as no library writes them.
struct PickleAssembler {
    var bytes: [UInt8] = [0x80, 4]
    /// A number that pickles which count what they keep use by hand.
    var lastMemo: UInt8 = 0

    init() {}

    init(protocol version: UInt8) { bytes = [0x80, version] }

    /// The pickle with its STOP.
    var finished: [UInt8] { bytes + [0x2E] }

    mutating func op(_ opcode: UInt8, _ operand: [UInt8] = []) { bytes += [opcode] + operand }
    mutating func text(_ text: String) { op(0x58, Self.little(UInt32(text.utf8.count)) + Array(text.utf8)) }
    mutating func data(_ data: [UInt8]) { op(0x42, Self.little(UInt32(data.count)) + data) }
    mutating func integer(_ value: Int64) { op(0x8A, [8] + Self.little(UInt64(bitPattern: value))) }
    mutating func global(_ module: String, _ name: String) {
        op(0x63, Array("\(module)\n\(name)\n".utf8))
    }
    mutating func mark() { op(0x28) }
    mutating func tuple() { op(0x74) }
    mutating func emptyTuple() { op(0x29) }
    mutating func emptyDictionary() { op(0x7D) }
    mutating func reduce() { op(0x52) }
    mutating func build() { op(0x62) }

    /// A call with these texts.
    mutating func call(_ module: String, _ name: String, _ arguments: String...) {
        global(module, name)
        mark()
        for argument in arguments { text(argument) }
        tuple()
        reduce()
    }

    /// A storage's persistent id and the reference to it.
    mutating func storage(_ key: String, count: Int64, class name: String = "FloatStorage") {
        mark()
        text("storage")
        global("torch", name)
        text(key)
        text("cpu")
        integer(count)
        tuple()
        op(0x51)
    }

    /// A tensor of a storage.
    mutating func tensor(_ key: String, count: Int64, shape: [Int64], strides: [Int64], offset: Int64 = 0) {
        global("torch._utils", "_rebuild_tensor_v2")
        mark()
        storage(key, count: count)
        integer(offset)
        integers(shape)
        integers(strides)
        op(0x89)
        emptyDictionary()
        tuple()
        reduce()
    }

    mutating func integers(_ values: [Int64]) {
        mark()
        for value in values { integer(value) }
        tuple()
    }

    private static func little<T: FixedWidthInteger>(_ value: T) -> [UInt8] {
        (0..<MemoryLayout<T>.size).map { UInt8(truncatingIfNeeded: value >> T($0 * 8)) }
    }
}

/// An archive in an archive.
enum NestedStorages {
    /// A storage of two floats as files before 1.6 hold one.
    static func archive() throws -> [UInt8] {
        let magic: [UInt8] = [
            0x80, 2, 0x8A, 0x0A, 0x6C, 0xFC, 0x9C, 0x46, 0xF9, 0x20, 0x6A, 0xA8, 0x50, 0x19, 0x2E,
        ]
        var version = PickleAssembler(protocol: 2)
        version.integer(1001)
        var info = PickleAssembler(protocol: 2)
        info.emptyDictionary()
        var value = PickleAssembler(protocol: 2)
        value.storage("0", count: 2)
        var keys = PickleAssembler(protocol: 2)
        keys.op(0x5D)
        keys.text("0")
        keys.op(0x61)
        let data: [UInt8] = [2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 128, 63, 0, 0, 0, 64]
        return magic + version.finished + info.finished + value.finished + keys.finished + data
    }
}
