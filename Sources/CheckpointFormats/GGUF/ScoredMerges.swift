/// The merges that make the same tokens as scores do.
///
/// SentencePiece joins the neighbours that make the token of the highest score; a list of pairs says the same where
/// each way to make a token stands in the order of the tokens' scores.
struct ScoredMerges {
    /// A pair of tokens that become one.
    struct Pair {
        var left: UInt32
        var right: UInt32
        fileprivate var result: UInt32
    }

    /// The pairs, those that come first first.
    let pairs: [Pair]

    /// Finds the pairs of a vocabulary whose tokens are each there once.
    ///
    /// - Parameters:
    ///   - tokens: the tokens.
    ///   - scores: their scores.
    ///   - takesPart: whether a token can be part of a pair, or be made of one.
    init(tokens: GGUFStrings, scores: [Float], takesPart: (Int) -> Bool) {
        let index = TokenIndex(tokens, takesPart)
        var pairs: [Pair] = []
        for id in tokens.indices where takesPart(id) {
            index.forEachSplit(of: tokens[id]) { left, right in
                pairs.append(Pair(left: left, right: right, result: UInt32(id)))
            }
        }
        // Of the same score, in the order in which transformers has them.
        let lengths = tokens.map { UInt16(clamping: $0.count { $0 & 0xC0 != 0x80 }) }
        pairs.sort { (a: Pair, b: Pair) in
            let (x, y) = (scores[Int(a.result)], scores[Int(b.result)])
            if x != y { return x > y }
            let (left, right) = (lengths[Int(a.left)], lengths[Int(a.right)])
            let (otherLeft, otherRight) = (lengths[Int(b.left)], lengths[Int(b.right)])
            if (left, right) != (otherLeft, otherRight) { return (left, right) > (otherLeft, otherRight) }
            return (a.result, a.left, a.right) < (b.result, b.left, b.right)
        }
        self.pairs = pairs
    }
}

/// Tokens by a hash of their bytes that all parts of a token have at no more cost than the token.
private struct TokenIndex {
    private static let factor: UInt64 = 0x9E37_79B9_7F4A_7C15
    private let tokens: GGUFStrings
    private var ids: [UInt64: UInt32] = [:]
    private var powers: [UInt64] = [1]

    init(_ tokens: GGUFStrings, _ takesPart: (Int) -> Bool) {
        self.tokens = tokens
        ids.reserveCapacity(tokens.count)
        var longest = 0
        for id in tokens.indices where takesPart(id) {
            let token = tokens[id]
            longest = max(longest, token.count)
            ids[token.reduce(0, Self.add)] = UInt32(id)
        }
        for _ in 0..<longest { powers.append(powers[powers.count - 1] &* Self.factor) }
    }

    private static func add(_ hash: UInt64, _ byte: UInt8) -> UInt64 { hash &* factor &+ UInt64(byte) &+ 1 }

    /// Calls `body` with the tokens that both parts of a token are, for each place where both are.
    func forEachSplit(of token: ArraySlice<UInt8>, _ body: (UInt32, UInt32) -> Void) {
        let whole = token.reduce(0, Self.add)
        var hash: UInt64 = 0
        for place in token.indices.dropLast() {
            hash = Self.add(hash, token[place])
            // Not within a character.
            guard token[place + 1] & 0xC0 != 0x80, let left = ids[hash] else { continue }
            let rest = token[(place + 1)...]
            guard let right = ids[whole &- hash &* powers[rest.count]],
                tokens[Int(left)].elementsEqual(token[...place]), tokens[Int(right)].elementsEqual(rest)
            else { continue }
            body(left, right)
        }
    }
}
