public import Checkpoints
public import TensorCore

/// A file that is to be read as a checkpoint, with its first bytes and its neighbours.
public struct WeightsFile: Sendable {
    /// The bytes; they may be anywhere.
    public let source: any ByteSource
    /// What the file is called in the table and in messages.
    public let name: String
    /// The first bytes of the file, up to 512.
    public let head: [UInt8]
    /// The directory that the file is in; nil where it is not on a disk.
    public let directory: String?

    /// Makes a file of a source, whose first bytes it reads.
    public init(
        _ source: any ByteSource, name: String, directory: String? = nil
    ) throws(CheckpointError) {
        self.source = source
        self.name = name
        self.directory = directory
        do { head = try source.bytes(at: 0, count: Int(min(512, source.byteCount))) } catch {
            throw CheckpointError(error)
        }
    }

    /// Opens a file that this one refers to by a path relative to its directory.
    ///
    /// - Throws: where the path leads out of the directory, also by way of links, and where nothing stands there.
    public func sibling(_ path: String) throws(CheckpointError) -> InputFile {
        guard let directory else {
            throw CheckpointError(
                .unsupported, "sibling-unreachable",
                "it refers to the file '\(escapedForDisplay(path))', which cannot be read from here",
                file: name)
        }
        return try DirectoryListing.open(path, in: directory, for: name)
    }
}
