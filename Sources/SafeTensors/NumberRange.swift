internal import StrictJSON
internal import TensorCore

/// Numbers that the reference's JSON reader (serde_json) refuses for being too large for a `Double`.
///
/// They can only stand in fields that the format does not define, and are refused in both modes. The
/// arithmetic repeats that reader's, which is not always the nearest `Double`.
enum NumberRange {
    /// True where the number is infinite in the reference's arithmetic.
    static func overflows(_ number: JSONNumberText, in bytes: RawSpan) -> Bool {
        guard number.unsigned == nil, number.end - number.start > 3 else { return false }
        var position = number.start
        if bytes[position] == UInt8(ascii: "-") { position += 1 }
        var significand: UInt64 = 0
        var exponent = 0
        var isFull = false
        var isFraction = false
        while position < number.end {
            let byte = bytes[position]
            if byte | 0x20 == UInt8(ascii: "e") { break }
            position += 1
            if byte == UInt8(ascii: ".") {
                isFraction = true
                // A fraction may take up digits again where the integer part ran over.
                isFull = false
                continue
            }
            let digit = UInt64(byte &- UInt8(ascii: "0"))
            let (tens, tooLarge) = significand.multipliedReportingOverflow(by: 10)
            let (sum, carry) = tens.addingReportingOverflow(digit)
            if isFull || tooLarge || carry {
                isFull = true
                if !isFraction { exponent += 1 }
            } else {
                significand = sum
                if isFraction { exponent -= 1 }
            }
        }
        return isInfinite(significand, exponent: exponent + explicitExponent(from: position, number, bytes))
    }

    /// The exponent after `e`, held within ±2³¹.
    private static func explicitExponent(from e: Int, _ number: JSONNumberText, _ bytes: RawSpan) -> Int {
        var position = e + 1
        guard position < number.end else { return 0 }
        let negative = bytes[position] == UInt8(ascii: "-")
        if negative || bytes[position] == UInt8(ascii: "+") { position += 1 }
        var value = 0
        while position < number.end {
            value = min(value * 10 + Int(bytes[position] &- UInt8(ascii: "0")), 1 << 31)
            position += 1
        }
        return negative ? -value : value
    }

    private static func isInfinite(_ significand: UInt64, exponent: Int) -> Bool {
        if significand == 0 || exponent <= 0 { return false }
        guard exponent <= 308, let power = Double("1e\(exponent)") else { return true }
        return (Double(significand) * power).isInfinite
    }
}
