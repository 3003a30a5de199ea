extension JSONText {
    /// The contents with escapes replaced, as UTF-8.
    ///
    /// - Parameter bytes: the document in which a tokenizer found this text.
    public func utf8(in bytes: RawSpan) -> [UInt8] {
        var result: [UInt8] = []
        append(to: &result, from: bytes)
        return result
    }

    /// The contents with escapes replaced.
    ///
    /// - Parameter bytes: the document in which a tokenizer found this text.
    public func string(in bytes: RawSpan) -> String {
        if hasEscapes { return String(decoding: utf8(in: bytes), as: UTF8.self) }
        return unsafe bytes.extracting(start..<end).withUnsafeBytes {
            unsafe String(decoding: $0, as: UTF8.self)
        }
    }

    /// Appends the contents with escapes replaced, as UTF-8.
    public func append(to result: inout [UInt8], from bytes: RawSpan) {
        guard hasEscapes else {
            unsafe bytes.extracting(start..<end).withUnsafeBytes { unsafe result.append(contentsOf: $0) }
            return
        }
        var position = start
        while position < end {
            let byte = bytes.byte(position)
            if byte == UInt8(ascii: "\\") {
                appendEscape(at: &position, to: &result, from: bytes)
            } else {
                result.append(byte)
                position += 1
            }
        }
    }

    /// The beginning of the text, cut between characters after about `count` bytes of the document.
    public func prefix(_ count: Int, in bytes: RawSpan) -> JSONText {
        guard end - start > count else { return self }
        var position = start
        while position < end, position < start + count || bytes.byte(position) & 0xC0 == 0x80 {
            if bytes.byte(position) != UInt8(ascii: "\\") {
                position += 1
            } else if let unit = bytes.codeUnit(at: position) {
                position += (0xD800..<0xDC00).contains(unit) ? 12 : 6
            } else {
                position += 2
            }
        }
        return JSONText(start: start, end: position, hasEscapes: hasEscapes)
    }

    /// True where the contents, with escapes replaced, are exactly `utf8`.
    public func equals(_ utf8: [UInt8], in bytes: RawSpan) -> Bool {
        equals(RawSpan(_elements: utf8.span), in: bytes)
    }

    /// True where the contents, with escapes replaced, are exactly `utf8`.
    public func equals(_ utf8: RawSpan, in bytes: RawSpan) -> Bool {
        if hasEscapes {
            let decoded = self.utf8(in: bytes)
            return JSONText(start: 0, end: decoded.count, hasEscapes: false)
                .equals(utf8, in: RawSpan(_elements: decoded.span))
        }
        guard end - start == utf8.byteCount else { return false }
        for index in 0..<utf8.byteCount where bytes.byte(start + index) != utf8.byte(index) { return false }
        return true
    }

    private func appendEscape(at position: inout Int, to result: inout [UInt8], from bytes: RawSpan) {
        if let unit = bytes.codeUnit(at: position) {
            var scalar = UInt32(unit)
            position += 6
            if (0xD800..<0xDC00).contains(unit), let low = bytes.codeUnit(at: position) {
                scalar = 0x10000 + (UInt32(unit) - 0xD800) << 10 + (UInt32(low) & 0x3FF)
                position += 6
            }
            appendUTF8(of: scalar, to: &result)
            return
        }
        let letter = bytes.byte(position + 1)
        position += 2
        switch letter {
        case UInt8(ascii: "b"): result.append(0x08)
        case UInt8(ascii: "f"): result.append(0x0C)
        case UInt8(ascii: "n"): result.append(0x0A)
        case UInt8(ascii: "r"): result.append(0x0D)
        case UInt8(ascii: "t"): result.append(0x09)
        default: result.append(letter)
        }
    }

    /// Appends the UTF-8 of a scalar value that is no surrogate.
    private func appendUTF8(of scalar: UInt32, to result: inout [UInt8]) {
        func continuation(_ shift: UInt32) -> UInt8 { UInt8(0x80 | (scalar >> shift & 0x3F)) }
        switch scalar {
        case 0..<0x80: result.append(UInt8(scalar))
        case 0x80..<0x800:
            result.append(UInt8(0xC0 | scalar >> 6))
            result.append(continuation(0))
        case 0x800..<0x1_0000:
            result.append(UInt8(0xE0 | scalar >> 12))
            result.append(continuation(6))
            result.append(continuation(0))
        default:
            result.append(UInt8(0xF0 | (scalar >> 18 & 7)))
            result.append(continuation(12))
            result.append(continuation(6))
            result.append(continuation(0))
        }
    }
}
