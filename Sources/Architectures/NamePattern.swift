internal import TensorCore

/// A number in a name that a pattern leaves open.
enum Placeholder: Character, CaseIterable, Sendable {
    /// A layer, `{n}`.
    case layer = "n"
    /// A layer of the decoder, where encoder and decoder differ, `{d}`.
    case decoderLayer = "d"
    /// An expert, `{e}`.
    case expert = "e"

    /// The dimension that says how many there are.
    var dimension: String {
        switch self {
        case .layer: "layers"
        case .decoderLayer: "decoder_layers"
        case .expert: "experts"
        }
    }
}

/// The numbers that placeholders stand for in a name.
struct Bindings: Hashable, Sendable {
    private var layer: UInt32?
    private var decoderLayer: UInt32?
    private var expert: UInt32?

    subscript(placeholder: Placeholder) -> UInt32? {
        get {
            switch placeholder {
            case .layer: layer
            case .decoderLayer: decoderLayer
            case .expert: expert
            }
        }
        set {
            switch placeholder {
            case .layer: layer = newValue
            case .decoderLayer: decoderLayer = newValue
            case .expert: expert = newValue
            }
        }
    }

    /// The same without some placeholders.
    func without(_ placeholders: [Placeholder]) -> Bindings {
        var result = self
        for placeholder in placeholders { result[placeholder] = nil }
        return result
    }
}

/// A name with its numbers taken out, to find the patterns that it may be of.
struct NumberedName {
    /// The name with a byte that no text has in place of each number.
    private(set) var key: ByteKey
    /// The numbers; the largest of the type for what no index looks like.
    private(set) var numbers: [UInt32]

    static let gap: UInt8 = 0xFF
    static let noIndex = UInt32.max

    init(_ name: some Collection<UInt8>) {
        var key: [UInt8] = []
        numbers = []
        var digits = 0
        for byte in name {
            guard 0x30...0x39 ~= byte else {
                key.append(byte)
                digits = 0
                continue
            }
            let digit = UInt32(byte - 0x30)
            digits += 1
            if digits == 1 {
                key.append(Self.gap)
                numbers.append(digit)
            } else {
                let last = numbers[numbers.count - 1]
                let fits = digits <= 9 && last > 0 && last != Self.noIndex
                numbers[numbers.count - 1] = fits ? last * 10 + digit : Self.noIndex
            }
        }
        self.key = ByteKey(key)
    }
}

/// A name with placeholders, such as `blk.{n}.attn_q.weight`.
struct NamePattern: Sendable {
    private enum Slot: Sendable, Equatable {
        case number(UInt32)
        case placeholder(Placeholder)
    }

    /// The pattern as it was written.
    let text: String
    /// The placeholders in the order in which they stand, each once.
    let placeholders: [Placeholder]
    /// The name with gaps for its numbers.
    let key: ByteKey
    private let slots: [Slot]

    /// Reads a pattern; nil where a brace stands for nothing known or two numbers touch.
    init?(_ text: String) {
        var bytes: [UInt8] = []
        var found: [Placeholder] = []
        var rest = Substring(text)
        while let open = rest.firstIndex(of: "{") {
            let close = rest.index(open, offsetBy: 2, limitedBy: rest.endIndex) ?? rest.endIndex
            guard close < rest.endIndex, rest[close] == "}",
                let placeholder = Placeholder(rawValue: rest[rest.index(after: open)])
            else { return nil }
            bytes += Array(rest[..<open].utf8) + [UInt8(ascii: "0")]
            if let last = bytes.dropLast().last, 0x30...0x39 ~= last { return nil }
            // Placeholders are known by their order among the gaps.
            found.append(placeholder)
            rest = rest[rest.index(after: close)...]
            if let next = rest.utf8.first, 0x30...0x39 ~= next { return nil }
            bytes.append(NumberedName.gap)
        }
        bytes += Array(rest.utf8)
        // A placeholder stands as "0" with a gap after it, a number of the pattern's own without.
        let parts = bytes.split(separator: NumberedName.gap, omittingEmptySubsequences: false)
        var slots: [Slot] = []
        var key: [UInt8] = []
        for (index, part) in parts.enumerated() {
            let name = NumberedName(part)
            slots += name.numbers.map { .number($0) }
            if index < found.count { slots[slots.count - 1] = .placeholder(found[index]) }
            key += name.key.bytes
        }
        self.text = text
        self.slots = slots
        self.key = ByteKey(key)
        placeholders = found.reduce(into: []) { if !$0.contains($1) { $0.append($1) } }
    }

    /// The numbers of a name with this pattern's ``key``, or nil where it is not of the pattern.
    func match(_ name: NumberedName) -> Bindings? {
        guard name.numbers.count == slots.count else { return nil }
        var bindings = Bindings()
        for (slot, number) in zip(slots, name.numbers) {
            switch slot {
            case .number(let own): if number != own { return nil }
            case .placeholder(let placeholder):
                guard number != NumberedName.noIndex, bindings[placeholder] ?? number == number else {
                    return nil
                }
                bindings[placeholder] = number
            }
        }
        return bindings
    }

    /// The name for some numbers; those of all its placeholders must be there.
    func name(_ bindings: Bindings) -> TensorName {
        var result: [UInt8] = []
        var slot = 0
        for byte in key.bytes {
            guard byte == NumberedName.gap else {
                result.append(byte)
                continue
            }
            let number =
                switch slots[slot] {
                case .number(let own): own
                case .placeholder(let placeholder): bindings[placeholder] ?? 0
                }
            result += Array(String(number).utf8)
            slot += 1
        }
        return TensorName(utf8: result)
    }
}
