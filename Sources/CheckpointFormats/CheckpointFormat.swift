public import Checkpoints

/// A kind of checkpoint that can be read.
///
/// A new format is a folder with one of the two kinds below and a line in ``FormatRegistry``. Formats are found by
/// content wherever content tells; reading takes headers only.
public protocol CheckpointFormat: Sendable {
    /// The identifier, such as `pytorch`.
    var name: String { get }
    /// One line for people: what it is and who writes it.
    var summary: String { get }
    /// The usual file names, such as `*.bin *.pt`.
    var patterns: String { get }
}

/// A format of one file, which may refer to others beside it.
public protocol FileFormat: CheckpointFormat {
    /// Whether the file is of this format, or is its business to refuse.
    func recognizes(_ file: WeightsFile) -> Bool
    /// Reads the headers of the file.
    func read(_ file: WeightsFile, options: ReadOptions) throws(CheckpointError) -> Checkpoint
}

/// A format of a whole directory.
public protocol DirectoryFormat: CheckpointFormat {
    /// Whether the directory is of this format, or is its business to refuse.
    func recognizes(_ listing: DirectoryListing) throws(CheckpointError) -> Bool
    /// Reads the headers of what is in the directory.
    func read(_ listing: DirectoryListing, options: ReadOptions) throws(CheckpointError) -> OpenedModel
}
