internal import Checkpoints
internal import TensorCore

/// Numbers and text.
extension PickleMachine {
    mutating func number(_ opcode: PickleOpcode) throws(CheckpointError) -> PickleValue {
        switch opcode {
        case .none: return .none
        case .newTrue: return .boolean(true)
        case .newFalse: return .boolean(false)
        case .binInt1: return .integer(Int64(try readByte()))
        case .binInt2: return .integer(Int64(try readInteger(UInt16.self)))
        case .binInt: return .integer(Int64(try readInteger(Int32.self)))
        case .long1: return Self.integer(try readCounted(UInt8.self))
        case .long4: return Self.integer(try readCounted(Int32.self))
        case .binFloat: return .float(Double(bitPattern: try readInteger(UInt64.self).byteSwapped))
        default: return try decimal(opcode)
        }
    }

    /// A two's complement integer of any length, least significant byte first.
    private static func integer(_ digits: [UInt8]) -> PickleValue {
        let fill: UInt8 = digits.last.map { $0 >= 0x80 ? 0xFF : 0 } ?? 0
        guard digits.dropFirst(8).allSatisfy({ $0 == fill }) else { return .bigInteger }
        var bits: UInt64 = 0
        for index in (0..<8).reversed() {
            bits = bits << 8 | UInt64(index < digits.count ? digits[index] : fill)
        }
        let value = Int64(bitPattern: bits)
        return (value < 0) == (fill == 0xFF) ? .integer(value) : .bigInteger
    }

    /// The textual numbers of protocol 0.
    private mutating func decimal(_ opcode: PickleOpcode) throws(CheckpointError) -> PickleValue {
        let line = try readLine()
        let text = String(decoding: line.prefix(400), as: UTF8.self)
        if opcode == .float {
            guard let value = Double(text) else { throw wrongOperand("a number is not a number") }
            return .float(value)
        }
        if opcode == .int, text == "00" || text == "01" { return .boolean(text == "01") }
        let digits = opcode == .long && text.hasSuffix("L") ? text.dropLast() : text[...]
        if let value = Int64(digits) { return .integer(value) }
        guard line.dropFirst().dropLast().allSatisfy({ 0x30...0x39 ~= $0 }), line.count > 18 else {
            throw wrongOperand("a number is not a number")
        }
        return .bigInteger
    }

    mutating func text(_ opcode: PickleOpcode) throws(CheckpointError) -> PickleValue {
        switch opcode {
        case .shortBinUnicode, .shortBinString: return heap.string(try readCounted(UInt8.self))
        case .binUnicode: return heap.string(try readCounted(UInt32.self))
        case .binUnicode8: return heap.string(try readCounted(UInt64.self))
        case .binString: return heap.string(try readCounted(Int32.self))
        case .shortBinBytes: return heap.bytes(try readCounted(UInt8.self))
        case .binBytes: return heap.bytes(try readCounted(UInt32.self))
        case .binBytes8: return heap.bytes(try readCounted(UInt64.self))
        case .unicode: return heap.string(unescaped(Array(try readLine()), widths: [0x75: 4, 0x55: 8]))
        default:
            let line = try readLine()
            guard line.count >= 2, let quote = line.first, quote == line.last, quote == 0x22 || quote == 0x27
            else { throw wrongOperand("a text has no quotes") }
            return heap.string(unescaped(Array(line.dropFirst().dropLast()), widths: [0x78: 2]))
        }
    }

    /// Text with its numeric escapes (`\x41`, `\u0041`, with as many digits as `widths` says) and, where those
    /// are `\x`, the single-letter ones replaced.
    private func unescaped(_ line: [UInt8], widths: [UInt8: Int]) -> [UInt8] {
        guard line.contains(0x5C) else { return line }
        let letters: [UInt8: UInt8] =
            widths[0x78] == nil
            ? [:] : [0x5C: 0x5C, 0x27: 0x27, 0x22: 0x22, 0x6E: 0x0A, 0x72: 0x0D, 0x74: 0x09]
        var result: [UInt8] = []
        var index = 0
        while index < line.count {
            let next = index + 1 < line.count ? line[index + 1] : 0
            if line[index] == 0x5C, let letter = letters[next] {
                result.append(letter)
                index += 2
            } else if line[index] == 0x5C, let width = widths[next], line.count - index - 2 >= width,
                let code = UInt32(
                    String(decoding: line[index + 2..<index + 2 + width], as: UTF8.self), radix: 16),
                let scalar = Unicode.Scalar(code)
            {
                result += width == 2 ? [UInt8(truncatingIfNeeded: code)] : Array(String(scalar).utf8)
                index += 2 + width
            } else {
                result.append(line[index])
                index += 1
            }
        }
        return result
    }
}

/// Bytes from a file as text for a message: at most 200 of them, control characters escaped.
func escaped(_ bytes: some Collection<UInt8>) -> String {
    let text = escapedForDisplay(String(decoding: bytes.prefix(200), as: UTF8.self))
    return bytes.count > 200 ? text + "…" : text
}
