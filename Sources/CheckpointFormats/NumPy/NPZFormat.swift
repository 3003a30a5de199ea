internal import Archives
public import Checkpoints
internal import TensorCore

/// A zip archive of arrays that `numpy.savez` wrote, with a tensor for each.
public struct NPZFormat: FileFormat {
    /// Makes the format.
    public init() {}

    /// The identifier.
    public var name: String { "npz" }
    /// One line for people.
    public var summary: String { "NumPy archive of arrays, stored or compressed" }
    /// The usual file names.
    public var patterns: String { "*.npz" }

    /// A zip archive whose first member is an array, or one with the extension.
    public func recognizes(_ file: WeightsFile) -> Bool {
        let head = file.head
        if file.name.hasSuffix(".npz") { return !FileContent.isPyTorch(head) }
        guard head.starts(with: [0x50, 0x4B, 3, 4]), head.count >= 30 else { return false }
        let count = Int(head[26]) | Int(head[27]) << 8
        return head[30...].prefix(count).suffix(4).elementsEqual(".npy".utf8)
    }

    /// Reads the headers of a file.
    public func read(_ file: WeightsFile, options: ReadOptions) throws(CheckpointError) -> Checkpoint {
        var limits = ZipLimits()
        // Arrays are looked up by their exact names, and `W` beside `w` is common.
        limits.ignoresCase = false
        let archive: ZipArchive
        do { archive = try ZipArchive(reading: file.source, limits: limits) } catch {
            throw CheckpointError(error, file: file.name)
        }
        var reader = NPZReader(archive: archive, file: file, options: options)
        for entry in archive.entries { try reader.add(entry) }
        return reader.checkpoint(format: name)
    }
}
