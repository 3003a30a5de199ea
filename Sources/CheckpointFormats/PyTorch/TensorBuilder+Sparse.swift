internal import Checkpoints
internal import TensorCore

/// Sparse tensors as dense ones.
extension TensorBuilder {
    /// The tensor of a layout and its parts: indices, values and size, or pointers, indices, values and size.
    mutating func sparse(_ arguments: [PickleValue]) throws(CheckpointError) -> TensorExpression {
        guard arguments.count >= 2, let layout = layoutName(arguments[0]),
            let parts = heap.items(arguments[1])
        else { throw damaged() }
        switch layout {
        case "torch.sparse_coo":
            guard parts.count >= 3, let size = heap.items(parts[2]) else { throw damaged() }
            return try coordinates(
                tensor(at: parts[0]), tensor(at: parts[1]),
                shape: dimensions(size, "bad-shape", "a dimension is negative"))
        case "torch.sparse_csr", "torch.sparse_csc", "torch.sparse_bsr", "torch.sparse_bsc":
            guard parts.count >= 4, let size = heap.items(parts[3]) else { throw damaged() }
            return try compressed(
                tensor(at: parts[0]), tensor(at: parts[1]), tensor(at: parts[2]),
                shape: dimensions(size, "bad-shape", "a dimension is negative"),
                isByRows: layout.hasSuffix("csr") || layout.hasSuffix("bsr"),
                hasBlocks: layout.contains("_bs"))
        default: throw unsupported(.sparse, " of layout \(escaped(layout.utf8))")
        }
    }

    /// The layout that a call of `torch.serialization._get_layout` names.
    private func layoutName(_ value: PickleValue) -> String? {
        guard case .call(let number) = value else { return nil }
        let call = heap.calls[Int(number)]
        guard heap.globals[Int(call.global)].name == "_get_layout" else { return nil }
        return heap.arguments(of: call).first.flatMap { heap.text($0) }?.string
    }

    private mutating func coordinates(
        _ indices: TensorExpression, _ values: TensorExpression, shape: [UInt64]
    ) throws(CheckpointError) -> TensorExpression {
        guard indices.shape.count == 2, indices.dtype == .i64, !values.shape.isEmpty,
            indices.shape[1] == values.shape[0], let axes = Int(exactly: indices.shape[0]),
            axes <= shape.count, Array(values.shape.dropFirst()) == Array(shape.dropFirst(axes))
        else { throw error(.malformed, "bad-sparse", "the parts of the sparse tensor do not fit each other") }
        let entryCount = values.shape[0]
        let node = SparseTensor(
            dtype: values.dtype, elementCount: try checkSize(shape, values, passes: entryCount),
            layout: .coordinates(
                indices: indices.source, entryCount: entryCount, sizes: Array(shape.prefix(axes))),
            values: values, blockCount: values.shape.dropFirst().reduce(1, &*))
        return try dense(node, shape)
    }

    private mutating func compressed(
        _ pointers: TensorExpression, _ indices: TensorExpression, _ values: TensorExpression,
        shape: [UInt64], isByRows: Bool, hasBlocks: Bool
    ) throws(CheckpointError) -> TensorExpression {
        guard shape.count == 2, values.shape.count == (hasBlocks ? 3 : 1) else {
            throw unsupported(.sparse, " of shape \(shape) with values of shape \(values.shape)")
        }
        let block = hasBlocks ? (rows: values.shape[1], columns: values.shape[2]) : (rows: 1, columns: 1)
        guard block.rows > 0, block.columns > 0, shape[0] % block.rows == 0, shape[1] % block.columns == 0,
            [.i32, .i64].contains(pointers.dtype), [.i32, .i64].contains(indices.dtype)
        else { throw error(.malformed, "bad-sparse", "the parts of the sparse tensor do not fit each other") }
        let (rows, columns) = (shape[0] / block.rows, shape[1] / block.columns)
        let (outer, inner) = isByRows ? (rows, columns) : (columns, rows)
        guard pointers.shape == [outer + 1], indices.shape == [values.shape[0]] else {
            throw error(.malformed, "bad-sparse", "the parts of the sparse tensor do not fit each other")
        }
        let passes = isByRows ? 0 : values.shape[0].addingClamped(outer)
        let elementCount = try checkSize(shape, values, passes: passes)
        let layout: SparseTensor.CompressedLayout
        do {
            layout = SparseTensor.CompressedLayout(
                isByRows: isByRows, pointers: try pointers.cast(to: .i64).source,
                indices: try indices.cast(to: .i64).source, entryCount: values.shape[0], outerCount: outer,
                innerCount: inner, blockRows: block.rows, blockColumns: block.columns, columns: shape[1])
        } catch { throw damaged() }
        let node = SparseTensor(
            dtype: values.dtype, elementCount: elementCount, layout: .compressed(layout), values: values,
            blockCount: block.rows &* block.columns)
        return try dense(node, shape)
    }

    private func dense(_ node: SparseTensor, _ shape: [UInt64]) throws(CheckpointError) -> TensorExpression {
        if node.elementCount == 0 {
            return try expression(node.dtype, shape, .filled(pattern: [0], byteCount: 0))
        }
        return try expression(node.dtype, shape, .computed(node))
    }

    /// The elements of the dense tensor, where it is of a size that can be made.
    ///
    /// - Parameter passes: the entries that are looked at for every piece of it.
    private mutating func checkSize(
        _ shape: [UInt64], _ values: TensorExpression, passes: UInt64
    ) throws(CheckpointError) -> UInt64 {
        guard let width = values.dtype.byteWidth, ElementSum.isSupported(values.dtype) else {
            throw unsupported(.sparse, " of \(values.dtype.name)")
        }
        guard let size = TensorExpression.elementByteCount(shape, UInt64(width)) else {
            throw error(.malformed, "shape-overflow", "the size of the tensor is beyond 63 bits")
        }
        try countOutput(size)
        let (work, overflow) = (size >> 26 + 1).multipliedReportingOverflow(by: passes)
        guard !overflow, work <= 1 << 32 else {
            throw unsupported(.sparse, " of \(passes) entries in \(size) dense bytes")
        }
        return size / UInt64(width)
    }
}
