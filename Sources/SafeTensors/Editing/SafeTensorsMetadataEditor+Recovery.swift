internal import TensorCore

extension SafeTensorsError {
    /// The error of a file whose header is refused because a change of it was not finished.
    func adding(interruptedEditOf path: String) -> SafeTensorsError {
        var result = self
        result.message +=
            ": a change of its metadata was interrupted, which artifact metadata get \(escapedForDisplay(path)) "
            + "finishes"
        return result
    }
}

extension SafeTensorsMetadataEditor {
    /// True where a change of the file at `path` was begun and not finished.
    ///
    /// - Parameter path: the file; a symbolic link is followed.
    public static func isInterrupted(_ path: String) -> Bool {
        guard let resolved = FileSystem.resolved(path) else { return false }
        return (try? FileSystem.kind(of: EditJournal.path(for: resolved), followingLinks: false)) != nil
    }

    /// Finishes a change that a journal tells of, or finds that it had not begun.
    static func recover(_ path: String) throws(SafeTensorsError) -> Recovery {
        let journalPath = EditJournal.path(for: path)
        guard isInterrupted(path) else { return .none }
        // Who is at work holds the lock.
        let file = try openLocked(path)
        guard isInterrupted(path) else { return .none }
        let contents = try input { () throws(IOError) in
            try FileSystem.contents(of: journalPath, limit: 3 * SafeTensorsHeader.maximumHeaderByteCount)
        }
        let recovery: Recovery
        if let journal = EditJournal(decoding: contents) {
            recovery = try finish(journal, file, journalPath)
        } else {
            // A journal that was cut short while it was written: then the file is as it was, and sound.
            try requireSound(file, "is damaged or of another version", journalPath)
            recovery = .rolledBack
        }
        try input { () throws(IOError) in try removeJournal(journalPath) }
        return recovery
    }

    private static func finish(
        _ journal: EditJournal, _ file: EditableFile, _ path: String
    ) throws(SafeTensorsError) -> Recovery {
        do throws(IOError) {
            switch try state(of: file, journal) {
            case .undone:
                try restore(journal.before, file)
                return .rolledBack
            case .begun:
                try file.write(journal.after.span.bytesView, at: 0)
                try file.synchronize()
                return .finished
            case .foreign: break
            }
        } catch {
            throw SafeTensorsError(error)
        }
        // The file is another than the journal tells of. One that is sound was put there since.
        try requireSound(file, "does not fit the file", path)
        return .rolledBack
    }

    /// Throws, and so keeps the journal, where the file cannot be opened without what the journal holds.
    private static func requireSound(
        _ file: EditableFile, _ fault: String, _ journal: String
    ) throws(SafeTensorsError) {
        guard (try? SafeTensorsHeader(reading: file)) == nil else { return }
        throw SafeTensorsError(
            .interruptedEdit,
            "a change of \(escapedForDisplay(file.name)) was interrupted, and its journal "
                + "\(escapedForDisplay(journal)) \(fault): restore the file, then remove the journal")
    }

    private enum FileState {
        /// The header is the old one, but for bytes that a failed attempt to undo the change left.
        case undone
        /// The file has its new size, and the header is on the way.
        case begun
        /// The file is not the one that the journal tells of.
        case foreign
    }

    private static func state(
        of file: EditableFile, _ journal: EditJournal
    ) throws(IOError) -> FileState {
        let size = file.byteCount
        let (grown, overflow) = journal.fileByteCount.addingReportingOverflow(journal.growth)
        guard !overflow, UInt64(journal.after.count) <= grown, size == grown || size == journal.fileByteCount,
            UInt64(journal.before.count) + journal.growth == UInt64(journal.after.count)
        else { return .foreign }
        if size == journal.fileByteCount {
            let start = try file.bytes(at: 0, count: journal.before.count)
            if start == journal.before { return .undone }
            // What was undone may hold bytes of the new header where the old one stood.
            let other = Array(journal.after[Int(journal.growth)...])
            guard isMixture(start, journal.before, other) else { return .foreign }
            if journal.growth > 0 { return .undone }
        } else {
            let start = try file.bytes(at: 0, count: journal.after.count)
            let grownBefore = [UInt8](repeating: 0, count: Int(journal.growth)) + journal.before
            guard isMixture(start, grownBefore, journal.after) else { return .foreign }
        }
        let data = UInt64(journal.after.count)
        let sample = try Checksum.ofSamples(of: file, from: data, byteCount: grown - data)
        return sample == journal.dataSample ? .begun : .foreign
    }

    /// True where each byte is that of the one or of the other.
    private static func isMixture(_ bytes: [UInt8], _ a: [UInt8], _ b: [UInt8]) -> Bool {
        bytes.indices.allSatisfy { bytes[$0] == a[$0] || bytes[$0] == b[$0] }
    }
}
