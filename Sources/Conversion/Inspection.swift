public import CheckpointFormats
public import Checkpoints
public import Integrity
public import TensorCore

/// What is in a model, from its headers alone.
public struct Inspection: Sendable {
    /// The path that was asked about.
    public var path: String
    /// The model.
    public var model: OpenedModel
    /// `architectures[0]` of the config.
    public var architecture: String?
    /// `model_type` of the config.
    public var modelType: String?
    /// The SHA-256 of each tensor's contiguous little-endian bytes, in table order; nil where not asked for.
    public var digests: [SHA256Digest]?

    /// The weights.
    public var checkpoint: Checkpoint { model.checkpoint }

    /// Opens `path` and reads headers and config.
    public init(path: String, options: ReadOptions = ReadOptions()) throws(ConversionError) {
        self.path = path
        do { model = try FormatRegistry.open(path: path, options: options) } catch { throw .source(error) }
        let config = try ModelConfig(of: model)
        architecture = config.architecture
        modelType = config.modelType
        if let warning = config.warning { model.checkpoint.warnings.append(warning) }
        count()
    }

    /// Bytes of all tensors, each name counted.
    public private(set) var byteCount: UInt64 = 0

    /// Elements of all tensors, tied ones once.
    public private(set) var parameterCount: UInt64 = 0

    /// What each dtype amounts to, the largest first.
    public private(set) var dtypes: [(dtype: DType, tensors: Int, elements: UInt64, byteCount: UInt64)] = []

    private mutating func count() {
        let table = checkpoint.tensors
        let tied = Set(checkpoint.tiedGroups.flatMap { $0.dropFirst() })
        var totals = DType.allCases.map { (dtype: $0, tensors: 0, elements: UInt64(0), byteCount: UInt64(0)) }
        for position in table.indices {
            let size = table.size(at: position)
            let place = Int(size.dtype.rawValue)
            totals[place].tensors += 1
            totals[place].elements &+= size.elementCount
            totals[place].byteCount &+= size.byteCount
            byteCount &+= size.byteCount
            if tied.isEmpty || !tied.contains(table[position].name) { parameterCount &+= size.elementCount }
        }
        dtypes = totals.filter { $0.tensors > 0 }
            .sorted { ($0.byteCount, $0.tensors, $0.dtype) > ($1.byteCount, $1.tensors, $1.dtype) }
    }

    /// Reads every tensor and fills ``digests``, in bounded memory.
    public mutating func computeDigests(
        jobs: Int = Workers.processorCount, progress: @escaping @Sendable (Int) -> Void = { _ in },
        isCancelled: @escaping @Sendable () -> Bool = { false }, counters: WorkCounters? = nil
    ) throws(ConversionError) {
        let tensors = checkpoint.tensors
        let share = max(1, byteCount / UInt64(4 * jobs))
        var lanes: [DigestLane] = []
        var group: [(offset: UInt64, source: TensorSource)] = []
        var segments: [DigestLane.Segment] = []
        var position: UInt64 = 0
        func close() {
            guard !segments.isEmpty else { return }
            let content = ShardContent(name: path, frames: [], tensors: group)
            lanes.append(DigestLane(source: content, segments: segments, digestsWhole: false))
            group = []
            segments = []
            position = 0
        }
        for tensor in tensors {
            group.append((position, tensor.source))
            segments.append(
                .init(
                    position..<position + tensor.byteCount, .sha256,
                    pieceByteCount: tensor.source.preferredPieceByteCount))
            position += tensor.byteCount
            if position >= share { close() }
        }
        close()
        var engine = DigestEngine(
            jobs: jobs, stopsAtFirstError: true, progress: progress, isCancelled: isCancelled)
        engine.counters = counters
        let outcomes = engine.run(lanes)
        if let error = outcomes.firstError { throw .source(CheckpointError(error)) }
        digests = outcomes.flatMap(\.segments).compactMap(\.sha256)
    }
}
