internal import TensorCore

extension TensorExpression {
    /// The elements whose indices lie in `range` along an axis.
    public func sliced(axis: Int, _ range: Range<UInt64>) throws(ExpressionError) -> TensorExpression {
        guard shape.indices.contains(axis) else {
            throw ExpressionError("shape \(shape) has no axis \(axis)")
        }
        var ranges = shape.map { 0..<$0 }
        ranges[axis] = range
        return try sliced(ranges)
    }

    /// The elements whose indices lie in a range along each axis.
    public func sliced(_ ranges: [Range<UInt64>]) throws(ExpressionError) -> TensorExpression {
        guard ranges.count == shape.count, zip(ranges, shape).allSatisfy({ $0.upperBound <= $1 }) else {
            throw ExpressionError("the slice \(ranges) is not within shape \(shape)")
        }
        let result = ranges.lengths
        if result == shape { return self }
        guard try Self.byteCount(dtype, result) > 0 else { return TensorExpression(dtype, result, .empty) }
        switch source {
        case .filled(let pattern, _) where pattern.count == dtype.groupByteCount:
            return try .filled(with: pattern, dtype: dtype, shape: result)
        default: if let node = try? slicedInside(ranges) { return node }
        }
        guard var view = groupView, let (units, unitShape) = grouped(ranges) else {
            return try byWayOfBytes { (wide) throws(ExpressionError) in try wide.sliced(ranges) }
        }
        for (index, range) in units.enumerated() {
            view.elementOffset += range.lowerBound * view.strides[index]
        }
        view.shape = unitShape
        return TensorExpression(dtype, result, view.source)
    }

    /// The tensor with its axes in another order: axis `order[i]` of this one becomes axis `i`.
    public func permuted(_ order: [Int]) throws(ExpressionError) -> TensorExpression {
        guard order.sorted() == Array(shape.indices) else {
            throw ExpressionError("\(order) is no order of the axes of shape \(shape)")
        }
        let result = order.map { shape[$0] }
        if order == Array(shape.indices) { return self }
        if byteCount == 0 { return TensorExpression(dtype, result, .empty) }
        switch source {
        case .filled: return TensorExpression(dtype, result, source)
        default: if let node = try? permutedInside(order) { return node }
        }
        // Elements that share bytes must stay together.
        guard var view = groupView, dtype.byteWidth != nil || order.last == order.count - 1 else {
            return try byWayOfBytes { (wide) throws(ExpressionError) in try wide.permuted(order) }
        }
        view.shape = order.map { view.shape[$0] }
        view.strides = order.map { view.strides[$0] }
        return TensorExpression(dtype, result, view.source)
    }

    /// The matrix with rows and columns exchanged.
    public func transposed() throws(ExpressionError) -> TensorExpression {
        guard shape.count == 2 else { throw ExpressionError("shape \(shape) is no matrix") }
        return try permuted([1, 0])
    }

    /// The same elements in the same order in another shape.
    public func reshaped(to newShape: [UInt64]) throws(ExpressionError) -> TensorExpression {
        let needed = try Self.byteCount(dtype, newShape)
        guard needed == byteCount else {
            throw ExpressionError("shape \(shape) has not the size of shape \(newShape)")
        }
        return TensorExpression(dtype, newShape, source)
    }
}

/// Operations on nodes that are done to what they are made of.
///
/// They fail where that would split bytes which elements share.
extension TensorExpression {
    private func slicedInside(_ ranges: [Range<UInt64>]) throws(ExpressionError) -> TensorExpression? {
        switch source {
        case .concatenated(let node) where node.shape == shape && node.dtype == dtype:
            try node.sliced(ranges)
        case .lowRank(let node) where node.shape == shape:
            try TensorExpression(dtype: dtype, shape: ranges.lengths, source: .lowRank(node.sliced(ranges)))
        case .blockDequantised(let node) where node.shape == shape:
            try TensorExpression(
                dtype: dtype, shape: ranges.lengths, source: .blockDequantised(node.sliced(ranges)))
        case .computed(let node as BlockMap): try node.sliced(ranges, of: self)
        default: nil
        }
    }

    private func permutedInside(_ order: [Int]) throws(ExpressionError) -> TensorExpression? {
        let result = order.map { shape[$0] }
        return switch source {
        case .concatenated(let node) where node.shape == shape && node.dtype == dtype:
            try node.permuted(order)
        case .lowRank(let node) where node.shape == shape:
            try TensorExpression(dtype: dtype, shape: result, source: .lowRank(node.transposed()))
        case .blockDequantised(let node) where node.shape == shape:
            try TensorExpression(dtype: dtype, shape: result, source: .blockDequantised(node.permuted(order)))
        case .computed(let node as BlockMap): try node.permuted(order, of: self)
        default: nil
        }
    }
}

extension [Range<UInt64>] {
    /// The shape that ranges along all axes give.
    fileprivate var lengths: [UInt64] { map { $0.upperBound - $0.lowerBound } }
}

/// Elements in groups that fill whole bytes.
extension TensorExpression {
    /// The tensor as a view of groups of elements along the last axis; nil where rows end within a group.
    private var groupView: StridedView? {
        let group = UInt64(dtype.groupElementCount)
        var units = shape
        if group > 1 {
            guard let last = shape.last, last % group == 0 else { return nil }
            units[units.count - 1] = last / group
        }
        return source.view(elementByteCount: dtype.groupByteCount, shape: units)
    }

    /// Ranges of elements as ranges of groups with the shape that they give; nil where one splits a group.
    private func grouped(_ ranges: [Range<UInt64>]) -> ([Range<UInt64>], [UInt64])? {
        let group = UInt64(dtype.groupElementCount)
        var ranges = ranges
        if group > 1 {
            guard let last = ranges.last, last.isMultiple(of: Int(group)) else { return nil }
            ranges[ranges.count - 1] = last.lowerBound / group..<last.upperBound / group
        }
        return (ranges, ranges.lengths)
    }

    /// Does to elements that share bytes what can only be done to whole bytes: F8_E4M3 holds every value of F4
    /// and F6.
    func byWayOfBytes(
        _ body: (TensorExpression) throws(ExpressionError) -> TensorExpression
    ) throws(ExpressionError) -> TensorExpression {
        try body(try cast(to: .f8E4M3)).cast(to: dtype)
    }
}

extension TensorSource {
    /// The source as a view of this shape: one that composes with the view it is, or one of it as a storage.
    fileprivate func view(elementByteCount width: Int, shape: [UInt64]) -> StridedView {
        if var view = view, view.elementByteCount % width == 0 {
            if view.elementByteCount > width { view = view.split(into: width) }
            if view.shape == shape { return view }
            if let view = view.reshaped(to: shape) { return view }
        }
        return StridedView(contiguous: self, elementByteCount: width, shape: shape)
    }
}
