internal import Checkpoints
internal import TensorCore

/// Reads a pickle as data: builds what it describes and never looks up, imports or calls anything.
///
/// Globals are names from a fixed table; calls and objects are records of what was asked for. Everything else
/// that a pickle can do is refused. Takes time and memory in proportion to the bytes.
struct PickleMachine {
    let bytes: [UInt8]
    let globals: PickleGlobals
    let limits: PickleLimits
    private let heapLimit: Int
    /// The file and member, for errors.
    let file: String
    let member: String?
    /// Where `bytes` starts in the member, for errors.
    let baseOffset: UInt64

    var heap = PickleHeap()
    /// The next byte to read.
    var position: Int
    /// The opcode that is being carried out, for errors.
    var opcodeStart = 0
    var stack: [PickleValue] = []
    /// The heights of the stack at which marks stand.
    var marks: [Int] = []
    var memo: [PickleValue?] = []
    /// Pairs that calls of dictionary classes were given so far.
    var listedPairCount = 0
    /// The archives in archives around this pickle.
    var nestingDepth = 0
    /// Bytes of the archives in this pickle so far.
    var nestedByteCount = 0
    /// The tensors that persistent ids stand for, in the oldest files.
    var tensors: [Int64: LegacyTensor]?
    /// Whether the bytes ended before the pickle did, so that more of them may help.
    private(set) var ranOut = false

    init(
        _ bytes: [UInt8], at position: Int = 0, file: String, member: String? = nil, baseOffset: UInt64 = 0,
        globals: PickleGlobals = .weights, limits: PickleLimits = PickleLimits()
    ) {
        self.bytes = bytes
        self.position = position
        self.file = file
        self.member = member
        self.baseOffset = baseOffset
        self.globals = globals
        self.limits = limits
        heapLimit = limits.heapCount + bytes.count / limits.byteCountForUnit
    }

    /// Reads one pickle, up to its STOP, and leaves `position` behind it.
    mutating func run() throws(CheckpointError) -> PickleValue {
        var opcodeCount = 0
        while true {
            opcodeStart = position
            opcodeCount += 1
            guard opcodeCount <= limits.opcodeCount, heap.count <= heapLimit,
                stack.count <= limits.stackCount
            else { throw malformed("pickle-limit", "the pickle holds more than any checkpoint needs") }
            let byte = try readByte()
            guard let opcode = PickleOpcode(rawValue: byte) else {
                throw malformed("unknown-opcode", "byte \(hexadecimal(byte)) is not a pickle opcode")
            }
            if opcode == .stop {
                guard stack.count == 1, marks.isEmpty else {
                    throw malformed("stack-not-empty", "the pickle does not end with exactly one value")
                }
                return stack.removeLast()
            }
            try perform(opcode)
        }
    }
}

/// Errors.
extension PickleMachine {
    func failure(
        _ class: CheckpointError.Class, _ code: String, _ message: String, global: String? = nil
    ) -> CheckpointError {
        CheckpointError(
            `class`, code, message, file: file, member: member, global: global,
            offset: baseOffset + UInt64(opcodeStart))
    }

    func malformed(_ code: String, _ message: String) -> CheckpointError {
        failure(.malformed, code, message)
    }

    func wrongOperand(_ what: String) -> CheckpointError {
        malformed("bad-operand", "the pickle is damaged: \(what)")
    }
}

/// Bytes.
extension PickleMachine {
    /// Moves past `count` bytes and returns where they stand.
    mutating func take(_ count: Int) throws(CheckpointError) -> Range<Int> {
        guard count >= 0, count <= bytes.count - position else {
            ranOut = true
            throw malformed("truncated-pickle", "the pickle ends in the middle of a value")
        }
        defer { position += count }
        return position..<position + count
    }

    mutating func readByte() throws(CheckpointError) -> UInt8 { bytes[try take(1).lowerBound] }

    mutating func readInteger<T: FixedWidthInteger & BitwiseCopyable>(
        _: T.Type
    ) throws(CheckpointError) -> T {
        let start = try take(MemoryLayout<T>.size).lowerBound
        return bytes.span.bytesView.load(littleEndian: T.self, at: start)
    }

    /// The bytes of a value whose length comes before it.
    mutating func readCounted<T: FixedWidthInteger & BitwiseCopyable>(
        _ type: T.Type
    ) throws(CheckpointError) -> [UInt8] {
        guard let count = Int(exactly: try readInteger(type)), count >= 0 else {
            throw malformed("bad-length", "a value claims an impossible length")
        }
        return Array(bytes[try take(count)])
    }

    /// The bytes up to a line feed, and past it.
    mutating func readLine() throws(CheckpointError) -> ArraySlice<UInt8> {
        guard let end = bytes[position...].firstIndex(of: 0x0A) else {
            _ = try take(bytes.count - position + 1)
            return []
        }
        defer { position = end + 1 }
        return bytes[position..<end]
    }
}

/// The stack and the memo.
extension PickleMachine {
    mutating func push(_ value: PickleValue) { stack.append(value) }

    /// The top of the stack, which must not lie under a mark.
    mutating func pop() throws(CheckpointError) -> PickleValue {
        guard stack.count > marks.last ?? 0, let value = stack.popLast() else {
            throw malformed("stack-underflow", "the pickle is damaged: it takes a value that is not there")
        }
        return value
    }

    func top() throws(CheckpointError) -> PickleValue {
        guard stack.count > marks.last ?? 0, let value = stack.last else {
            throw malformed("stack-underflow", "the pickle is damaged: it uses a value that is not there")
        }
        return value
    }

    mutating func pushMark() throws(CheckpointError) {
        guard marks.count < limits.nesting else { throw nestingFailure() }
        marks.append(stack.count)
    }

    func nestingFailure() -> CheckpointError {
        malformed("nesting-limit", "values are nested more than \(limits.nesting) deep")
    }

    /// The values above the last mark.
    mutating func popToMark() throws(CheckpointError) -> [PickleValue] {
        guard let mark = marks.popLast() else {
            throw malformed("stack-underflow", "the pickle is damaged: it closes what it never opened")
        }
        let values = Array(stack[mark...])
        stack.removeSubrange(mark...)
        return values
    }

    mutating func memoize(_ value: PickleValue, at number: Int) throws(CheckpointError) {
        // Writers count what they keep, from zero or one.
        guard number <= memo.count + 1000, number <= heapLimit else {
            throw malformed("memo-limit", "the pickle numbers a value \(number), beyond all that it keeps")
        }
        if number >= memo.count {
            memo.append(contentsOf: repeatElement(nil, count: number + 1 - memo.count))
        }
        memo[number] = value
    }

    mutating func pushMemo(_ number: Int) throws(CheckpointError) {
        guard memo.indices.contains(number), let value = memo[number] else {
            throw malformed("memo-missing", "the pickle refers to value \(number), which it never kept")
        }
        push(value)
    }
}

/// A byte as `0x2E`.
func hexadecimal(_ byte: UInt8) -> String {
    let digits = String(byte, radix: 16, uppercase: true)
    return digits.utf8.count < 2 ? "0x0" + digits : "0x" + digits
}
