internal import Checkpoints
internal import TensorCore

/// When the sum of weights and update is rounded.
public enum MergeRounding: String, Sendable, CaseIterable {
    /// Once, to the dtype that is written.
    case once
    /// The update first, then the sum: what PEFT's `safe_merge` does in dtypes narrower than F32.
    case peftSafe = "peft-safe"
}

/// How a module changes a tensor, as expressions.
extension Adapter.Module {
    private static let expertLimit: UInt64 = 1 << 16

    /// The weight with the module's update.
    ///
    /// - Parameters:
    ///   - weight: of outputs by inputs and perhaps more dimensions; an embedding of tokens by features.
    ///   - isFanInFanOut: whether inputs come first.
    func merged(
        into weight: TensorExpression, isFanInFanOut: Bool, format: Adapter.Format, rounding: MergeRounding
    ) throws(ExpressionError) -> TensorExpression {
        if weight.shape.count > 2 { return try mergedConvolution(into: weight, rounding) }
        let isTransposed = isEmbedding || isFanInFanOut
        let (left, right) = isTransposed ? (try a.transposed(), try b.transposed()) : (b, a)
        guard let magnitude else {
            return try weight.lowRankUpdated(left, right, scale, rounding)
        }
        // PEFT takes the length of an embedding's features over all tokens, mlx-lm that of each token.
        let byRow = isEmbedding ? format == .mlx : !isFanInFanOut
        return try weight.lowRankUpdated(left, right, scale, .once, dtype: .f32)
            .scaled(to: magnitude, byRow: byRow, dtype: weight.dtype)
    }

    private func mergedConvolution(
        into weight: TensorExpression, _ rounding: MergeRounding
    ) throws(ExpressionError) -> TensorExpression {
        guard a.shape.count == weight.shape.count, a.shape.dropFirst() == weight.shape.dropFirst(),
            b.shape.count == weight.shape.count, b.shape[0] == weight.shape[0], b.shape[1] == a.shape[0],
            b.shape.dropFirst(2).allSatisfy({ $0 == 1 })
        else {
            throw ExpressionError(
                "factors of shapes \(b.shape) and \(a.shape) do not fit the shape \(weight.shape) of the base"
            )
        }
        guard let inputs = DType.elementCount(of: Array(weight.shape.dropFirst())) else {
            throw ExpressionError("the size of shape \(weight.shape) is beyond 64 bits")
        }
        let matrix = try weight.reshaped(to: [weight.shape[0], inputs])
        let (left, right) = (
            try b.reshaped(to: [b.shape[0], b.shape[1]]), try a.reshaped(to: [a.shape[0], inputs])
        )
        let result =
            if let magnitude {
                try matrix.lowRankUpdated(left, right, scale, .once, dtype: .f32)
                    .scaled(to: magnitude, byRow: true, dtype: weight.dtype)
            } else {
                try matrix.lowRankUpdated(left, right, scale, rounding)
            }
        return try result.reshaped(to: weight.shape)
    }

    /// The bias with the update's own; it is rounded once, as PEFT has it either way.
    func merged(intoBias bias: TensorExpression) throws(ExpressionError) -> TensorExpression? {
        guard let own = self.bias else { return nil }
        guard own.shape == bias.shape, own.shape.count == 1 else {
            throw ExpressionError(
                "a bias of shape \(own.shape) does not fit the shape \(bias.shape) of the base")
        }
        let one = try TensorExpression.filled(with: 1, dtype: .f32, shape: [1, 1])
        return try bias.reshaped(to: [own.shape[0], 1])
            .lowRankUpdated(own.reshaped(to: [own.shape[0], 1]), one, scale, .once)
            .reshaped(to: own.shape)
    }

    /// A stack of experts' weights with the update, whose factors stack those of the experts.
    ///
    /// - Parameters:
    ///   - stack: experts by two dimensions, inputs first or outputs first.
    ///   - inputsFirst: whether the base's architecture puts inputs first, where both are as many.
    func merged(
        intoStack stack: TensorExpression, rank: Int, scale: Double, inputsFirst: Bool,
        rounding: MergeRounding
    ) throws(ExpressionError) -> TensorExpression {
        let experts = stack.shape[0]
        let (outputs, inputs) = (b.shape[0], a.shape[1])
        guard experts <= Self.expertLimit,
            let isTransposed = isTransposed(stack.shape, inputsFirst: inputsFirst),
            a.shape == [UInt64(rank) * experts, inputs], b.shape == [outputs, UInt64(rank) * experts]
        else {
            throw ExpressionError(
                "factors of shapes \(b.shape) and \(a.shape) do not fit the shape \(stack.shape) of the base")
        }
        let ranks = try b.reshaped(to: [outputs, UInt64(rank), experts])
        var parts: [TensorExpression] = []
        for expert in 0..<experts {
            let right = try a.sliced(axis: 0, expert * UInt64(rank)..<(expert + 1) * UInt64(rank))
            let left = try ranks.sliced(axis: 2, expert..<expert + 1).reshaped(to: [outputs, UInt64(rank)])
            let weight = try stack.sliced(axis: 0, expert..<expert + 1)
                .reshaped(to: Array(stack.shape.dropFirst()))
            let updated =
                isTransposed
                ? try weight.lowRankUpdated(right.transposed(), left.transposed(), scale, rounding)
                : try weight.lowRankUpdated(left, right, scale, rounding)
            parts.append(try updated.reshaped(to: [1] + weight.shape))
        }
        return try .concatenated(parts, axis: 0)
    }

    /// Whether a stack of weights has inputs first; nil where the factors fit neither way.
    func isTransposed(_ stack: [UInt64], inputsFirst: Bool) -> Bool? {
        guard stack.count == 3, a.shape.count == 2, b.shape.count == 2 else { return nil }
        let plain = stack[1] == b.shape[0] && stack[2] == a.shape[1]
        let transposed = stack[1] == a.shape[1] && stack[2] == b.shape[0]
        guard plain || transposed else { return nil }
        return plain && transposed ? inputsFirst : transposed
    }
}

extension TensorExpression {
    func lowRankUpdated(
        _ b: TensorExpression, _ a: TensorExpression, _ scale: Double, _ rounding: MergeRounding,
        dtype: DType? = nil
    ) throws(ExpressionError) -> TensorExpression {
        try .lowRankUpdated(
            self, b: b, a: a, scale: Float(scale), dtype: dtype ?? self.dtype,
            roundsUpdate: rounding == .peftSafe)
    }

    fileprivate func scaled(
        to magnitude: TensorExpression, byRow: Bool, dtype: DType
    ) throws(ExpressionError) -> TensorExpression {
        // A convolution keeps its magnitudes in a shape that spreads over the weight.
        let count = DType.elementCount(of: magnitude.shape) ?? 0
        let flat = try magnitude.reshaped(to: [count])
        return try TensorExpression(
            dtype: dtype, shape: shape,
            source: .computed(MagnitudeScaled(self, magnitudes: flat, byRow: byRow, dtype: dtype)))
    }

    /// The matrix with some rows exchanged.
    func replacingRows(
        _ indices: [UInt64], with rows: TensorExpression
    ) throws(ExpressionError) -> TensorExpression {
        guard shape.count == 2, rows.shape == [UInt64(indices.count), shape[1]] else {
            throw ExpressionError("rows of shape \(rows.shape) do not fit the shape \(shape) of the base")
        }
        if let beyond = indices.first(where: { $0 >= shape[0] }) {
            throw ExpressionError("the row \(beyond) is beyond the shape \(shape) of the base")
        }
        let new = try rows.cast(to: dtype)
        var parts: [TensorExpression] = []
        var next: UInt64 = 0
        for (number, index) in indices.enumerated().sorted(by: { $0.element < $1.element }) {
            if index > next { parts.append(try sliced(axis: 0, next..<index)) }
            parts.append(try new.sliced(axis: 0, UInt64(number)..<UInt64(number) + 1))
            next = index + 1
        }
        if next < shape[0] { parts.append(try sliced(axis: 0, next..<shape[0])) }
        return parts.isEmpty ? self : try .concatenated(parts, axis: 0)
    }
}
