/// The two JSON lexemes with inner structure, strings and numbers, read from bytes known to be UTF-8.
extension RawSpan {
    /// The byte at `offset`, which must be within the span.
    @inline(__always)
    func byte(_ offset: Int) -> UInt8 { unsafe unsafeLoad(fromByteOffset: offset, as: UInt8.self) }

    /// The string whose opening quote stands at `quote`.
    func string(openedAt quote: Int) throws(JSONError) -> JSONText {
        let start = quote + 1
        var position = start
        var hasEscapes = false
        while true {
            position = endOfPlainText(from: position)
            guard position < byteCount else {
                throw JSONError(.unexpectedEnd, at: byteCount, "a string is cut short")
            }
            switch byte(position) {
            case UInt8(ascii: "\""): return JSONText(start: start, end: position, hasEscapes: hasEscapes)
            case UInt8(ascii: "\\"):
                hasEscapes = true
                position = try endOfEscape(at: position)
            default:
                throw JSONError(
                    .controlCharacter, at: position,
                    "a string holds a raw control character (\(describe(byte(position))))")
            }
        }
    }

    /// The first quote, backslash or control character from `start`, eight bytes at a time.
    private func endOfPlainText(from start: Int) -> Int {
        let ones: UInt64 = 0x0101_0101_0101_0101
        var position = start
        while position + 8 <= byteCount {
            let word = unsafe unsafeLoadUnaligned(fromByteOffset: position, as: UInt64.self).littleEndian
            let quotes = word ^ (ones &* 0x22)
            let backslashes = word ^ (ones &* 0x5C)
            // The top bit of the lowest byte that is a control character, a quote or a backslash.
            let marks =
                ((word &- ones &* 0x20) & ~word) | ((quotes &- ones) & ~quotes)
                | ((backslashes &- ones) & ~backslashes)
            let found = marks & (ones &* 0x80)
            if found != 0 { return position + found.trailingZeroBitCount / 8 }
            position += 8
        }
        while position < byteCount {
            let byte = byte(position)
            if byte < 0x20 || byte == 0x22 || byte == 0x5C { break }
            position += 1
        }
        return position
    }

    /// Checks the escape that begins at `backslash` and returns where it ends.
    private func endOfEscape(at backslash: Int) throws(JSONError) -> Int {
        guard backslash + 1 < byteCount else {
            throw JSONError(.unexpectedEnd, at: byteCount, "a string is cut short")
        }
        switch byte(backslash + 1) {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"), UInt8(ascii: "b"),
            UInt8(ascii: "f"), UInt8(ascii: "n"), UInt8(ascii: "r"), UInt8(ascii: "t"):
            return backslash + 2
        case UInt8(ascii: "u"): break
        default: throw JSONError(.badEscape, at: backslash, "a string holds an unknown escape")
        }
        guard let unit = codeUnit(at: backslash) else {
            throw JSONError(.badEscape, at: backslash, "\\u must be followed by four hexadecimal digits")
        }
        switch unit {
        case 0xD800..<0xDC00:
            guard let low = codeUnit(at: backslash + 6), (0xDC00..<0xE000).contains(low) else {
                throw JSONError(.badEscape, at: backslash, "a string holds half a surrogate pair")
            }
            return backslash + 12
        case 0xDC00..<0xE000:
            throw JSONError(.badEscape, at: backslash, "a string holds half a surrogate pair")
        default: return backslash + 6
        }
    }

    /// The UTF-16 code unit of a `\uXXXX` at `backslash`, or nil where none is.
    func codeUnit(at backslash: Int) -> UInt16? {
        guard backslash + 6 <= byteCount, byte(backslash) == UInt8(ascii: "\\"),
            byte(backslash + 1) == UInt8(ascii: "u")
        else { return nil }
        var unit: UInt16 = 0
        for offset in 2..<6 {
            guard let digit = hexadecimalValue(byte(backslash + offset)) else { return nil }
            unit = unit << 4 | digit
        }
        return unit
    }

    /// The number that begins at `start` with a digit or a minus sign.
    func number(at start: Int) throws(JSONError) -> JSONNumberText {
        var position = start
        let negative = byte(start) == UInt8(ascii: "-")
        if negative { position += 1 }
        let integerStart = position
        let value = readDigits(at: &position)
        guard position > integerStart else { throw badNumber(position) }
        if byte(integerStart) == UInt8(ascii: "0"), position > integerStart + 1 {
            throw JSONError(.badNumber, at: start, "a number begins with a needless zero")
        }
        let integerEnd = position
        if position < byteCount, byte(position) == UInt8(ascii: ".") {
            position += 1
            let fraction = position
            _ = readDigits(at: &position)
            guard position > fraction else { throw badNumber(position) }
        }
        if position < byteCount, byte(position) | 0x20 == UInt8(ascii: "e") {
            position += 1
            if position < byteCount,
                byte(position) == UInt8(ascii: "+") || byte(position) == UInt8(ascii: "-")
            {
                position += 1
            }
            let exponent = position
            _ = readDigits(at: &position)
            guard position > exponent else { throw badNumber(position) }
        }
        let isPlain = !negative && position == integerEnd
        return JSONNumberText(start: start, end: position, unsigned: isPlain ? value : nil)
    }

    /// Passes over digits and gives their value, nil where it does not fit.
    @inline(__always)
    private func readDigits(at position: inout Int) -> UInt64? {
        let start = position
        var value: UInt64 = 0
        while position < byteCount {
            let digit = byte(position) &- UInt8(ascii: "0")
            guard digit < 10 else { break }
            value = value &* 10 &+ UInt64(digit)
            position += 1
        }
        // Nineteen digits always fit.
        return position - start < 20 ? value : checkedValue(of: start..<position)
    }

    private func checkedValue(of digits: Range<Int>) -> UInt64? {
        var value: UInt64 = 0
        for position in digits {
            let (tens, overflow) = value.multipliedReportingOverflow(by: 10)
            let (sum, carry) = tens.addingReportingOverflow(UInt64(byte(position) &- UInt8(ascii: "0")))
            if overflow || carry { return nil }
            value = sum
        }
        return value
    }

    private func badNumber(_ position: Int) -> JSONError {
        position < byteCount
            ? JSONError(.badNumber, at: position, "a number lacks a digit")
            : JSONError(.unexpectedEnd, at: position, "a number is cut short")
    }
}

/// The value of a hexadecimal digit, or nil.
private func hexadecimalValue(_ byte: UInt8) -> UInt16? {
    switch byte {
    case UInt8(ascii: "0")...UInt8(ascii: "9"): UInt16(byte - UInt8(ascii: "0"))
    case UInt8(ascii: "a")...UInt8(ascii: "f"): UInt16(byte - UInt8(ascii: "a") + 10)
    case UInt8(ascii: "A")...UInt8(ascii: "F"): UInt16(byte - UInt8(ascii: "A") + 10)
    default: nil
    }
}
