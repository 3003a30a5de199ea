public import Checkpoints
public import TensorCore

/// Reads the files that `torch.save` writes (`.pt`, `.pth`, `.bin`, `.ckpt`) without running anything in them.
public enum PyTorchReader {
    /// The name of the format.
    public static let formatName = "pytorch"

    /// Whether a file is one for this reader: by its first bytes, or by its name where they say nothing.
    ///
    /// A file with a name of PyTorch's and the content of another format is accepted too, so that reading it
    /// says what it really is.
    ///
    /// - Parameters:
    ///   - firstBytes: the first bytes of the file; 512 are enough.
    ///   - path: its path.
    public static func recognizes(firstBytes: [UInt8], path: String) -> Bool {
        FileContent.isPyTorch(firstBytes) || hasFamiliarName(path)
    }

    private static func hasFamiliarName(_ path: String) -> Bool {
        let name = Path.name(of: path)
        return [".pt", ".pth", ".bin", ".ckpt", ".pkl"].contains { name.hasSuffix($0) }
    }

    /// Reads the table of a file.
    ///
    /// - Parameters:
    ///   - path: the file.
    ///   - displayName: what it is called in the table and in errors; its last path component where nil.
    ///   - options: the caller's choices.
    /// - Throws: where the file asks for code to be run, is damaged, or is of a kind that is not supported.
    public static func readFile(
        path: String, displayName: String? = nil, options: ReadOptions = ReadOptions()
    ) throws(CheckpointError) -> Checkpoint {
        let file: InputFile
        do { file = try InputFile(path: path) } catch { throw CheckpointError(error) }
        return try read(file, displayName: displayName ?? Path.name(of: path), options: options)
    }

    /// Reads the table of a file that is a source already.
    public static func read(
        _ source: any ByteSource, displayName: String, options: ReadOptions = ReadOptions()
    ) throws(CheckpointError) -> Checkpoint {
        let firstBytes: [UInt8]
        do {
            firstBytes = try source.bytes(at: 0, count: Int(min(512, source.byteCount)))
        } catch {
            throw CheckpointError(error)
        }
        switch FileContent(firstBytes) {
        case .zip:
            return try ArchiveCheckpoint(source, displayName: displayName).read(options)
        case .legacyPyTorch:
            return try LegacyCheckpoint(source, displayName: displayName).read(options)
        case .tar: return try TarCheckpoint(source, displayName: displayName).read(options)
        case .pickle:
            try LegacyCheckpoint.refuseBarePickle(source, displayName: displayName, options)
        case .other(let description):
            throw CheckpointError(
                .unsupported, "not-pytorch", "this is not a PyTorch file but \(description)",
                file: displayName)
        case .unknown:
            throw CheckpointError(
                .malformed, "not-pytorch",
                "this is neither a zip archive nor a pickle, so PyTorch did not write it or it is damaged",
                file: displayName)
        }
    }

    /// Reads the table of a file that is a part of another.
    static func read(
        _ source: any ByteSource, range: Range<UInt64>, displayName: String, options: ReadOptions
    ) throws(CheckpointError) -> Checkpoint {
        let head: [UInt8]
        do {
            head = try source.bytes(
                at: range.lowerBound, count: Int(min(512, range.upperBound - range.lowerBound)))
        } catch { throw CheckpointError(error) }
        if FileContent(head) == .zip {
            return try ArchiveCheckpoint(source, range: range, displayName: displayName).read(options)
        }
        let part = SourceRange(name: source.name + ": weights", of: source, range: range)
        return try read(part, displayName: displayName, options: options)
    }
}
