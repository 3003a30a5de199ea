public import CheckpointFormats
internal import Checkpoints
public import TensorCore

/// Makes a LoRA adapter of what one checkpoint has learnt beyond another: the difference of each weight, cut to a
/// rank by its singular values.
///
/// The checkpoints are read in pieces; the factors are kept in memory, so that it takes about the size of the adapter
/// and, for each thread, a few columns of one weight.
public struct AdapterExtraction: Sendable {
    /// How ranks are chosen.
    public enum Rank: Sendable, Equatable {
        /// One for all weights.
        case fixed(Int)
        /// For each weight the smallest that keeps this part of the sum of squares, up to a most.
        case energy(Double, atMost: Int)

        var most: Int {
            switch self {
            case .fixed(let rank), .energy(_, atMost: let rank): rank
            }
        }
    }

    /// What becomes of differences that are no matrices of a linear layer: norms, biases, embeddings.
    public enum Others: String, Sendable, CaseIterable {
        /// They are an error that lists them.
        case refuse
        /// They go along as a whole.
        case save
    }

    /// What became of one weight.
    public struct Outcome: Sendable {
        /// The weight.
        public let name: TensorName
        /// Its dimensions.
        public let shape: [UInt64]
        /// The rank of its update.
        public let rank: Int
        /// The length of what the update misses, relative to that of the whole difference.
        public let relativeError: Double
        let squareSum: Double
    }

    /// How ranks are chosen.
    public var rank: Rank
    /// Which modules are looked at, by the names of their weights; nil for all.
    public var modules: [Glob]?
    /// What becomes of other differences.
    public var others: Others
    /// The number of threads.
    public var jobs: Int
    /// Called from any thread with bytes of the two checkpoints that are done.
    public var progress: @Sendable (Int) -> Void = { _ in }
    /// Asked often; true ends the work.
    public var isCancelled: @Sendable () -> Bool = { false }

    /// Makes an extraction.
    public init(
        rank: Rank, modules: [Glob]? = nil, others: Others = .refuse, jobs: Int = Workers.processorCount
    ) {
        self.rank = rank
        self.modules = modules
        self.others = others
        self.jobs = jobs
    }

    /// The adapter, ready to be exported, and what became of each weight that differs.
    public func extract(
        _ tuned: OpenedModel, from base: OpenedModel
    ) throws(ConversionError) -> (adapter: OpenedModel, outcomes: [Outcome]) {
        let pairs = try ExtractionPairs(tuned, base, modules: modules)
        let results = try run(pairs)
        let kept = results.compactMap(\.self)
        let whole = kept.compactMap { if case .whole(let record) = $0 { record } else { nil } }
        let updates = kept.compactMap { if case .update(let update) = $0 { update } else { nil } }
        if others == .refuse, !whole.isEmpty {
            let names = whole.prefix(20).map(\.name.description).joined(separator: ", ")
            throw .options(
                "\(whole.count) of the tensors that differ are no weights of linear layers (\(names)"
                    + (whole.count > 20 ? ", …" : "") + "): keep them whole with --others save")
        }
        guard !updates.isEmpty || !whole.isEmpty else {
            throw .options("the two checkpoints do not differ, so there is nothing to extract")
        }
        let adapter = ExtractedAdapter(updates, whole: whole, pairs: pairs, tuned: tuned, base: base)
        return (try adapter.model(), updates.map(\.outcome))
    }

    // MARK: Work

    /// The most elements of vectors for one weight.
    private static let elementLimit = 1 << 28

    enum Result: Sendable {
        case update(Update)
        case whole(TensorRecord)
    }

    struct Update: Sendable {
        let outcome: Outcome
        let b: [Float]
        let a: [Float]
    }

    private struct Board {
        var next = 0
        var results: [Result?]
        var error: ConversionError?
    }

    private func run(_ pairs: ExtractionPairs) throws(ConversionError) -> [Result?] {
        let board = Monitor(Board(results: pairs.items.map { _ in nil }))
        let items = pairs.items
        Workers.run(count: min(jobs, items.count)) { _ in
            while true {
                let item: Int? = board.withLock { board in
                    guard board.error == nil, board.next < items.count else { return nil }
                    board.next += 1
                    return board.next - 1
                }
                guard let item else { return }
                do throws(ConversionError) {
                    guard !isCancelled() else {
                        throw .io(IOError(.cancelled, path: "", operation: "extract"))
                    }
                    let result = try result(of: items[item])
                    board.withLock { $0.results[item] = result }
                } catch {
                    board.withLock { $0.error = $0.error ?? error }
                }
                progress(Int(clamping: items[item].tuned.byteCount + items[item].base.byteCount))
            }
        }
        let (results, error) = board.withLock { ($0.results, $0.error) }
        if let error { throw error }
        return results
    }

    private func result(of pair: ExtractionPairs.Item) throws(ConversionError) -> Result? {
        guard try inputOutput({ () throws(IOError) in try pair.differs() }) else { return nil }
        guard pair.isLinear else { return .whole(pair.tuned) }
        do {
            var (first, second) = (try pair.tuned.expression, try pair.base.expression)
            if pair.isFanInFanOut { (first, second) = (try first.transposed(), try second.transposed()) }
            return .update(try update(pair.tuned.name, DifferenceMatrix(first, less: second), second))
        } catch let error as IOError {
            throw .io(error)
        } catch let error as ConversionError {
            throw error
        } catch {
            throw .options("\(pair.tuned.name): \(error)")
        }
    }

    private func update(
        _ name: TensorName, _ matrix: DifferenceMatrix, _ base: TensorExpression
    ) throws -> Update {
        let squareSum = try matrix.squareSum()
        guard squareSum.isFinite else {
            throw ConversionError.options("\(name): the difference is not finite")
        }
        let most = min(matrix.rows, matrix.columns)
        guard (matrix.rows + matrix.columns) < Self.elementLimit / (self.rank.most + 32) else {
            throw ConversionError.options(
                "\(name): its shape \(base.shape) is too large for the rank; leave it out with --modules")
        }
        var factors: LowRankFactors
        var rank: Int
        switch self.rank {
        case .fixed(let wanted):
            guard wanted <= most else {
                throw ConversionError.options(
                    "\(name): the rank \(wanted) is more than the smaller dimension of \(base.shape)")
            }
            rank = wanted
            factors = try LowRankFactors(of: matrix, rank: rank)
        case .energy(let energy, let limit):
            var tried = min(32, most, limit)
            factors = try LowRankFactors(of: matrix, rank: tried)
            while factors.energy(tried) < energy * squareSum, tried < min(most, limit) {
                tried = min(2 * tried, most, limit)
                factors = try LowRankFactors(of: matrix, rank: tried)
            }
            rank = (1...tried).first { factors.energy($0) >= energy * squareSum } ?? tried
        }
        let (b, a) = factors.factors(rank: rank)
        let missed = try Self.missed(base, matrix, b: b, a: a, rank: rank)
        return Update(
            outcome: Outcome(
                name: name, shape: base.shape, rank: rank,
                relativeError: squareSum > 0 ? (missed / squareSum).squareRoot() : 0, squareSum: squareSum),
            b: b, a: a)
    }

    /// The sum of the squares of what the update leaves.
    private static func missed(
        _ base: TensorExpression, _ matrix: DifferenceMatrix, b: [Float], a: [Float], rank: Int
    ) throws -> Double {
        let zero = try TensorExpression.filled(with: 0, dtype: .f32, shape: base.shape)
        let product = try TensorExpression.lowRankUpdated(
            zero, b: .holding(b, shape: [UInt64(matrix.rows), UInt64(rank)]),
            a: .holding(a, shape: [UInt64(rank), UInt64(matrix.columns)]), scale: 1)
        var total = 0.0
        var failure: IOError?
        try matrix.forEachBlock { range, values in
            do throws(IOError) {
                let start = UInt64(range.lowerBound * matrix.columns) * 4
                let made = try [Float](count: values.count) { (bytes) throws(IOError) in
                    try product.source.read(at: start, into: &bytes)
                }
                for index in made.indices {
                    let rest = Double(values[index]) - Double(made[index])
                    total += rest * rest
                }
                return true
            } catch {
                failure = error
                return false
            }
        }
        if let failure { throw failure }
        return total
    }
}

extension LowRankFactors {
    /// The sum of the squares of the first singular values.
    fileprivate func energy(_ rank: Int) -> Double { values.prefix(rank).reduce(0) { $0 + $1 * $1 } }
}

extension TensorExpression {
    /// A tensor of values in memory; sources of one name are one, so each needs its own.
    static func holding(_ values: [Float], shape: [UInt64], name: String = "factor") throws(ExpressionError)
        -> TensorExpression
    {
        let bytes = values.span.bytesView.array()
        return try TensorExpression(
            dtype: .f32, shape: shape,
            source: .extent(
                Extent(
                    source: MemorySource(name: name, contents: bytes), offset: 0,
                    byteCount: UInt64(bytes.count))))
    }
}
