internal import Checkpoints
internal import TensorCore

/// The stacked weights of a layer's experts, as a base stores them: in one tensor, or in one or two for each.
struct ExpertParameters {
    /// Experts by outputs by inputs (or the other way round, where it is one tensor).
    let shape: [UInt64]
    /// One row; or for each expert the rows that follow each other in its outputs.
    let rows: [[Int]]

    /// Whether it is one tensor.
    private let isStacked: Bool

    init(stack row: Int, shape: [UInt64]) {
        (self.shape, rows, isStacked) = (shape, [[row]], true)
    }

    /// The names that the parts of a stacked parameter have on their own.
    private static let parts: [String: [[String]]] = [
        "gate_up_proj": [["gate_proj", "up_proj"], ["w1", "w3"]],
        "down_proj": [["down_proj"], ["w2"]],
    ]
    private static let limit = 1 << 16

    /// Finds the weights of each expert of a module.
    init?(of module: String, _ parameter: String, in table: MergeTable) {
        let places = [module, module.replacing(".mlp.experts", with: ".block_sparse_moe.experts")]
        for place in places {
            for names in Self.parts[parameter] ?? [] {
                var rows: [[Int]] = []
                while rows.count < Self.limit {
                    let found = names.compactMap { table.row("\(place).\(rows.count).\($0).weight") }
                    guard found.count == names.count else { break }
                    rows.append(found)
                }
                guard let first = rows.first?.first, table[first].shape.count == 2 else { continue }
                let shapes = rows.joined().map { table[$0].shape }
                guard shapes.allSatisfy({ $0 == shapes[0] }) else { continue }
                let (outputs, overflow) = shapes[0][0].multipliedReportingOverflow(by: UInt64(names.count))
                guard !overflow else { continue }
                (shape, isStacked) = ([UInt64(rows.count), outputs, shapes[0][1]], false)
                self.rows = rows
                return
            }
        }
        return nil
    }

    /// The parameters of a module that are targets, the innermost wrapped first where names tell.
    static func names(of module: String, targets: [String]) -> [String] {
        let order = ["gate_up_proj", "gate_proj", "up_proj", "down_proj"]
        var result: [String] = []
        for target in targets {
            let path = target.split(separator: ".").map(String.init)
            guard let name = path.last else { continue }
            let prefix = path.dropLast().joined(separator: ".")
            guard prefix.isEmpty || module == prefix || module.hasSuffix("." + prefix) else { continue }
            if !result.contains(name) { result.append(name) }
        }
        func rank(_ name: String) -> Int { order.firstIndex(of: name) ?? order.count }
        return result.sorted { (rank($0), $0) < (rank($1), $1) }
    }

    /// The whole stack of what stands in the rows.
    func joined(_ parts: [[TensorExpression]]) throws(ExpressionError) -> TensorExpression {
        if isStacked { return parts[0][0] }
        var experts: [TensorExpression] = []
        for pieces in parts {
            let expert = try TensorExpression.concatenated(pieces, axis: 0)
            experts.append(try expert.reshaped(to: [1] + expert.shape))
        }
        return try .concatenated(experts, axis: 0)
    }

    /// A stack as what stands in the rows.
    func split(_ stack: TensorExpression) throws(ExpressionError) -> [(row: Int, tensor: TensorExpression)] {
        if isStacked { return [(rows[0][0], stack)] }
        var result: [(row: Int, tensor: TensorExpression)] = []
        for (expert, group) in rows.enumerated() {
            let outputs = shape[1] / UInt64(group.count)
            for (piece, row) in group.enumerated() {
                let start = UInt64(piece) * outputs
                let part = try stack.sliced([
                    UInt64(expert)..<UInt64(expert) + 1, start..<start + outputs, 0..<shape[2],
                ])
                result.append((row, try part.reshaped(to: [outputs, shape[2]])))
            }
        }
        return result
    }
}
