public import CheckpointFormats
public import Checkpoints
public import Integrity
internal import TensorCore

/// What two checkpoints have in common and what not: tensors by name, of any formats, and the files beside them.
public struct CheckpointDiff: Sendable {
    /// What is compared, and how.
    public struct Options: Sendable {
        /// The names that are compared; all where empty.
        public var selection: [Glob] = []
        /// The names that are left out.
        public var exclusion: [Glob] = []
        /// Whether values are left unread.
        public var isQuick = false
        /// Whether the files beside the weights are left out.
        public var isWeightsOnly = false
        /// The distance up to which values count as the same, whatever their dtypes; nil for bytes.
        public var tolerance: Double?
        /// Threads.
        public var jobs = Workers.processorCount
        /// Called once with the bytes that will be read.
        public var willRead: @Sendable (UInt64) -> Void = { _ in }
        /// Called with bytes that were compared.
        public var progress: @Sendable (Int) -> Void = { _ in }
        /// Asked now and then whether to stop.
        public var isCancelled: @Sendable () -> Bool = { false }

        /// Where bytes that were read are counted.
        public var counters: WorkCounters?

        /// Makes options that compare everything.
        public init() {}
    }

    /// The options.
    public let options: Options
    /// Tensors that only the first side has, in its order.
    public private(set) var onlyInA: [TensorRecord] = []
    /// Tensors that only the second side has, in its order.
    public private(set) var onlyInB: [TensorRecord] = []
    /// Tensors that both have and that are not the same, the largest difference first.
    public private(set) var changed: [TensorDifference] = []
    /// Tensors that are the same; with quick options, of the same dtype and shape.
    public private(set) var sameCount = 0
    /// Files beside the weights that are not the same.
    public private(set) var files: [SideFileDifference] = []

    /// Compares two models; reads values as the options say, in bounded memory.
    public init(_ a: OpenedModel, _ b: OpenedModel, options: Options = Options()) throws(ConversionError) {
        self.options = options
        let pairs = try pair(a.checkpoint.tensors, b.checkpoint.tensors)
        try compare(pairs)
        changed.sort { ($1.weight, $0.name) < ($0.weight, $1.name) }
        // A lone file has nothing beside it.
        if !options.isWeightsOnly, a.directory != nil, b.directory != nil {
            files = try SideFileComparison.differences(a, b)
        }
    }

    /// The tensors that are not the same, less those within the tolerance.
    public var significant: [TensorDifference] {
        guard let tolerance = options.tolerance else { return changed }
        return changed.filter { !$0.isWithin(tolerance) }
    }

    /// Whether nothing is different, or no more than the tolerance allows.
    public var isSame: Bool {
        onlyInA.isEmpty && onlyInB.isEmpty && significant.isEmpty && files.isEmpty
    }

    /// - Throws: where a pattern matches no tensor of either side.
    private mutating func pair(
        _ a: TensorTable, _ b: TensorTable
    ) throws(ConversionError) -> [TensorComparison.Pair] {
        var filter = NameFilter(options)
        let left = a.filter { filter.takes($0.name) }
        var places: [TensorName: Int] = [:]
        for (position, tensor) in b.enumerated() where filter.takes(tensor.name) {
            places[tensor.name] = position
        }
        if let unused = filter.unused {
            throw .options("no tensor of either side has a name like '\(escapedForDisplay(unused))'")
        }
        var pairs: [TensorComparison.Pair] = []
        for tensor in left {
            if let place = places.removeValue(forKey: tensor.name) {
                pairs.append(TensorComparison.Pair(a: tensor, b: b[place]))
            } else {
                onlyInA.append(tensor)
            }
        }
        onlyInB = places.values.sorted().map { b[$0] }
        return pairs
    }

    private mutating func compare(_ pairs: [TensorComparison.Pair]) throws(ConversionError) {
        var comparable: [TensorComparison.Pair] = []
        for pair in pairs {
            let (x, y) = (pair.a, pair.b)
            let isNumeric = pair.sharesDType || (x.dtype != .c64 && y.dtype != .c64)
            if x.shape != y.shape {
                add(pair, .shape, nil)
            } else if options.isQuick || !isNumeric {
                if pair.sharesDType { sameCount += 1 } else { add(pair, .dtype, nil) }
            } else {
                comparable.append(pair)
            }
        }
        options.willRead(comparable.reduce(0) { $0 + $1.a.byteCount + $1.b.byteCount })
        let comparison = TensorComparison(
            comparable, jobs: options.jobs, progress: options.progress, isCancelled: options.isCancelled,
            counters: options.counters)
        let results: [ElementComparison?]
        do { results = try comparison.run() } catch {
            throw error.code == .cancelled ? .io(error) : .source(CheckpointError(error))
        }
        for (pair, values) in zip(comparable, results) {
            guard let values else {
                sameCount += 1
                continue
            }
            add(pair, pair.sharesDType ? .values : .dtype, values)
        }
    }

    private mutating func add(
        _ pair: TensorComparison.Pair, _ change: TensorDifference.Change, _ values: ElementComparison?
    ) {
        changed.append(
            TensorDifference(
                name: pair.a.name, a: .init(dtype: pair.a.dtype, shape: pair.a.shape),
                b: .init(dtype: pair.b.dtype, shape: pair.b.shape), change: change, values: values))
    }
}

extension CheckpointDiff {
    /// How much a layer has changed: the root mean square of the relative changes of its tensors.
    public struct Layer: Sendable, Equatable {
        /// The first number in the names of the tensors.
        public let number: Int
        /// The change.
        public let relative: Double
    }

    /// The layers with tensors that have changed, in order.
    public var layers: [Layer] {
        var squares: [Int: (sum: Double, count: Int)] = [:]
        for tensor in changed {
            let part = tensor.name.utf8.split(whereSeparator: { $0 == 0x2E || $0 == 0x2F }).first { part in
                part.allSatisfy { 0x30...0x39 ~= $0 }
            }
            guard let part, let number = Int(String(decoding: part, as: UTF8.self)),
                let relative = tensor.values?.relative, relative.isFinite
            else { continue }
            let old = squares[number] ?? (0, 0)
            squares[number] = (old.sum + relative * relative, old.count + 1)
        }
        return squares.sorted { $0.key < $1.key }.map {
            Layer(number: $0.key, relative: ($0.value.sum / Double($0.value.count)).squareRoot())
        }
    }
}

/// Which names are compared, and which patterns have matched one.
private struct NameFilter {
    private var selection: [(glob: Glob.Matcher, pattern: String, isUsed: Bool)]
    private var exclusion: [(glob: Glob.Matcher, pattern: String, isUsed: Bool)]

    init(_ options: CheckpointDiff.Options) {
        selection = options.selection.map { ($0.matcher(), $0.description, false) }
        exclusion = options.exclusion.map { ($0.matcher(), $0.description, false) }
    }

    /// A pattern that has matched no name.
    var unused: String? { (selection + exclusion).first { !$0.isUsed }?.pattern }

    mutating func takes(_ name: TensorName) -> Bool {
        let isSelected = Self.match(name, &selection)
        let isExcluded = Self.match(name, &exclusion)
        return (selection.isEmpty || isSelected) && !isExcluded
    }

    private static func match(
        _ name: TensorName, _ globs: inout [(glob: Glob.Matcher, pattern: String, isUsed: Bool)]
    ) -> Bool {
        var result = false
        for index in globs.indices where globs[index].glob.matches(name) {
            globs[index].isUsed = true
            result = true
        }
        return result
    }
}
