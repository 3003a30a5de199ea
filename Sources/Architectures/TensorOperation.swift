internal import Checkpoints
internal import TensorCore

/// What is done to a tensor on its way from a scheme's form (theirs) to the canonical one (ours); all of it can
/// be undone.
enum TensorOperation: Sendable {
    /// Axes in another order: axis `order[i]` of theirs is axis `i` of ours.
    case axes([Int])
    /// Rows in another order.
    case rows(view: [SizeExpression], order: [Int])
    /// Another shape, theirs, with the same elements in the same order.
    case shape([SizeExpression])
    /// A number that theirs has more than ours; the result is F32 either way.
    case offset(Float)

    /// The row order for a model; nil for other operations.
    ///
    /// - Throws: where a dimension is not known.
    func rowOrder(_ dimensions: Dimensions) throws(MapFault) -> RowOrder? {
        guard case .rows(let view, let order) = self else { return nil }
        return RowOrder(view: try Self.sizes(view, dimensions), order: order)
    }

    private static func sizes(
        _ shape: [SizeExpression], _ dimensions: Dimensions
    ) throws(MapFault) -> [UInt64] {
        var sizes: [UInt64] = []
        for expression in shape {
            guard let size = expression.value(dimensions) else { throw .unknownDimension }
            sizes.append(size)
        }
        return sizes
    }

    /// Ours of theirs, or theirs of ours.
    ///
    /// - Parameters:
    ///   - tensor: what it is done to.
    ///   - toOurs: the direction.
    ///   - canonical: the shape of ours.
    ///   - dimensions: the model's numbers.
    func apply(
        to tensor: TensorExpression, toOurs: Bool, canonical: [SizeExpression], _ dimensions: Dimensions
    ) throws(MapFault) -> TensorExpression {
        let rows = try rowOrder(dimensions)
        var shape: [UInt64] = []
        if case .shape(let theirs) = self { shape = try Self.sizes(toOurs ? canonical : theirs, dimensions) }
        do throws(ExpressionError) {
            switch self {
            case .axes(let order):
                if toOurs { return try tensor.permuted(order) }
                return try tensor.permuted(order.indices.map { order.firstIndex(of: $0) ?? $0 })
            case .rows:
                guard let rows else { return tensor }
                return try (toOurs ? rows : rows.inverse).applied(to: tensor)
            case .shape: return try tensor.reshaped(to: shape)
            case .offset(let amount):
                let wide = try tensor.cast(to: .f32)
                let map = try BlockMap(wide.source, codec: FloatOffset(amount: toOurs ? -amount : amount))
                return try TensorExpression(dtype: .f32, shape: wide.shape, source: .computed(map))
            }
        } catch {
            throw .expression(error)
        }
    }
}

/// Why an operation cannot be done to a tensor, before it is known which.
enum MapFault: Error {
    case unknownDimension
    case expression(ExpressionError)
}

/// Adds a number to each F32.
struct FloatOffset: BlockCodec {
    /// What is added.
    let amount: Float

    var name: String { "add_\(amount)" }
    var inputByteCount: Int { 4 }
    var outputByteCount: Int { 4 }

    func convert(_ input: RawSpan, into output: inout MutableRawSpan) {
        for offset in stride(from: 0, to: input.byteCount, by: 4) {
            let value = Float(bitPattern: input.load(littleEndian: UInt32.self, at: offset)) + amount
            output.storeBytes(of: value.bitPattern.littleEndian, toByteOffset: offset, as: UInt32.self)
        }
    }
}
