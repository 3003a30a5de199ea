public import Checkpoints
public import TensorCore

/// Rows of a tensor put in another order: its first axis seen as several, which change places.
///
/// It holds for whatever the rows consist of, so blocks of quantised rows can be put in order as they are.
public struct RowOrder: Sendable, Equatable {
    /// What the first axis is seen as.
    public let view: [UInt64]
    /// Which of those axes come first in the result.
    public let order: [Int]

    /// Makes an order; `order` must have each index of `view` once.
    public init(view: [UInt64], order: [Int]) {
        self.view = view
        self.order = order
    }

    /// The order that undoes this one.
    public var inverse: RowOrder {
        var inverse = order
        for (index, axis) in order.enumerated() { inverse[axis] = index }
        return RowOrder(view: order.map { view[$0] }, order: inverse)
    }

    /// The tensor with its rows in this order.
    public func applied(to tensor: TensorExpression) throws(ExpressionError) -> TensorExpression {
        let rest = Array(tensor.shape.dropFirst())
        let axes = order + rest.indices.map { $0 + order.count }
        return try tensor.reshaped(to: view + rest).permuted(axes).reshaped(to: tensor.shape)
    }
}

extension ArchitectureMap {
    /// The order in which the rows of one of a scheme's tensors are ours, where that is all that is done to it; nil
    /// where something else is done, or nothing.
    ///
    /// It lets blocks of quantised rows be put in order without being decoded.
    ///
    /// - Parameters:
    ///   - name: the name in the scheme.
    ///   - scheme: the scheme.
    ///   - dimensions: the model's numbers.
    public func rowOrder(of name: TensorName, in scheme: String, dimensions: Dimensions) -> RowOrder? {
        guard let own = self.scheme(scheme),
            let rule = NameIndex(self, own, toOurs: true).find(name, dimensions)?.rule,
            own.rules[rule].parts == nil, own.rules[rule].settings.operations.count == 1
        else { return nil }
        return try? own.rules[rule].settings.operations[0].rowOrder(dimensions)
    }
}
