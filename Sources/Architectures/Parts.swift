internal import Checkpoints

/// A tensor as parts that follow each other along an axis, all at once or in groups with a share of each.
struct Parts {
    /// The axis; with more than one group, the first.
    var axis: Int
    /// The groups.
    var groups: UInt64
    /// The length of each part along the axis, over all groups.
    var sizes: [UInt64]

    /// Whether they add up to a tensor of this shape.
    func fill(_ shape: [UInt64]) -> Bool {
        var total: UInt64 = 0
        for size in sizes {
            let (sum, overflow) = total.addingReportingOverflow(size)
            guard !overflow, size.isMultiple(of: groups) else { return false }
            total = sum
        }
        return shape.indices.contains(axis) && shape[axis] == total
    }

    /// The parts of a whole that they ``fill(_:)``.
    func cut(_ whole: TensorExpression) throws(ExpressionError) -> [TensorExpression] {
        var parts: [TensorExpression] = []
        var start: UInt64 = 0
        let grouped = try view(whole, axis: axis, groups: groups)
        let inner = groups > 1 ? axis + 1 : axis
        for size in sizes {
            let share = size / groups
            var shape = whole.shape
            shape[axis] = size
            parts.append(try grouped.sliced(axis: inner, start..<start + share).reshaped(to: shape))
            start += share
        }
        return parts
    }

    /// The whole of parts.
    static func join(
        _ parts: [TensorExpression], axis: Int, groups: UInt64
    ) throws(ExpressionError) -> TensorExpression {
        guard parts.count > 1 else { return parts[0] }
        let views = try parts.map { (part) throws(ExpressionError) in
            try Parts(axis: axis, groups: groups, sizes: []).view(part, axis: axis, groups: groups)
        }
        let whole = try TensorExpression.concatenated(views, axis: groups > 1 ? axis + 1 : axis)
        guard groups > 1 else { return whole }
        var shape = parts[0].shape
        shape[axis] = whole.shape[axis] * whole.shape[axis + 1]
        return try whole.reshaped(to: shape)
    }

    /// The tensor with the axis seen as groups of rows.
    private func view(
        _ tensor: TensorExpression, axis: Int, groups: UInt64
    ) throws(ExpressionError) -> TensorExpression {
        guard groups > 1, tensor.shape.indices.contains(axis) else { return tensor }
        var shape = tensor.shape
        shape[axis] /= groups
        shape.insert(groups, at: axis)
        return try tensor.reshaped(to: shape)
    }
}
