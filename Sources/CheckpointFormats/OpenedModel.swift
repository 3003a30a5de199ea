public import Checkpoints
public import TensorCore

/// A model as it was found: the table of its weights and the directory around them.
public struct OpenedModel: Sendable {
    /// The weights.
    public var checkpoint: Checkpoint
    /// The directory, where a directory was opened.
    public var directory: ModelDirectory?
    /// Files that take the place of the directory's of the same names, or stand beside those.
    public var edited: [EmbeddedFile] = []

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

    /// The files that belong to the model: those of the directory with what takes their place, then those that the
    /// checkpoint holds and the directory has not.
    public var sideFiles: [Side] {
        var result: [Side] = []
        for file in directory?.sideFiles ?? [] { result.append(Side(file: file, embedded: nil)) }
        for item in checkpoint.embedded where !result.contains(where: { $0.isNamed(item.file.name) }) {
            result.append(Side(file: item.file, embedded: item.source))
        }
        for item in edited {
            let side = Side(file: item.file, embedded: item.source)
            if let place = result.firstIndex(where: { $0.isNamed(item.file.name) }) {
                result[place] = side
            } else {
                result.append(side)
            }
        }
        return result
    }
}

extension OpenedModel.Side {
    fileprivate func isNamed(_ name: String) -> Bool { file.name.utf8.elementsEqual(name.utf8) }
}
