public import Checkpoints
public import TensorCore

/// A model as it was found: the table of its weights and the directory around them.
public struct OpenedModel: Sendable {
    /// The weights.
    public var checkpoint: Checkpoint
    /// The directory, where a directory was opened.
    public var directory: ModelDirectory?

    /// Makes a model.
    public init(checkpoint: Checkpoint, directory: ModelDirectory?) {
        self.checkpoint = checkpoint
        self.directory = directory
    }

    /// A file that belongs to the model beside its weights.
    public struct Side: Sendable {
        /// The file.
        public var file: SideFile
        /// The bytes, where the checkpoint holds them; nil for a file of the directory.
        public var embedded: (any ByteSource)?
    }

    /// The files that belong to the model: those of the directory, then those that the checkpoint holds and the
    /// directory has not.
    public var sideFiles: [Side] {
        let own = directory?.sideFiles ?? []
        let embedded = checkpoint.embedded.filter { item in
            !own.contains { $0.name.utf8.elementsEqual(item.file.name.utf8) }
        }
        return own.map { Side(file: $0, embedded: nil) }
            + embedded.map { Side(file: $0.file, embedded: $0.source) }
    }
}
