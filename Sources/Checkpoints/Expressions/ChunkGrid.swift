public import StrictJSON
public import TensorCore

/// The chunks of a ``ChunkGrid``.
public protocol ChunkSource: Sendable {
    /// What is stored, for lists of what a tensor is made of.
    var inputs: [TensorSource] { get }
    /// The elements of the chunk with these positions along each axis, row-major, those beyond the tensor's end
    /// included; nil where nothing is stored for it.
    func chunk(at position: [UInt64]) throws(IOError) -> (any ByteSource)?
}

/// A tensor in chunks of one size, as zarr stores it: the last along an axis may reach beyond the tensor's end.
public struct ChunkGrid: ComputedTensor {
    /// The dimensions of the tensor.
    public let shape: [UInt64]
    /// The dimensions of a chunk; none is zero.
    public let chunkShape: [UInt64]
    private let fill: [UInt8]
    private let chunks: any ChunkSource
    /// The last axis along which a chunk may be shorter than the tensor; along those behind it they are the same.
    private let axis: Int
    /// The elements of a chunk between neighbours along each axis.
    private let chunkStrides: [UInt64]
    /// The elements of the tensor behind one position of the axis.
    private let rowLength: UInt64

    /// Makes a node.
    ///
    /// - Parameters:
    ///   - shape: the dimensions of the tensor.
    ///   - chunkShape: the dimensions of a chunk, as many.
    ///   - fill: the element, at least one byte, that stands where no chunk is stored.
    ///   - chunks: what is stored.
    /// - Throws: where the shapes do not fit each other, or a size is beyond 2^63 bytes.
    public init(
        shape: [UInt64], chunkShape: [UInt64], fill: [UInt8], chunks: any ChunkSource
    ) throws(ExpressionError) {
        func size(_ shape: [UInt64]) throws(ExpressionError) -> UInt64 {
            guard let count = DType.elementCount(of: shape) else {
                throw ExpressionError("the size of shape \(shape) is beyond 64 bits")
            }
            let (bytes, overflow) = count.multipliedReportingOverflow(by: UInt64(fill.count))
            guard !overflow, bytes <= UInt64(Int64.max) else {
                throw ExpressionError("the size of shape \(shape) is beyond 64 bits")
            }
            return bytes
        }
        guard shape.count == chunkShape.count, !chunkShape.contains(0), !fill.isEmpty else {
            throw ExpressionError("chunks of shape \(chunkShape) do not make up shape \(shape)")
        }
        _ = try size(chunkShape)
        byteCount = try size(shape)
        self.shape = shape
        self.chunkShape = chunkShape
        self.fill = fill
        self.chunks = chunks
        axis = shape.indices.last { shape[$0] != chunkShape[$0] } ?? 0
        chunkStrides = StridedView.contiguousStrides(of: chunkShape)
        rowLength = shape.isEmpty ? 1 : shape[(axis + 1)...].reduce(1, *)
    }

    /// The size of the result, in bytes.
    public let byteCount: UInt64
    /// The node's name in plans.
    public var operation: String { "chunk_grid" }
    /// The shapes, and what stands where nothing is stored.
    public var parameters: [JSONMember] {
        [
            JSONMember("shape", .array(shape.map { .integer($0) })),
            JSONMember("chunk_shape", .array(chunkShape.map { .integer($0) })),
            JSONMember("fill", .array(fill.map { .integer($0) })),
        ]
    }
    /// What is stored.
    public var inputs: [TensorSource] { chunks.inputs }
    /// The bytes of an element.
    public var granularity: Int { fill.count }
    /// Large where so many chunks stand side by side that they cannot all be kept open.
    public var preferredPieceByteCount: Int {
        let across = zip(shape, chunkShape).dropFirst().reduce(UInt64(1)) { count, axis in
            count > 1000 ? count : count * min(1000, (axis.0 + axis.1 - 1) / axis.1)
        }
        return across > 16 ? 64 << 20 : 1 << 20
    }

    /// Fills `buffer` with whole elements, run by run of what is contiguous on both sides.
    public func read(at offset: UInt64, into buffer: inout MutableRawSpan) throws(IOError) {
        let width = UInt64(fill.count)
        var element = offset / width
        var done = 0
        var open: [[UInt64]: (any ByteSource)?] = [:]
        while done < buffer.byteCount {
            let run = run(from: element)
            let count = Int(min(run.count, UInt64(buffer.byteCount - done) / width)) * fill.count
            var target = buffer._mutatingExtracting(done..<done + count)
            let source: (any ByteSource)?
            if let known = open[run.position] {
                source = known
            } else {
                source = try chunks.chunk(at: run.position)
                // Chunks that were passed are let go.
                if open.count >= 256 { open.removeAll(keepingCapacity: true) }
                open[run.position] = .some(source)
            }
            if let source {
                try source.read(at: run.offset * width, into: &target)
            } else {
                ElementBits.fill(&target, with: fill.span, phase: 0)
            }
            done += count
            element += UInt64(count) / width
        }
    }

    /// The longest run of elements from one on that are in one chunk and next to each other there: the chunk, the
    /// first element in it, and how many.
    private func run(from element: UInt64) -> (position: [UInt64], offset: UInt64, count: UInt64) {
        guard !shape.isEmpty else { return ([], 0, 1) }
        var rest = element / rowLength
        let column = element % rowLength
        var position = [UInt64](repeating: 0, count: shape.count)
        var offset = column
        var length: UInt64 = 0
        for index in (0...axis).reversed() {
            let coordinate = rest % shape[index]
            rest /= shape[index]
            position[index] = coordinate / chunkShape[index]
            let local = coordinate % chunkShape[index]
            offset += local * chunkStrides[index]
            if index == axis { length = min(chunkShape[index] - local, shape[index] - coordinate) }
        }
        return (position, offset, length * rowLength - column)
    }
}

extension TensorExpression {
    /// A tensor in chunks of one size.
    ///
    /// - Parameters:
    ///   - grid: the chunks; the element that stands where none is stored has the dtype's size.
    ///   - dtype: the element type, one of whole bytes.
    public static func chunked(_ grid: ChunkGrid, dtype: DType) throws(ExpressionError) -> TensorExpression {
        try TensorExpression(
            dtype: dtype, shape: grid.shape, source: grid.byteCount == 0 ? .empty : .computed(grid))
    }
}
