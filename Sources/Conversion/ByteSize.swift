/// Sizes as people write them.
public enum ByteSize {
    private static let units: [(String, UInt64)] = [
        ("B", 1), ("KB", 1_000), ("MB", 1_000_000), ("GB", 1_000_000_000), ("TB", 1_000_000_000_000),
        ("KIB", 1 << 10), ("MIB", 1 << 20), ("GIB", 1 << 30), ("TIB", 1 << 40),
    ]

    /// Reads `5GB` (decimal), `5GiB` (binary), `1.5GB` or plain bytes; any letter case.
    ///
    /// Nil for anything else, for zero, and for more than 2^63 bytes.
    public static func parse(_ text: String) -> UInt64? {
        let text = text.uppercased()
        let digits = text.prefix { $0.isASCII && ($0.isNumber || $0 == ".") }
        let unit = text.dropFirst(digits.count).drop { $0 == " " }
        let scale = unit.isEmpty ? 1 : units.first { $0.0 == unit }?.1
        guard let scale, let value = exactProduct(String(digits), scale), value > 0 else { return nil }
        return value
    }

    /// `digits` (with at most one point) times `scale` in integers, rounded down.
    private static func exactProduct(_ digits: String, _ scale: UInt64) -> UInt64? {
        let parts = digits.split(separator: ".", omittingEmptySubsequences: false)
        guard (1...2).contains(parts.count), let whole = UInt64(parts[0]) else { return nil }
        var (value, overflow) = whole.multipliedReportingOverflow(by: scale)
        if parts.count == 2 {
            guard !parts[1].isEmpty, parts[1].utf8.count <= 6, let fraction = UInt64(parts[1]) else {
                return nil
            }
            let divisor = (0..<parts[1].utf8.count).reduce(UInt64(1)) { result, _ in result * 10 }
            let (product, high) = fraction.multipliedReportingOverflow(by: scale)
            let (sum, carry) = value.addingReportingOverflow(product / divisor)
            overflow = overflow || high || carry
            value = sum
        }
        return overflow || value > UInt64(Int64.max) ? nil : value
    }

    /// A size for people: three significant digits in decimal units, such as `2.15 GB`.
    public static func describe(_ count: UInt64) -> String {
        let names = ["B", "kB", "MB", "GB", "TB", "PB", "EB"]
        var unit = 0
        var scale: UInt64 = 1
        while count / scale >= 1000, unit < names.count - 1 {
            scale *= 1000
            unit += 1
        }
        if unit == 0 { return "\(count) B" }
        let whole = count / scale
        let decimals = whole >= 100 ? 0 : whole >= 10 ? 1 : 2
        let factor: UInt64 = decimals == 0 ? 1 : decimals == 1 ? 10 : 100
        // Cut, not rounded, so that a size never reads larger than it is.
        let scaled = count / (scale / factor)
        if decimals == 0 { return "\(whole) \(names[unit])" }
        let fraction = String(scaled % factor)
        let padding = String(repeating: "0", count: decimals - fraction.utf8.count)
        return "\(whole).\(padding)\(fraction) \(names[unit])"
    }
}
