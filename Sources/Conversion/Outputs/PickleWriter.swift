internal import Checkpoints
internal import TensorCore

/// Writes a state dict as PyTorch pickles one, by protocol 2.
struct PickleWriter {
    private(set) var bytes: [UInt8] = [0x80, 2]
    /// What is written once and then referred to.
    private var memo: [Word: Int] = [:]

    private enum Word: Hashable {
        case text(String)
        case global(String, String)
    }

    /// Entries that are set at once, as in Python.
    private static let batch = 1000

    /// Writes the dict: each name with the tensor that it stands for.
    init(_ entries: [(name: TensorName, tensor: PickledTensor)]) {
        emptyDict()
        for start in stride(from: 0, to: entries.count, by: Self.batch) {
            bytes.append(0x28)  // MARK
            for entry in entries[start..<min(entries.count, start + Self.batch)] {
                text(entry.name.utf8)
                tensor(entry.tensor)
            }
            bytes.append(0x75)  // SETITEMS
        }
        bytes.append(0x2E)  // STOP
    }

    private mutating func emptyDict() {
        global("collections", "OrderedDict")
        bytes += [0x29, 0x52]  // EMPTY_TUPLE REDUCE
    }

    private mutating func tensor(_ tensor: PickledTensor) {
        global("torch._utils", tensor.element.isTyped ? "_rebuild_tensor_v2" : "_rebuild_tensor_v3")
        bytes += [0x28, 0x28]  // MARK MARK
        word("storage")
        global(tensor.element.isTyped ? "torch" : "torch.storage", tensor.element.storage)
        text(Array(String(tensor.storage).utf8))
        word("cpu")
        number(tensor.element.isTyped ? tensor.elementCount : tensor.byteCount)
        bytes += [0x74, 0x51]  // TUPLE BINPERSID
        number(0)
        numbers(tensor.shape)
        numbers(tensor.strides)
        bytes.append(0x89)  // NEWFALSE
        emptyDict()
        if !tensor.element.isTyped { global("torch", tensor.element.name) }
        bytes += [0x74, 0x52]  // TUPLE REDUCE
    }

    private mutating func numbers(_ values: [UInt64]) {
        if values.isEmpty { return bytes.append(0x29) }
        if values.count > 3 { bytes.append(0x28) }
        for value in values { number(value) }
        bytes.append(values.count > 3 ? 0x74 : 0x84 + UInt8(values.count))  // TUPLE, TUPLE1 to 3
    }

    private mutating func number(_ value: UInt64) {
        if value < 1 << 8 {
            bytes += [0x4B, UInt8(value)]  // BININT1
        } else if value < 1 << 16 {
            bytes += [0x4D] + LittleEndian(UInt16(value)).bytes  // BININT2
        } else if value < 1 << 31 {
            bytes += [0x4A] + LittleEndian(UInt32(value)).bytes  // BININT
        } else {
            // LONG1: two's complement, no byte more than its sign needs.
            let count = (64 - value.leadingZeroBitCount) / 8 + 1
            bytes += [0x8A, UInt8(count)] + (LittleEndian(value).bytes + [0]).prefix(count)
        }
    }

    private mutating func text(_ utf8: [UInt8]) {
        bytes += [0x58] + LittleEndian(UInt32(utf8.count)).bytes + utf8  // BINUNICODE
    }

    private mutating func word(_ text: String) {
        if get(.text(text)) { return }
        self.text(Array(text.utf8))
        put(.text(text))
    }

    private mutating func global(_ module: String, _ name: String) {
        if get(.global(module, name)) { return }
        bytes += [0x63] + Array("\(module)\n\(name)\n".utf8)  // GLOBAL
        put(.global(module, name))
    }

    private mutating func get(_ word: Word) -> Bool {
        guard let place = memo[word] else { return false }
        bytes += [0x68, UInt8(place)]  // BINGET
        return true
    }

    private mutating func put(_ word: Word) {
        bytes += [0x71, UInt8(memo.count)]  // BINPUT: there are never more than 256
        memo[word] = memo.count
    }
}
