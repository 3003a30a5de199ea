public import CheckpointFormats
internal import Checkpoints
public import Integrity
public import TensorCore

/// What two models differ in: tensors by name, whatever formats hold them, and the files beside them.
public struct CheckpointDiff: Sendable {
    /// What a caller can choose.
    public struct Options: Sendable {
        /// Whether only names, dtypes and shapes are compared, and no tensor is read.
        public var isQuick = false
        /// The largest distance between two numbers that counts as none.
        public var tolerance = 0.0
        /// Whether a tensor of another dtype may have the same values.
        public var ignoresDTypes = false
        /// Whether the SHA-256 of tensors that differ is found.
        public var wantsDigests = false
        /// The names that are compared: those that any of these matches, or all where there are none.
        public var selected: [Glob] = []
        /// The names that are left out.
        public var dropped: [Glob] = []
        /// The number of threads.
        public var jobs = Workers.processorCount

        /// Makes options.
        public init() {}

        func includes(_ name: TensorName) -> Bool {
            (selected.isEmpty || selected.contains { $0.matches(name) })
                && !dropped.contains { $0.matches(name) }
        }
    }

    /// One side of a tensor.
    public struct Side: Sendable, Equatable {
        /// The element type.
        public var dtype: DType
        /// The dimensions.
        public var shape: [UInt64]
        /// The size, in bytes.
        public var byteCount: UInt64
        /// The SHA-256 of the contiguous little-endian bytes, where it was asked for.
        public var sha256: SHA256Digest?

        init(_ record: TensorRecord) {
            (dtype, shape, byteCount) = (record.dtype, record.shape, record.byteCount)
        }
    }

    /// A tensor that is not the same in both.
    public struct Tensor: Sendable {
        /// What kind of difference it is.
        public enum Change: String, Sendable {
            case onlyInFirst = "only-in-first"
            case onlyInSecond = "only-in-second"
            case shape, dtype, values
        }

        /// The name.
        public var name: TensorName
        /// What differs; a tensor of another shape and dtype differs in shape.
        public var change: Change
        /// The tensor in the first model.
        public var first: Side?
        /// The tensor in the second model.
        public var second: Side?
        /// How the values differ, where both have one shape and were read.
        public var values: ElementDifference?
        /// Whether it counts as the same within the tolerance.
        public var isTolerated = false
    }

    /// Tensors that are not the same, the largest differences first.
    public var tensors: [Tensor] = []
    /// Files beside the weights that are not the same.
    public var files: [SideFileDifference] = []
    /// How many tensors the first model has that were looked at.
    public var firstCount = 0
    /// How many tensors the second model has that were looked at.
    public var secondCount = 0
    /// How many tensors are the same in both, byte for byte (or, quickly looked at, may be).
    public var sameCount = 0
    /// How many files beside the weights are the same.
    public var sameFileCount = 0

    /// Whether nothing differs but within the tolerance.
    public var isSame: Bool { tensors.allSatisfy(\.isTolerated) && files.isEmpty }

    /// Compares two models.
    ///
    /// Headers and side files are read at once; tensors in bounded memory, both sides of a piece by one thread, in
    /// the order of the first model.
    public init(
        _ first: OpenedModel, _ second: OpenedModel, options: Options = Options(),
        willRead: (UInt64) -> Void = { _ in }, progress: @escaping @Sendable (Int) -> Void = { _ in },
        isCancelled: @escaping @Sendable () -> Bool = { false }, counters: WorkCounters? = nil
    ) throws(ConversionError) {
        var others: [TensorName: Int] = [:]
        let (a, b) = (first.checkpoint.tensors, second.checkpoint.tensors)
        for position in b.indices where options.includes(b[position].name) {
            others[b[position].name] = position
            secondCount += 1
        }
        var pairs: [DiffPair] = []
        for record in a where options.includes(record.name) {
            firstCount += 1
            guard let position = others.removeValue(forKey: record.name) else {
                tensors.append(Tensor(name: record.name, change: .onlyInFirst, first: Side(record)))
                continue
            }
            compareHeads(record, b[position], options, &pairs)
        }
        for position in others.values.sorted() {
            let record = b[position]
            tensors.append(Tensor(name: record.name, change: .onlyInSecond, second: Side(record)))
        }
        if !options.isQuick {
            willRead(pairs.reduce(0) { $0 + $1.first.byteCount + $1.second.byteCount })
            let comparison = DiffComparison(
                pairs, jobs: options.jobs, progress: progress, isCancelled: isCancelled, counters: counters)
            for (pair, values) in zip(pairs, try comparison.run()) { note(pair, values, options) }
        }
        if options.wantsDigests { try addDigests(pairs, options, isCancelled, counters) }
        sort()
        try compareFiles(first, second)
    }

    private mutating func compareHeads(
        _ first: TensorRecord, _ second: TensorRecord, _ options: Options, _ pairs: inout [DiffPair]
    ) {
        if first.shape != second.shape {
            tensors.append(
                Tensor(name: first.name, change: .shape, first: Side(first), second: Side(second)))
        } else if first.dtype != second.dtype, options.isQuick || !first.isComparable(with: second) {
            if options.ignoresDTypes, first.isComparable(with: second) {
                sameCount += 1
            } else {
                tensors.append(
                    Tensor(name: first.name, change: .dtype, first: Side(first), second: Side(second)))
            }
        } else if options.isQuick {
            sameCount += 1
        } else {
            pairs.append(DiffPair(first: first, second: second))
        }
    }

    private mutating func note(_ pair: DiffPair, _ values: ElementDifference?, _ options: Options) {
        let hasDType = pair.first.dtype == pair.second.dtype
        let isEqual = values.map { !hasDType && $0.differing == 0 } ?? true
        if isEqual, hasDType || options.ignoresDTypes {
            sameCount += 1
            return
        }
        let isNear = values.map { $0.incomparable == 0 && $0.maximum <= options.tolerance } ?? true
        tensors.append(
            Tensor(
                name: pair.first.name, change: hasDType ? .values : .dtype, first: Side(pair.first),
                second: Side(pair.second), values: values,
                isTolerated: isNear && options.tolerance > 0 && (hasDType || options.ignoresDTypes)))
    }

    /// What has no numbers first, then the largest relative differences.
    private mutating func sort() {
        func rank(_ tensor: Tensor) -> (Int, Double) {
            switch tensor.change {
            case .onlyInFirst: return (0, 0)
            case .onlyInSecond: return (1, 0)
            case .shape: return (2, 0)
            case .dtype where tensor.values == nil: return (3, 0)
            case .dtype, .values:
                guard let values = tensor.values else { return (5, 0) }
                return (values.incomparable > 0 ? 4 : 5, -(values.relative ?? .infinity))
            }
        }
        tensors = tensors.map { (rank($0), $0) }.sorted { a, b in
            (a.0.0, a.0.1) == (b.0.0, b.0.1) ? a.1.name < b.1.name : a.0 < b.0
        }.map(\.1)
    }

    /// Reads the tensors that differ once more, for their digests.
    private mutating func addDigests(
        _ pairs: [DiffPair], _ options: Options, _ isCancelled: @escaping @Sendable () -> Bool,
        _ counters: WorkCounters?
    ) throws(ConversionError) {
        let names = Dictionary(uniqueKeysWithValues: tensors.indices.map { (tensors[$0].name, $0) })
        let changed = pairs.filter { names[$0.first.name] != nil }
        let lanes = changed.flatMap { [$0.first, $0.second] }.map { record in
            DigestLane(
                source: ShardContent(name: "\(record.name)", frames: [], tensors: [(0, record.source)]),
                segments: [
                    .init(
                        0..<record.byteCount, .sha256, pieceByteCount: record.source.preferredPieceByteCount)
                ], digestsWhole: false)
        }
        var engine = DigestEngine(jobs: options.jobs, stopsAtFirstError: true, isCancelled: isCancelled)
        engine.counters = counters
        let outcomes = engine.run(lanes)
        if let error = outcomes.firstError { throw .source(CheckpointError(error)) }
        for (place, pair) in changed.enumerated() {
            guard let index = names[pair.first.name] else { continue }
            tensors[index].first?.sha256 = outcomes[2 * place].segments.first?.sha256
            tensors[index].second?.sha256 = outcomes[2 * place + 1].segments.first?.sha256
        }
    }
}

extension TensorRecord {
    /// Whether the elements of both are numbers of one kind, so that their distance has a meaning.
    fileprivate func isComparable(with other: TensorRecord) -> Bool {
        (dtype == .c64) == (other.dtype == .c64)
    }
}
