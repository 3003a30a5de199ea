public import TensorCore

/// Why an operation on tensors makes no sense: its shapes or dtypes do not fit.
public struct ExpressionError: Error, Sendable, Equatable, CustomStringConvertible {
    /// What does not fit, as a clause without a tensor's name.
    public let description: String

    /// Makes an error.
    public init(_ description: String) { self.description = description }
}

/// A tensor that does not exist yet: its dtype, its shape, and how its bytes come about.
///
/// Operations keep expressions simple. Views of views are one view, a view of neighbouring bytes is an extent,
/// extents that follow each other are one, and what is done to every element is done below a view, so that a
/// transposed tensor is converted where its storage is read. All of them check shapes, which may come from files.
public struct TensorExpression: Sendable {
    /// The element type.
    public let dtype: DType
    /// The dimensions, outermost first; empty for a scalar.
    public let shape: [UInt64]
    /// Produces the elements in row-major order, little-endian.
    public let source: TensorSource

    /// Makes an expression of a source that has as many bytes as the shape needs.
    public init(dtype: DType, shape: [UInt64], source: TensorSource) throws(ExpressionError) {
        let needed = try Self.byteCount(dtype, shape)
        guard source.byteCount == needed else {
            throw ExpressionError(
                "\(dtype.name) of shape \(shape) takes \(needed) bytes and not \(source.byteCount)")
        }
        self.init(dtype, shape, source)
    }

    /// Makes an expression whose size is known to fit.
    init(_ dtype: DType, _ shape: [UInt64], _ source: TensorSource) {
        self.dtype = dtype
        self.shape = shape
        self.source = source
    }

    /// The size, in bytes.
    public var byteCount: UInt64 { source.byteCount }

    /// The bytes that a tensor takes, below 2^63.
    static func byteCount(_ dtype: DType, _ shape: [UInt64]) throws(ExpressionError) -> UInt64 {
        if shape.contains(0) { return 0 }
        guard let elements = DType.elementCount(of: shape), elements <= UInt64(Int.max) / 8 else {
            throw ExpressionError("the size of shape \(shape) is beyond 64 bits")
        }
        guard let bytes = dtype.byteCount(of: shape) else {
            throw ExpressionError("\(dtype.name) of shape \(shape) fills no whole number of bytes")
        }
        return bytes
    }
}

extension TensorRecord {
    /// Makes a record of an expression.
    public init(name: TensorName, _ expression: TensorExpression) {
        self.init(
            name: name, dtype: expression.dtype, shape: expression.shape, source: expression.source)
    }

    /// The tensor without its name, to build others from.
    public var expression: TensorExpression {
        get throws(ExpressionError) { try TensorExpression(dtype: dtype, shape: shape, source: source) }
    }
}

// MARK: - Values

extension TensorExpression {
    /// A tensor whose elements are all the same.
    ///
    /// - Parameters:
    ///   - pattern: the bytes of one element, or of one group of elements that share bytes (two of F4, four of F6).
    ///   - dtype: the element type.
    ///   - shape: the dimensions.
    public static func filled(
        with pattern: [UInt8], dtype: DType, shape: [UInt64]
    ) throws(ExpressionError) -> TensorExpression {
        guard pattern.count == dtype.groupByteCount else {
            throw ExpressionError("\(pattern.count) bytes are no element of \(dtype.name)")
        }
        return TensorExpression(
            dtype, shape, .filled(pattern: pattern, byteCount: try byteCount(dtype, shape)))
    }

    /// A tensor of one number, rounded as a cast would.
    public static func filled(
        with value: Double, dtype: DType, shape: [UInt64]
    ) throws(ExpressionError) -> TensorExpression {
        guard dtype != .c64 else { throw ExpressionError("a complex tensor has no single number") }
        let values = [Double](repeating: value, count: dtype.groupElementCount)
        let pattern = [UInt8](count: dtype.groupByteCount) { bytes in
            ElementCodec.encode(values.span, as: dtype, into: &bytes)
        }
        return try filled(with: pattern, dtype: dtype, shape: shape)
    }

    /// The same elements converted to another dtype.
    ///
    /// Numbers are rounded to nearest, ties to even; those too large become what `overflow` says.
    public func cast(to target: DType, overflow: Overflow = .special) throws(ExpressionError)
        -> TensorExpression
    {
        if target == dtype { return self }
        guard ElementCast.isSupported(from: dtype, to: target) else {
            throw ExpressionError("\(dtype.name) is not converted to \(target.name)")
        }
        _ = try Self.byteCount(target, shape)
        return TensorExpression(target, shape, source.converted(from: dtype, to: target, overflow: overflow))
    }
}

extension TensorSource {
    /// The elements converted, below views and concatenations where that can be.
    ///
    /// The dtypes must be ones that ``ElementCast`` converts, and the result must fill whole bytes.
    public func converted(from: DType, to: DType, overflow: Overflow = .special) -> TensorSource {
        let plain = TensorSource.cast(self, from: from, to: to, overflow: overflow)
        if byteCount == 0 { return .empty }
        if case .concatenated(let node) = self {
            var parts: [TensorExpression] = []
            for part in node.parts where part.dtype == from {
                guard let cast = try? part.cast(to: to, overflow: overflow), cast.fillsBytes(from: node.axis)
                else { return plain }
                parts.append(cast)
            }
            return parts.count == node.parts.count
                ? Concatenation(parts: parts, axis: node.axis, shape: node.shape).source : plain
        }
        if case .filled(let pattern, let byteCount) = self, let width = to.byteWidth,
            pattern.count == from.groupByteCount
        {
            let count = byteCount / UInt64(pattern.count) * UInt64(from.groupElementCount * width)
            let pattern = [UInt8](count: from.groupElementCount * width) { bytes in
                ElementCast.convert(
                    pattern.span.bytesView, from: from, to: to, overflow: overflow, into: &bytes)
            }
            return .filled(pattern: pattern, byteCount: count)
        }
        // F32 holds the unrounded result.
        if from == .f32, overflow == .special, to.byteWidth != nil, to.isFloat {
            if case .lowRank(var node) = self {
                node.dtype = to
                return .lowRank(node)
            }
            if case .blockDequantised(var node) = self {
                node.dtype = to
                return .blockDequantised(node)
            }
        }
        return castBelowView(from: from, to: to, overflow) ?? plain
    }

    /// The same result rounded to another floating dtype instead of its own, where it is computed in more digits
    /// than that has; else nil.
    public func rounded(to dtype: DType) -> TensorSource? {
        guard dtype.isFloat, dtype.byteWidth != nil else { return nil }
        switch self {
        case .lowRank(let node): return .lowRank(node.rounded(to: dtype))
        case .computed(let node): return node.rounded(to: dtype).map { .computed($0) }
        default: return nil
        }
    }

    /// The view of a converted storage, where this is a view of whole groups of elements.
    private func castBelowView(from: DType, to: DType, _ overflow: Overflow) -> TensorSource? {
        guard var view, to.byteWidth != nil, view.elementByteCount == from.groupByteCount else { return nil }
        view.storage = .cast(view.wholeStorage, from: from, to: to, overflow: overflow)
        view.elementByteCount = from.groupElementCount * to.groupByteCount
        return .strided(view)
    }

    /// The source as a view, also where something is done to each element of one; nil for all that is not.
    var view: StridedView? {
        switch self {
        case .strided(let view): return view
        case .byteSwapped(let inner, let width):
            guard var view = inner.view, view.elementByteCount % width == 0 else { return nil }
            view.storage = .byteSwapped(view.wholeStorage, width: width)
            return view
        case .signFlipped(let inner, let byte, let step):
            guard var view = inner.view, view.elementByteCount % step == 0 else { return nil }
            view.storage = .signFlipped(view.wholeStorage, byte: byte, every: step)
            return view
        default: return nil
        }
    }
}

extension StridedView {
    /// The storage without what is left over at its end by elements of this size.
    fileprivate var wholeStorage: TensorSource {
        let width = UInt64(elementByteCount)
        return storage.part(0..<storage.byteCount / width * width)
    }
}

extension DType {
    /// Whether the elements are real floating-point numbers.
    var isFloat: Bool {
        switch self {
        case .bool, .u8, .i8, .u16, .i16, .u32, .i32, .u64, .i64, .c64: false
        default: true
        }
    }
}
