internal import Checkpoints
internal import StrictJSON
internal import Synchronization
internal import TensorCore

/// A matrix whose rows (or columns) are scaled to given lengths: DoRA's last step.
///
/// Lengths are those of ``MatrixNorms``; a factor is the magnitude divided by the length, and each product is
/// rounded to the result's dtype. The lengths are taken when the first piece is read, in one pass over
/// the matrix, and kept.
struct MagnitudeScaled: ComputedTensor {
    /// F32, row-major.
    private let matrix: TensorExpression
    private let magnitudes: TensorExpression
    private let byRow: Bool
    private let dtype: DType
    private let factors: FactorCache

    /// The most magnitudes, far more than any layer has: they are held in memory.
    private static let limit: UInt64 = 1 << 20
    /// The elements that are computed at once.
    private static let pieceCount = 1 << 18

    /// Makes a node.
    ///
    /// - Parameters:
    ///   - matrix: of any float dtype that holds it before it is rounded.
    ///   - magnitudes: one for each row, or each column.
    init(
        _ matrix: TensorExpression, magnitudes: TensorExpression, byRow: Bool, dtype: DType
    ) throws(ExpressionError) {
        self.matrix = try matrix.cast(to: .f32)
        self.magnitudes = try magnitudes.cast(to: .f32)
        self.byRow = byRow
        self.dtype = dtype
        factors = FactorCache()
        guard magnitudes.shape == [matrix.shape[byRow ? 0 : 1]], magnitudes.shape[0] <= Self.limit else {
            throw .init(
                "magnitudes of shape \(magnitudes.shape) do not fit a matrix of shape \(matrix.shape)")
        }
    }

    private init(_ other: MagnitudeScaled, dtype: DType) {
        (matrix, magnitudes, byRow, factors) = (other.matrix, other.magnitudes, other.byRow, other.factors)
        self.dtype = dtype
    }

    var operation: String { "scaled_to_magnitudes" }
    var parameters: [JSONMember] {
        [.init("dtype", .string(dtype.name)), .init("axis", .integer(byRow ? 0 : 1))]
    }
    var inputs: [TensorSource] { [matrix.source, magnitudes.source] }
    var byteCount: UInt64 { matrix.byteCount / 4 * UInt64(granularity) }
    var granularity: Int { dtype.bitWidth / 8 }

    func rounded(to dtype: DType) -> (any ComputedTensor)? { MagnitudeScaled(self, dtype: dtype) }

    func read(at offset: UInt64, into buffer: inout MutableRawSpan) throws(IOError) {
        let factors = try factors.value { () throws(IOError) in try computeFactors() }
        let first = Int(offset) / granularity
        let total = buffer.byteCount / granularity
        for start in stride(from: 0, to: total, by: Self.pieceCount) {
            let count = min(Self.pieceCount, total - start)
            var values = try self.values(first + start, count)
            var span = values.mutableSpan
            MatrixScale.apply(
                factors.span, to: &span, at: first + start, columns: Int(matrix.shape[1]), byRow: byRow)
            var target = buffer._mutatingExtracting(start * granularity..<(start + count) * granularity)
            ElementCast.convert(values.span.bytesView, from: .f32, to: dtype, into: &target)
        }
    }

    private func values(_ first: Int, _ count: Int) throws(IOError) -> [Float] {
        try [Float](count: count) { (bytes) throws(IOError) in
            try matrix.source.read(at: UInt64(first) * 4, into: &bytes)
        }
    }

    private func computeFactors() throws(IOError) -> [Float] {
        var norms = MatrixNorms(rows: Int(matrix.shape[0]), columns: Int(matrix.shape[1]), byRow: byRow)
        let total = Int(matrix.byteCount / 4)
        let piece = max(Self.pieceCount, min(1 << 21, matrix.source.preferredPieceByteCount / 4))
        for first in stride(from: 0, to: total, by: piece) {
            let values = try values(first, min(piece, total - first))
            norms.add(values.span)
        }
        let wanted = try [Float](count: Int(magnitudes.shape[0])) { (bytes) throws(IOError) in
            try magnitudes.source.read(at: 0, into: &bytes)
        }
        return zip(wanted, norms.lengths).map { $0 / $1 }
    }
}

/// Factors that are computed once, by whoever needs them first.
private final class FactorCache: Sendable {
    private let factors = Mutex<[Float]?>(nil)

    func value(_ compute: () throws(IOError) -> [Float]) throws(IOError) -> [Float] {
        let result: Result<[Float], IOError> = factors.withLock { factors in
            if let factors { return .success(factors) }
            do throws(IOError) {
                let made = try compute()
                factors = made
                return .success(made)
            } catch { return .failure(error) }
        }
        return try result.get()
    }
}
