internal import TensorCore

/// Writes SafeTensors files that are right or nearly so, with every oddity that readers may disagree on.
public struct HeaderGenerator {
    private var random: SeededRandom

    /// Starts the sequence of a seed.
    public init(seed: UInt64) { random = SeededRandom(seed: seed) }

    private static let numbers =
        [
            "0", "1", "-0", "-1", "1.0", "1e0", "18446744073709551615", "18446744073709551616", "00", "01",
            "1e309",
            "1e308", "0e9", "null", "true", "\"1\"", "[]", "{}", "1E+2", "1e-400", "0.", "-", "1.", ".1",
            "+1", "0x1",
            "NaN", "Infinity", "184467440737095516150", "1.7976931348623157e308", "1.7976931348623159e308",
            "4.9e-324",
            "123456789012345678901234567890",
        ] + ["17976931348623157", "17976931348623158"].map { $0 + String(repeating: "0", count: 292) }
        + [String(repeating: "9", count: 308), String(repeating: "9", count: 309)]
        + ["0." + String(repeating: "1", count: 30) + "e310"]

    private static let strings = [
        #""a""#, #""dtype""#, #""\u0061""#, #""\ud83d\ude00""#, #""\ud800""#, #""\udc00""#,
        #""\ud800\ud800""#,
        #""a\/b""#, #""\q""#, "\"\u{E9}\"", "\"e\u{301}\"", "\"\u{1F600}\"", #""""#, #""\u0000""#,
        "\"\u{7F}\"",
        #""\n""#, "\"a\nb\"", #""__metadata__""#, #""\u005f_metadata__""#, #""\u00""#, #""\uD83D\uDE00""#,
        #""\u12G4""#,
    ]

    /// The next file.
    public mutating func next() -> [UInt8] {
        var offset: UInt64 = 0
        var members: [String] = []
        for _ in 0..<random.below(5) { members.append(member(&offset)) }
        if random.oneIn(3) {
            members.insert("\"__metadata__\":\(metadata())", at: random.below(members.count + 1))
            if random.oneIn(20) { members.append("\"__metadata__\":null") }
        }
        if random.oneIn(3) { shuffle(&members) }
        if !members.isEmpty, random.oneIn(20) { members.append(random.pick(members)) }
        let header =
            space() + "{" + space() + members.joined(separator: "," + space()) + space() + "}" + space()
            + random.pick(["", "", " ", "    ", "\n", "x", "}", ","])
        var data = [UInt8](repeating: 0x3F, count: Int(min(offset, 4096)))
        if random.oneIn(30) { data.append(0) } else if random.oneIn(30), !data.isEmpty { data.removeLast() }
        return file(Array(header.utf8), data)
    }

    private mutating func file(_ header: [UInt8], _ data: [UInt8]) -> [UInt8] {
        var count = UInt64(header.count)
        if random.oneIn(30) {
            let size = UInt64(header.count + data.count)
            count = random.pick([0, 1, size, size + 1, 1 << 63, 100_000_001])
        }
        return (0..<8).map { UInt8(truncatingIfNeeded: count >> (8 * UInt64($0))) } + header + data
    }

    private mutating func member(_ offset: inout UInt64) -> String {
        let name = random.oneIn(5) ? random.pick(Self.strings) : "\"t\(random.below(7))\""
        return name + space() + ":" + space() + entry(&offset)
    }

    private mutating func entry(_ offset: inout UInt64) -> String {
        let dtype = random.pick(DType.allCases)
        let shape = (0..<random.below(4)).map { _ in random.pick([0, 1, 2, 3, 4, 8] as [UInt64]) }
        let bits = shape.reduce(UInt64(dtype.bitWidth), *)
        var (begin, end) = (Int64(offset), Int64(offset + (bits + 7) / 8))
        offset = UInt64(end)
        if random.oneIn(16) { begin += random.pick([-1, 1, 4]) }
        if random.oneIn(16) { end += random.pick([-1, 1, 4]) }
        if random.oneIn(50) { swap(&begin, &end) }
        var fields = [
            ("dtype", spelling(of: dtype)), ("shape", spelling(of: shape)),
            ("data_offsets", spelling(begin, end)),
        ]
        if random.oneIn(5) { shuffle(&fields) }
        if random.oneIn(20) { fields.remove(at: random.below(fields.count)) }
        if random.oneIn(20) { fields.append(random.pick(fields)) }
        if random.oneIn(8) {
            let name = random.pick(["x", "", "Dtype", "__metadata__", "0"])
            fields.insert((name, value()), at: random.below(fields.count + 1))
        }
        if random.oneIn(50) { return value() }
        if random.oneIn(16) { return "[" + fields.map(\.1).joined(separator: ",") + "]" }
        let text = fields.map { "\(key($0.0))\(space()):\(space())\($0.1)" }
        return "{" + space() + text.joined(separator: "," + space()) + space() + "}"
    }

    private mutating func key(_ name: String) -> String {
        guard random.oneIn(50), let first = name.unicodeScalars.first else { return "\"\(name)\"" }
        let digits = String(first.value, radix: 16)
        return "\"\\u" + String(repeating: "0", count: 4 - digits.count) + digits + name.dropFirst() + "\""
    }

    private mutating func spelling(of dtype: DType) -> String {
        let name = dtype.name
        guard random.oneIn(16) else { return "\"\(name)\"" }
        return random.pick([
            "{\"\(name)\":null}", "{\"\(name)\":{}}", "{\"\(name)\":null,\"x\":null}",
            "\"\(name.lowercased())\"",
            "[\"\(name)\"]", "{ \"\(name)\" : null }", key(name), value(),
        ])
    }

    private mutating func spelling(of shape: [UInt64]) -> String {
        guard random.oneIn(20) else {
            return "[" + space() + shape.map(String.init).joined(separator: "," + space()) + space() + "]"
        }
        return random.pick([
            "[\(random.pick(Self.numbers))]", value(), "[1,\(random.pick(Self.numbers))]",
            "[0,18446744073709551615,18446744073709551615]", "[18446744073709551615,2,0]",
        ])
    }

    private mutating func spelling(_ begin: Int64, _ end: Int64) -> String {
        guard random.oneIn(20) else { return "[\(begin),\(space())\(end)]" }
        return random.pick([
            "[\(begin)]", "[\(begin),\(end),0]", "[\(begin).0,\(end)]", value(), "[]",
            "[\(random.pick(Self.numbers)),\(random.pick(Self.numbers))]",
        ])
    }

    private mutating func metadata() -> String {
        random.pick([
            "null", "{}", #"{"a":"b"}"#, #"{"a":"b","a":"c"}"#, #"{"a":1}"#, #"{"a":null}"#, "[]",
            "{\(random.pick(Self.strings)):\(random.pick(Self.strings))}", value(),
        ])
    }

    /// Any JSON, or nearly.
    private mutating func value(depth: Int = 0) -> String {
        let choice = random.below(20)
        if choice < 7 { return random.pick(Self.numbers) }
        if choice < 12 { return random.pick(Self.strings) }
        if choice < 14 { return random.pick(["null", "true", "false", "nul", "True"]) }
        if depth > 3 { return "1" }
        if choice == 14 {
            let count = 110 + random.below(21)
            return String(repeating: "[", count: count) + String(repeating: "]", count: count)
        }
        let values = (0..<random.below(4)).map { _ in value(depth: depth + 1) }
        if choice < 18 { return "[" + values.joined(separator: "," + space()) + "]" }
        return "{" + values.map { "\(random.pick(Self.strings)):\($0)" }.joined(separator: ",") + "}"
    }

    private mutating func space() -> String {
        random.oneIn(50) ? random.pick([" ", "\n", "\t", "\r", " \n", "\u{B}", "\u{0}", "\u{FEFF}"]) : ""
    }

    private mutating func shuffle<T>(_ values: inout [T]) {
        for index in stride(from: values.count - 1, to: 0, by: -1) {
            values.swapAt(index, random.below(index + 1))
        }
    }
}
