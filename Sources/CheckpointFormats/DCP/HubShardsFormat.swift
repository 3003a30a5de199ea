public import Checkpoints
internal import SafeTensors
internal import StrictJSON
internal import TensorCore

/// SafeTensors files of `HuggingFaceStorageWriter`, each with the parts of tensors that one rank had.
///
/// They look like shards of the hub's layout, but a name stands in several of them, with the shape of the part.
public struct HubShardsFormat: DirectoryFormat {
    /// Makes the format.
    public init() {}

    /// The identifier.
    public var name: String { "dcp-safetensors" }
    /// One line for people.
    public var summary: String {
        "SafeTensors parts of all ranks, as torch.distributed.checkpoint writes for the hub"
    }
    /// The usual file names.
    public var patterns: String { "shard-*-model-*-of-*.safetensors" }

    /// Where the parts are left when they were put together too, or were to be.
    private static let innerDirectory = "sharded"

    /// Files with the writer's names, and no weights of the hub's layout beside them.
    public func recognizes(_ listing: DirectoryListing) throws(CheckpointError) -> Bool {
        if listing.files.contains(where: { Self.rank(of: $0) != nil }) { return true }
        guard listing.directories.contains(Self.innerDirectory),
            !listing.files.contains(where: { $0.hasSuffix(".safetensors") || $0.hasSuffix(".bin") })
        else { return false }
        return try listing.listing(of: Self.innerDirectory).files.contains { Self.rank(of: $0) != nil }
    }

    /// Reads the headers of all parts.
    public func read(
        _ listing: DirectoryListing, options: ReadOptions
    ) throws(CheckpointError) -> OpenedModel {
        let isInner = !listing.files.contains { Self.rank(of: $0) != nil }
        let inner = isInner ? try listing.listing(of: Self.innerDirectory) : listing
        let prefix = isInner ? Self.innerDirectory + "/" : ""
        let names = inner.files.filter { Self.rank(of: $0) != nil }
        try Self.checkRanks(names, place: inner.path)
        var parts = HubParts(place: inner.path)
        for name in names {
            try parts.add(name, path: prefix + name, of: try inner.open(name), mode: options.validation)
        }
        var checkpoint = Checkpoint(format: self.name, tensors: try parts.records(), files: parts.files)
        checkpoint.warnings = [
            CheckpointWarning(
                "rank-count-unstated",
                "the files do not say how many ranks wrote them, so parts after those of rank \(names.compactMap(Self.rank).max() ?? 0) would "
                    + "not be missed", file: listing.path)
        ]
        return OpenedModel(
            checkpoint: checkpoint,
            directory: ModelDirectory(listing, weights: .parts(names.map { prefix + $0 } + [".metadata"])))
    }

    /// The number of the rank in `shard-00002-model-00001-of-00003.safetensors`; nil for other names.
    static func rank(of name: String) -> Int? {
        guard name.hasPrefix("shard-"), name.hasSuffix(".safetensors") else { return nil }
        let parts = name.utf8.dropFirst(6).dropLast(12).split(separator: 0x2D)
        guard parts.count == 5, parts[1].elementsEqual("model".utf8), parts[3].elementsEqual("of".utf8) else {
            return nil
        }
        return Int(String(Substring(parts[0])))
    }

    private static func checkRanks(_ names: [String], place: String) throws(CheckpointError) {
        let ranks = Set(names.compactMap(rank))
        guard let missing = (1...max(1, min(ranks.max() ?? 1, 1 << 20))).first(where: { !ranks.contains($0) })
        else { return }
        throw CheckpointError(
            .malformed, "shard-missing",
            "the files are numbered by rank, and there is none of rank \(missing): fetch it", file: place)
    }
}

/// The parts of tensors in files of all ranks, by name.
private struct HubParts {
    let place: String
    private(set) var files: [SourceFile] = []
    private var names: [TensorName] = []
    private var tensors: [TensorName: (dtype: DType, pieces: [ChunkTiling.Piece])] = [:]

    init(place: String) { self.place = place }

    mutating func add(
        _ name: String, path: String, of source: any ByteSource, mode: ValidationMode
    ) throws(CheckpointError) {
        let header: SafeTensorsHeader
        do { header = try SafeTensorsHeader(reading: source, mode: mode) } catch {
            throw CheckpointError(error, file: source.name)
        }
        files.append(SourceFile(path: path, source: source))
        let offsets = try Self.offsets(header, file: source.name)
        for info in header {
            let start = offsets[info.name] ?? [UInt64](repeating: 0, count: info.shape.count)
            guard start.count == info.shape.count else {
                throw CheckpointError(
                    .malformed, "bad-metadata", "the place of its part has not as many axes as it has",
                    file: source.name, tensor: info.name)
            }
            let extent = Extent(source: source, offset: info.fileRange.lowerBound, byteCount: info.byteCount)
            try add(info, start, extent, file: source.name)
        }
    }

    private mutating func add(
        _ info: TensorInfo, _ start: [UInt64], _ extent: Extent, file: String
    ) throws(CheckpointError) {
        let piece: ChunkTiling.Piece
        do {
            piece = .init(
                start: start,
                expression: try TensorExpression(
                    dtype: info.dtype, shape: info.shape, source: .extent(extent)))
        } catch {
            throw CheckpointError(.malformed, "bad-tensor", error.description, file: file, tensor: info.name)
        }
        guard let known = tensors[info.name] else {
            names.append(info.name)
            tensors[info.name] = (info.dtype, [piece])
            return
        }
        guard known.dtype == info.dtype, known.pieces[0].start.count == start.count else {
            throw CheckpointError(
                .malformed, "chunk-mismatch", "its parts are not of one dtype and number of axes", file: file,
                tensor: info.name)
        }
        tensors[info.name]?.pieces.append(piece)
    }

    /// Where the parts of a file go, as the writer noted it.
    private static func offsets(
        _ header: SafeTensorsHeader, file: String
    ) throws(CheckpointError) -> [TensorName: [UInt64]] {
        guard let entry = header.metadata.first(where: { $0.key == "DCP_SHARDING_INFO" }) else { return [:] }
        let damage = CheckpointError(
            .malformed, "bad-metadata",
            "its DCP_SHARDING_INFO is not what torch.distributed.checkpoint writes",
            file: file)
        guard let members = (try? JSONValue(parsing: Array(entry.value.utf8)))?.members else { throw damage }
        var result: [TensorName: [UInt64]] = [:]
        for member in members {
            guard let list = member.value["saved_offsets"]?.elements, list.count <= 64 else { throw damage }
            let numbers = list.compactMap(\.uint64)
            guard numbers.count == list.count else { throw damage }
            result[TensorName(member.key)] = numbers
        }
        return result
    }

    /// The whole tensors, each as large as its parts reach.
    func records() throws(CheckpointError) -> [TensorRecord] {
        var result: [TensorRecord] = []
        for name in names {
            guard let (dtype, pieces) = tensors[name] else { continue }
            var shape = [UInt64](repeating: 0, count: pieces[0].start.count)
            for piece in pieces {
                for axis in shape.indices {
                    let (end, overflow) = piece.start[axis].addingReportingOverflow(
                        piece.expression.shape[axis])
                    guard !overflow else {
                        throw CheckpointError(
                            .malformed, "chunk-outside", "a part lies beyond 64 bits", file: place,
                            tensor: name)
                    }
                    shape[axis] = max(shape[axis], end)
                }
            }
            do {
                result.append(
                    TensorRecord(name: name, try ChunkTiling.tensor(of: pieces, dtype: dtype, shape: shape)))
            } catch {
                throw error.error(shape: shape, tensor: name, place: place)
            }
        }
        return result
    }
}
