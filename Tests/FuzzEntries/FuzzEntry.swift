internal import ArchiveTestSupport
internal import Archives
internal import CheckpointFormats
internal import Checkpoints
internal import Conversion
internal import Pipelines
internal import SafeTensors
internal import StrictJSON
internal import TensorCore

/// What reads untrusted bytes, as functions that take any bytes.
///
/// A function returns whatever the bytes are, or traps where a promise is broken.
public enum FuzzEntry: String, CaseIterable, Sendable {
    case header, json, index, pytorch, pickle, pattern, pipeline, msgpack, ocdbt
    case nemo, stream
    case dcp, zero
    case names
    case gguf, sentencepiece
    case adapter
    case npy, onnx, hdf5

    /// Reads `bytes`.
    public func callAsFunction(_ bytes: [UInt8]) {
        switch self {
        case .header: Self.readHeader(bytes)
        case .json: Self.readJSON(bytes)
        case .index: Self.readIndex(bytes)
        case .pytorch: Self.readCheckpoint(bytes)
        case .pattern: Self.readPatterns(bytes)
        case .adapter: Self.mergeAdapter(bytes)
        case .pipeline: _ = try? Pipeline(parsing: bytes)
        case .names: Self.readNames(bytes)
        case .pickle: Self.readCheckpoint(Self.archive(pickle: bytes))
        case .msgpack: Self.readMsgpack(bytes)
        case .ocdbt: Self.readOrbax(bytes)
        case .nemo: Self.readCheckpoint(bytes, name: "fuzz.nemo")
        case .stream: Self.readStream(bytes)
        case .dcp: Self.readDistributed(bytes)
        case .zero: Self.readZero(bytes)
        case .gguf: Self.readGGUF(bytes)
        case .npy: Self.readFile(bytes, name: "fuzz.npz")
        case .onnx: Self.readFile(bytes, name: "fuzz.onnx")
        case .hdf5: Self.readFile(bytes, name: "fuzz.h5")
        case .sentencepiece: Self.readVocabulary(bytes)
        }
    }
}

extension FuzzEntry {
    /// Both modes give a verdict, strict mode accepts no more than the reference, and what is accepted is consistent.
    private static func readHeader(_ bytes: [UInt8]) {
        let source = MemorySource(name: "fuzz", contents: bytes)
        let strict = try? SafeTensorsHeader(reading: source)
        let reference = try? SafeTensorsHeader(reading: source, mode: .reference)
        precondition(strict == nil || reference != nil, "strict mode accepts more")
        guard let header = reference else { return }
        var total: UInt64 = 0
        for (position, tensor) in header.enumerated() {
            precondition(header.index(of: tensor.name) == position, "a name is lost")
            precondition(tensor.dtype.byteCount(of: tensor.shape) == tensor.byteCount, "a size is wrong")
            precondition(tensor.fileRange.upperBound <= UInt64(bytes.count), "data lies outside the file")
            total += tensor.byteCount
        }
        precondition(total == header.dataByteCount, "the tensors do not fill the file")
        precondition(Set(header.offsetOrder).count == header.count, "the order is no permutation")
        _ = header.metadata
    }

    /// The first line as a glob and as a substitution, applied to the second.
    private static func readPatterns(_ bytes: [UInt8]) {
        let lines = bytes.split(separator: 0x0A, maxSplits: 1, omittingEmptySubsequences: false)
        let text = String(decoding: lines[0], as: UTF8.self)
        let name = TensorName(String(decoding: lines.last ?? [], as: UTF8.self))
        _ = (try? Glob(parsing: text))?.matches(name)
        _ = (try? Substitution(parsing: text))?.replace(in: name)
        precondition(Glob(exactly: name.string).matches(name), "a name does not match itself")
    }

    /// A document that is accepted is written and read as the same.
    private static func readJSON(_ bytes: [UInt8]) {
        guard let value = try? JSONValue(parsing: bytes) else { return }
        let text = value.serialized()
        guard let again = try? JSONValue(parsing: text) else {
            preconditionFailure("what was written cannot be read")
        }
        precondition(again.serialized() == text, "what was written reads as something else")
        _ = value.serialized(indent: 2, asciiOnly: true, sortKeys: true)
    }

    /// An index that is accepted names safe paths and is written and read as the same.
    private static func readIndex(_ bytes: [UInt8]) {
        guard let index = try? ShardIndex(parsing: bytes) else { return }
        precondition(index.files.allSatisfy(Path.isSafeRelative), "an unsafe path is accepted")
        guard let again = try? ShardIndex(parsing: index.serialized()) else {
            preconditionFailure("what was written cannot be read")
        }
        precondition(Set(again.entries) == Set(index.entries), "what was written reads as something else")
    }

    /// The config of an adapter up to the first line feed, then its weights: what is accepted is merged into a small
    /// base, and all of the result can be read.
    private static func mergeAdapter(_ bytes: [UInt8]) {
        let end = bytes.firstIndex(of: 0x0A) ?? bytes.endIndex
        let weights = MemorySource(name: "weights", contents: Array(bytes[end...].dropFirst()))
        let config = SourceFile(
            path: "adapter_config.json", source: MemorySource(name: "config", contents: Array(bytes[..<end])))
        guard let model = try? FormatRegistry.open(source: weights, name: "adapter_model.safetensors"),
            let adapter = try? Adapter(
                path: "adapter", config: config, contents: Array(bytes[..<end]), checkpoint: model.checkpoint),
            let merged = try? base.merging(adapter)
        else { return }
        for format in Adapter.Format.allCases { _ = try? adapter.model(as: format) }
        for tensor in merged.checkpoint.tensors where tensor.byteCount > 0 { readEnds(of: tensor) }
        _ = try? ExportPlan(model: merged, options: ExportOptions())
    }

    /// The model into which adapters are merged.
    private static let base: OpenedModel = {
        let shapes: [(String, [UInt64])] = [
            ("model.embed_tokens.weight", [40, 16]), ("lm_head.weight", [40, 16]),
            ("model.layers.0.self_attn.q_proj.weight", [16, 16]),
            ("model.layers.0.self_attn.q_proj.bias", [16]),
            ("model.layers.0.mlp.down_proj.weight", [16, 24]),
            ("model.layers.0.mlp.experts.down_proj", [3, 16, 8]),
            ("conv.weight", [16, 3, 4, 4]), ("model.norm.weight", [16]),
        ]
        let records = shapes.map { name, shape in
            TensorRecord(
                name: TensorName(name), dtype: .bf16, shape: shape,
                source: .filled(pattern: [0x80, 0x3F], byteCount: shape.reduce(2, *)))
        }
        return OpenedModel(
            checkpoint: Checkpoint(format: "fuzz", tensors: records, files: []), directory: nil)
    }()

    /// A checkpoint that is accepted can be read from its first byte to its last.
    private static func readCheckpoint(_ bytes: [UInt8], name: String = "fuzz.pt") {
        let source = MemorySource(name: name, contents: bytes)
        for isLenient in [false, true] {
            var options = ReadOptions()
            options.allowsOpaque = isLenient
            options.skipsUnsupported = isLenient
            guard
                let checkpoint = try? FormatRegistry.open(source: source, name: name, options: options)
                    .checkpoint
            else { continue }
            readEnds(of: checkpoint)
        }
    }

    /// Reads the first and the last elements of all tensors, and the beginnings of files inside.
    static func readEnds(of checkpoint: Checkpoint) {
        _ = checkpoint.tiedGroups
        for tensor in checkpoint.tensors where tensor.byteCount > 0 { readEnds(of: tensor) }
        for file in checkpoint.embedded {
            _ = try? file.source.bytes(at: 0, count: Int(min(file.source.byteCount, 4096)))
        }
    }

    /// Reads the first and the last elements of a tensor.
    static func readEnds(of tensor: TensorRecord) {
        let count = min(tensor.byteCount, UInt64(64 * (tensor.dtype.byteWidth ?? 1)))
        var buffer = [UInt8](repeating: 0, count: Int(count))
        var span = buffer.mutableSpan
        var raw = MutableRawSpan(_elements: &span)
        try? tensor.source.read(at: 0, into: &raw)
        try? tensor.source.read(at: tensor.byteCount - count, into: &raw)
    }

    /// A file of any format.
    private static func readFile(_ bytes: [UInt8], name: String) {
        var options = ReadOptions()
        options.skipsUnsupported = bytes.count % 2 == 0
        options.voidDType = .bf16
        let source = MemorySource(name: name, contents: bytes)
        guard let model = try? FormatRegistry.open(source: source, name: name, options: options) else {
            return
        }
        readEnds(of: model.checkpoint)
    }

    /// A compressed stream of the kind that its first byte says.
    private static func readStream(_ bytes: [UInt8]) {
        guard let first = bytes.first else { return }
        let kinds: [Compression] = [.deflate, .gzip, .zlib, .zstd]
        let source = MemorySource(name: "fuzz", contents: bytes)
        let kind = kinds[Int(first) % kinds.count]
        let range = 1..<UInt64(bytes.count)
        let whole = try? DecompressedSource.contents(
            of: source, range: range, compression: kind, limit: 1 << 20)
        guard let whole else { return }
        let stream = DecompressedSource(
            name: "fuzz", of: source, range: range, compression: kind, byteCount: UInt64(whole.count))
        let half = whole.count / 2
        let tail = try? stream.bytes(at: UInt64(half), count: whole.count - half)
        precondition(tail.map { $0.elementsEqual(whole[half...]) } ?? false, "a stream reads in two ways")
    }
}

extension FuzzEntry {
    /// The archive that torch would write around a pickle, with four storages of 256 bytes.
    package static func archive(pickle: [UInt8]) -> [UInt8] {
        var members = [
            ZipBuilder.Member("archive/data.pkl", pickle),
            ZipBuilder.Member("archive/byteorder", Array("little".utf8)),
        ]
        for number in 0..<4 {
            members.append(
                ZipBuilder.Member("archive/data/\(number)", [UInt8](repeating: UInt8(number), count: 256)))
        }
        members.append(ZipBuilder.Member("archive/version", Array("3\n".utf8)))
        for index in members.indices {
            let data = members[index].data
            members[index].crc = crc32(RawSpan(_elements: data.span))
        }
        return ZipBuilder(members).bytes()
    }
}
