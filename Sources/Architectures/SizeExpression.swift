/// A size in terms of a model's dimensions: numbers and names with `+`, `*` and `/`, such as `heads*head_dim`.
struct SizeExpression: Sendable {
    private struct Factor: Sendable {
        var divides: Bool
        var value: Value
    }

    private enum Value: Sendable {
        case number(UInt64)
        case dimension(String)
    }

    /// Sums of products.
    private let terms: [[Factor]]

    /// Reads an expression, or nil where it is none.
    init?(_ text: some StringProtocol) {
        var terms: [[Factor]] = []
        for term in text.split(separator: "+", omittingEmptySubsequences: false) {
            var factors: [Factor] = []
            var divides = false
            var rest = term[...]
            while true {
                let end = rest.firstIndex { $0 == "*" || $0 == "/" } ?? rest.endIndex
                guard let value = Self.value(rest[..<end]) else { return nil }
                factors.append(Factor(divides: divides, value: value))
                guard end < rest.endIndex else { break }
                divides = rest[end] == "/"
                rest = rest[rest.index(after: end)...]
            }
            terms.append(factors)
        }
        self.terms = terms
    }

    private static func value(_ text: some StringProtocol) -> Value? {
        let word = text.split(separator: " ")
        guard word.count == 1, let first = word[0].unicodeScalars.first else { return nil }
        if let number = UInt64(word[0]) { return .number(number) }
        let isName = word[0].unicodeScalars.allSatisfy { scalar in
            "a"..."z" ~= scalar || "0"..."9" ~= scalar || scalar == "_"
        }
        guard isName, "a"..."z" ~= first else { return nil }
        return .dimension(String(word[0]))
    }

    /// The value; nil where a dimension is not known, a division leaves a rest, or it is beyond 64 bits.
    func value(_ dimensions: Dimensions) -> UInt64? {
        var sum: UInt64 = 0
        for term in terms {
            var product: UInt64 = 1
            for factor in term {
                let value: UInt64
                switch factor.value {
                case .number(let number): value = number
                case .dimension(let name):
                    guard let known = dimensions[name] else { return nil }
                    value = known
                }
                if factor.divides {
                    guard value > 0, product.isMultiple(of: value) else { return nil }
                    product /= value
                } else {
                    let (next, overflow) = product.multipliedReportingOverflow(by: value)
                    guard !overflow else { return nil }
                    product = next
                }
            }
            let (next, overflow) = sum.addingReportingOverflow(product)
            guard !overflow else { return nil }
            sum = next
        }
        return sum
    }
}
