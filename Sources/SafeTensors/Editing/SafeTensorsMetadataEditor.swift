internal import TensorCore

/// Changes the `__metadata__` of a SafeTensors file, without writing its tensors anew where that can be.
///
/// ```swift
/// let editor = try SafeTensorsMetadataEditor(path: "model.safetensors")
/// try editor.apply(MetadataEdit(set: [("format", "pt")]))
/// ```
///
/// Where the padding of the header has room, the header alone is written. Where it has not, the file grows at its
/// start by whole blocks, which costs no copy on file systems that can (ext4, XFS), and spaces take up the rest;
/// on others the file is written anew beside the old one, sharing its blocks where the file system has that. Entries
/// of tensors keep their order, their spelling and their offsets.
///
/// A change in place is noted in a journal beside the file (`.NAME.artifact-journal`) before the file is touched. A
/// process that is killed at any instant leaves the file as it was, as it shall be, or to be finished by the
/// next editor of the file. Other programs should not have the file open meanwhile; the file is locked with
/// `flock` against those that look.
public struct SafeTensorsMetadataEditor: Sendable {
    /// How a change gets into the file.
    public enum Method: String, Sendable {
        /// Nothing changes.
        case none
        /// The header is written where it stands.
        case inPlace
        /// The file grows at its start by whole blocks.
        case insert
        /// The file is written anew.
        case rewrite
    }

    /// What has just been done, for tests that end the process there.
    public enum Step: String, Sendable, CaseIterable {
        /// The journal is written but may not be on stable storage.
        case journalWritten
        /// The journal is on stable storage.
        case journalSynchronized
        /// The file has grown; its header is not valid now.
        case inserted
        /// The new header is written.
        case headerWritten
        /// The new header is on stable storage.
        case headerSynchronized
        /// The journal is gone.
        case journalRemoved
        /// The new file is complete beside the old one.
        case copied
        /// The new file has taken the old one's place.
        case replaced
    }

    /// What became of a change that an earlier process did not finish.
    public enum Recovery: String, Sendable {
        /// There was none.
        case none
        /// It had not touched the file.
        case rolledBack
        /// It was finished.
        case finished
    }

    /// What a change does, or did.
    public struct Outcome: Sendable {
        /// How.
        public let method: Method
        /// The metadata before.
        public let before: [(key: String, value: String)]
        /// The metadata after.
        public let after: [(key: String, value: String)]
        /// The size of the header before and after, without the eight bytes of its length.
        public let headerByteCount: (before: UInt64, after: UInt64)
        /// The size of the file after, in bytes.
        public let fileByteCount: UInt64
    }

    /// The file, with links followed.
    public let path: String
    /// Whether a file that has several names may be changed, and so under all of them.
    public var changesSharedFiles: Bool
    /// What was done about an earlier change when the editor was made.
    public let recovery: Recovery
    let onStep: @Sendable (Step) -> Void

    /// The unit in which headers grow, in bytes, unless the file system's blocks are larger.
    static let growthUnit: UInt64 = 4096

    /// Makes an editor of the file at `path`, after finishing what an earlier one did not.
    ///
    /// - Parameters:
    ///   - path: the file; a symbolic link is followed.
    ///   - changesSharedFiles: whether a file with several hard links may be changed.
    ///   - onStep: called after each step of a change, for tests.
    /// - Throws: ``SafeTensorsError/Code/fileBusy`` where another program holds the lock of a file with an
    ///   unfinished change, ``SafeTensorsError/Code/interruptedEdit`` where it cannot be finished.
    public init(
        path: String, changesSharedFiles: Bool = false, onStep: @escaping @Sendable (Step) -> Void = { _ in }
    ) throws(SafeTensorsError) {
        guard let resolved = FileSystem.resolved(path) else {
            throw SafeTensorsError(IOError(.system, path: path, operation: "open", errno: 2))
        }
        self.path = resolved
        self.changesSharedFiles = changesSharedFiles
        self.onStep = onStep
        recovery = try Self.recover(resolved)
    }

    /// The metadata now, in the order of the header.
    ///
    /// - Throws: what makes the file invalid, or ``SafeTensorsError/Code/io``.
    public func metadata() throws(SafeTensorsError) -> [(key: String, value: String)] {
        Array(try SafeTensorsReader(opening: path).header.metadata)
    }

    /// What ``apply(_:)`` would do, without doing it.
    ///
    /// Whether the file system can insert blocks shows only when it is asked to, so ``Method/insert`` may turn
    /// out as ``Method/rewrite``.
    ///
    /// - Parameter edit: the keys to set and to remove.
    /// - Throws: as ``apply(_:)``.
    public func plan(_ edit: MetadataEdit) throws(SafeTensorsError) -> Outcome {
        try input { () throws(IOError) in try InputFile(path: path) }.plan(edit, blockByteCount: 0).outcome
    }

    /// Makes the change.
    ///
    /// Takes time for the header where the file need not be written anew.
    ///
    /// - Parameter edit: the keys to set and to remove.
    /// - Returns: what was done.
    /// - Throws: ``SafeTensorsError/Code/unknownKey`` where a key to remove is not there,
    ///   ``SafeTensorsError/Code/fileBusy`` where another program holds the file's lock or changes it,
    ///   ``SafeTensorsError/Code/sharedFile`` where it has several hard links,
    ///   ``SafeTensorsError/Code/headerTooLarge``, ``SafeTensorsError/Code/io``, and what makes the file invalid.
    ///   The file is as it was then.
    @discardableResult
    public func apply(_ edit: MetadataEdit) throws(SafeTensorsError) -> Outcome {
        let file = try openLocked(path)
        guard !Self.isInterrupted(path) else {
            throw SafeTensorsError(.fileBusy, "another program was changing the file: run again")
        }
        let identity = try input { () throws(IOError) in try file.identity }
        let plan = try file.plan(edit, blockByteCount: file.blockByteCount)
        guard plan.outcome.method != .none else { return plan.outcome }
        guard changesSharedFiles || file.linkCount == 1 else {
            throw SafeTensorsError(
                .sharedFile,
                "the file has \(file.linkCount) hard links and would change under all of its names: copy it "
                    + "first, or ask for the change of all")
        }
        guard try input({ () throws(IOError) in try file.identity }) == identity else {
            throw SafeTensorsError(
                .fileBusy, "the file was changed meanwhile: run again when nothing writes it")
        }
        if try changeInPlace(file, plan) { return plan.outcome }
        try rewrite(file, plan)
        return plan.outcome.by(.rewrite)
    }
}

extension SafeTensorsMetadataEditor.Outcome {
    fileprivate func by(_ method: SafeTensorsMetadataEditor.Method) -> Self {
        Self(
            method: method, before: before, after: after, headerByteCount: headerByteCount,
            fileByteCount: fileByteCount)
    }
}

/// Runs `body` and wraps its failure.
func input<R>(_ body: () throws(IOError) -> R) throws(SafeTensorsError) -> R {
    do { return try body() } catch { throw SafeTensorsError(error) }
}
