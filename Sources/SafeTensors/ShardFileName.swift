/// What the name of a shard says: `BASE-NNNNN-of-MMMMM.safetensors`, or with `_` for the first hyphen.
struct ShardFileName {
    /// What stands before the number, without directories.
    let base: String
    /// The number of the shard, from 1 by custom and from 0 in some checkpoints.
    let number: UInt64
    /// How many shards there are.
    let count: UInt64

    /// Files of one set: the same base and count.
    struct Group: Hashable {
        let base: [UInt8]
        let count: UInt64
    }

    var group: Group { Group(base: Array(base.utf8), count: count) }

    /// Reads a name, which may have directories before it; nil where it is not numbered.
    init?(_ path: String) {
        let suffix = Array(".safetensors".utf8)
        let bytes = path.utf8.split(separator: UInt8(ascii: "/")).last.map { Array($0) } ?? []
        guard bytes.count > suffix.count, bytes.suffix(suffix.count).elementsEqual(suffix) else { return nil }
        var rest = bytes.dropLast(suffix.count)
        guard let count = Self.takeNumber(&rest), Self.take("-of-", &rest),
            let number = Self.takeNumber(&rest), Self.take("-", &rest) || Self.take("_", &rest)
        else { return nil }
        base = String(decoding: rest, as: UTF8.self)
        self.number = number
        self.count = count
    }

    private static func takeNumber(_ text: inout ArraySlice<UInt8>) -> UInt64? {
        let digits = text.reversed().prefix { $0 &- UInt8(ascii: "0") < 10 }
        guard (1...18).contains(digits.count) else { return nil }
        text = text.dropLast(digits.count)
        return UInt64(String(decoding: digits.reversed(), as: UTF8.self))
    }

    private static func take(_ word: String, _ text: inout ArraySlice<UInt8>) -> Bool {
        guard text.suffix(word.utf8.count).elementsEqual(word.utf8) else { return false }
        text = text.dropLast(word.utf8.count)
        return true
    }

    /// The names that the index of the shards that begin with `base` may have, the usual one first.
    ///
    /// What follows a point may be a variant, which transformers puts after `index`.
    static func indexNames(base: String) -> [String] {
        let usual = base + ".safetensors.index.json"
        guard let point = base.utf8.lastIndex(of: UInt8(ascii: ".")), point > base.startIndex else {
            return [usual]
        }
        let variant = base[base.utf8.index(after: point)...]
        return [usual, "\(base[..<point]).safetensors.index.\(variant).json"]
    }

    /// True for the name of an index of SafeTensors files, with a variant or without.
    static func isIndex(_ name: String) -> Bool {
        let parts = name.split(separator: ".", omittingEmptySubsequences: false).suffix(4)
        return parts.suffix(3) == ["safetensors", "index", "json"]
            || (parts.prefix(2) == ["safetensors", "index"] && parts.last == "json" && parts.count == 4)
    }
}
