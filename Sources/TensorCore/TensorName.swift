/// The name of a tensor: UTF-8 bytes, compared as bytes.
///
/// `String` equality follows Unicode canonical equivalence, under which `é` written in two ways is one key and
/// a tensor disappears; names from files are therefore never compared as strings. Order is byte-wise, which is
/// the order of the reference writer and of Python's `sorted`.
public struct TensorName: Sendable, Hashable {
    /// The UTF-8 code units.
    public let utf8: [UInt8]

    /// Takes the bytes as they are.
    public init(utf8: [UInt8]) { self.utf8 = utf8 }

    /// The name with the UTF-8 bytes of `string`.
    public init(_ string: String) { self.utf8 = Array(string.utf8) }

    /// The name as text.
    ///
    /// Invalid UTF-8 is repaired, so this is for showing and for JSON, never for comparing.
    public var string: String { String(decoding: utf8, as: UTF8.self) }
}

extension TensorName {
    /// Feeds all bytes at once.
    public func hash(into hasher: inout Hasher) { ByteKey(utf8).hash(into: &hasher) }
}

extension TensorName: Comparable {
    /// Byte-wise order.
    public static func < (a: TensorName, b: TensorName) -> Bool {
        a.utf8.lexicographicallyPrecedes(b.utf8)
    }
}

extension TensorName: ExpressibleByStringLiteral {
    /// A literal name.
    public init(stringLiteral value: String) { self.init(value) }
}

extension TensorName: CustomStringConvertible {
    /// The name with control characters, quotes and backslashes escaped, safe to print on a terminal.
    public var description: String { escapedForDisplay(string) }
}

/// `text` with C0 and C1 control characters, DEL, line and direction marks, quotes and backslashes as escapes.
///
/// Text from untrusted files goes through this before it reaches a terminal or a log.
public func escapedForDisplay(_ text: String) -> String {
    func isPlain(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.value {
        case 0..<0x20, 0x22, 0x5C, 0x7F..<0xA0, 0x061C, 0x200B...0x200F, 0x2028...0x202E, 0x2060...0x206F,
            0xFEFF:
            false
        default: true
        }
    }
    if text.unicodeScalars.allSatisfy(isPlain) { return text }
    var result = ""
    for scalar in text.unicodeScalars {
        switch scalar {
        case _ where isPlain(scalar): result.unicodeScalars.append(scalar)
        case "\n": result += "\\n"
        case "\r": result += "\\r"
        case "\t": result += "\\t"
        case "\"": result += "\\\""
        case "\\": result += "\\\\"
        default: result += "\\u{" + String(scalar.value, radix: 16) + "}"
        }
    }
    return result
}
