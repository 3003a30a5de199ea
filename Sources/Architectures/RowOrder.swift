public import Checkpoints

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
