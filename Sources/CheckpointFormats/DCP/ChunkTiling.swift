internal import Checkpoints
internal import TensorCore

/// Puts a tensor together from rectangles that must cover it exactly once.
///
/// The whole is cut along planes that no rectangle crosses, again and again, until each part is one rectangle; where
/// there is no such plane, the rectangles in the way are cut too. So any tiling becomes concatenations.
struct ChunkTiling {
    /// A rectangle and its elements.
    struct Piece {
        var start: [UInt64]
        var expression: TensorExpression

        /// The index after the last along an axis.
        func end(_ axis: Int) -> UInt64 { start[axis] + expression.shape[axis] }
    }

    /// Why pieces are no tiling.
    enum Failure: Error {
        /// Nothing covers this element.
        case hole(at: [UInt64])
        /// Several pieces cover this element.
        case overlap(at: [UInt64])
        /// The pieces lie too irregularly for the effort.
        case irregular
        /// The pieces do not fit together.
        case mismatch(ExpressionError)
    }

    private let dtype: DType
    /// How many more parts may be made.
    private var budget: Int

    private static let depthLimit = 64

    /// The tensor of `shape` that the pieces are.
    ///
    /// - Parameter pieces: rectangles within the shape, all of one dtype.
    static func tensor(
        of pieces: [Piece], dtype: DType, shape: [UInt64]
    ) throws(Failure) -> TensorExpression {
        if shape.contains(0) {
            return try expression { () throws(ExpressionError) in
                try TensorExpression.filled(
                    with: [UInt8](repeating: 0, count: dtype.byteWidth ?? 1), dtype: dtype, shape: shape)
            }
        }
        let full = pieces.filter { !$0.expression.shape.contains(0) }
        var tiling = ChunkTiling(dtype: dtype, budget: 16 * full.count + 1024)
        return try tiling.join(full, shape.map { 0..<$0 }, depth: 0)
    }

    private static func expression<T>(
        _ body: () throws(ExpressionError) -> T
    ) throws(Failure) -> T {
        do { return try body() } catch { throw .mismatch(error) }
    }

    private mutating func join(
        _ pieces: [Piece], _ box: [Range<UInt64>], depth: Int
    ) throws(Failure) -> TensorExpression {
        budget -= 1
        guard budget >= 0, depth < Self.depthLimit else { throw .irregular }
        guard let first = pieces.first else { throw .hole(at: box.map(\.lowerBound)) }
        if pieces.count == 1, box.indices.allSatisfy({ box[$0] == first.start[$0]..<first.end($0) }) {
            return first.expression
        }
        for axis in box.indices {
            let sorted = pieces.sorted { $0.start[axis] < $1.start[axis] }
            let parts = Self.split(sorted, box[axis], axis)
            if parts.count > 1 { return try join(parts, box, axis, depth: depth) }
        }
        return try cut(pieces, box, depth: depth)
    }

    private mutating func join(
        _ parts: [(range: Range<UInt64>, pieces: ArraySlice<Piece>)], _ box: [Range<UInt64>], _ axis: Int,
        depth: Int
    ) throws(Failure) -> TensorExpression {
        var joined: [TensorExpression] = []
        joined.reserveCapacity(parts.count)
        for part in parts {
            var inner = box
            inner[axis] = part.range
            joined.append(try join(Array(part.pieces), inner, depth: depth + 1))
        }
        return try Self.expression { () throws(ExpressionError) in
            try TensorExpression.concatenated(joined, axis: axis)
        }
    }

    /// The ranges of an axis between planes that no piece crosses, with the pieces in each.
    private static func split(
        _ sorted: [Piece], _ range: Range<UInt64>, _ axis: Int
    ) -> [(range: Range<UInt64>, pieces: ArraySlice<Piece>)] {
        var result: [(range: Range<UInt64>, pieces: ArraySlice<Piece>)] = []
        var lower = range.lowerBound
        var reach = range.lowerBound
        var first = 0
        for (index, piece) in sorted.enumerated() {
            if piece.start[axis] >= reach, reach > lower {
                result.append((lower..<reach, sorted[first..<index]))
                (lower, first) = (reach, index)
            }
            if piece.start[axis] > reach {
                // Nothing lies between.
                result.append((reach..<piece.start[axis], []))
                (lower, reach, first) = (piece.start[axis], piece.start[axis], index)
            }
            reach = max(reach, piece.end(axis))
        }
        if reach > lower { result.append((lower..<reach, sorted[first...])) }
        if reach < range.upperBound { result.append((reach..<range.upperBound, [])) }
        return result
    }

    /// Cuts where a piece ends, through all pieces in the way.
    private mutating func cut(
        _ pieces: [Piece], _ box: [Range<UInt64>], depth: Int
    ) throws(Failure) -> TensorExpression {
        for axis in box.indices {
            let planes = pieces.flatMap { [$0.start[axis], $0.end(axis)] }
                .filter { $0 > box[axis].lowerBound && $0 < box[axis].upperBound }.sorted()
            guard !planes.isEmpty else { continue }
            let plane = planes[planes.count / 2]
            var below: [Piece] = []
            var above: [Piece] = []
            for piece in pieces {
                if piece.start[axis] < plane { below.append(try piece.part(..<plane, axis)) }
                if piece.end(axis) > plane { above.append(try piece.part(plane..., axis)) }
            }
            let parts = [
                (range: box[axis].lowerBound..<plane, pieces: below[...]),
                (range: plane..<box[axis].upperBound, pieces: above[...]),
            ]
            budget -= pieces.count / 8
            return try join(parts, box, axis, depth: depth)
        }
        throw .overlap(at: box.map(\.lowerBound))
    }
}

extension ChunkTiling.Piece {
    /// The part before an index of an axis.
    fileprivate func part(
        _ range: PartialRangeUpTo<UInt64>, _ axis: Int
    ) throws(ChunkTiling.Failure) -> ChunkTiling.Piece {
        try part(start[axis]..<min(end(axis), range.upperBound), axis)
    }

    /// The part from an index of an axis on.
    fileprivate func part(
        _ range: PartialRangeFrom<UInt64>, _ axis: Int
    ) throws(ChunkTiling.Failure) -> ChunkTiling.Piece {
        try part(max(start[axis], range.lowerBound)..<end(axis), axis)
    }

    private func part(
        _ range: Range<UInt64>, _ axis: Int
    ) throws(ChunkTiling.Failure) -> ChunkTiling.Piece {
        var result = self
        result.start[axis] = range.lowerBound
        do {
            result.expression = try expression.sliced(
                axis: axis, range.lowerBound - start[axis]..<range.upperBound - start[axis])
        } catch { throw .mismatch(error) }
        return result
    }
}

extension ChunkTiling.Failure {
    /// The error of a tensor whose parts these are.
    func error(shape: [UInt64], tensor: TensorName, place: String) -> CheckpointError {
        func make(
            _ class: CheckpointError.Class, _ code: String, _ message: String
        ) -> CheckpointError { CheckpointError(`class`, code, message, file: place, tensor: tensor) }
        return switch self {
        case .hole(let at):
            make(
                .malformed, "chunk-hole",
                "no part holds its element \(at) of shape \(shape): the checkpoint lacks what some rank had")
        case .overlap(let at):
            make(.malformed, "chunk-overlap", "two parts hold its element \(at) of shape \(shape)")
        case .irregular:
            make(.unsupported, "chunk-irregular", "its parts lie too irregularly to put it together")
        case .mismatch(let mismatch):
            make(.malformed, "chunk-mismatch", "its parts do not fit together: \(mismatch)")
        }
    }
}
