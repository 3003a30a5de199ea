internal import TensorCore

extension SafeTensorsMetadataEditor {
    /// Opens a file to change it and locks it.
    func openLocked(_ path: String) throws(SafeTensorsError) -> EditableFile {
        try Self.openLocked(path)
    }

    static func openLocked(_ path: String) throws(SafeTensorsError) -> EditableFile {
        let file = try input { () throws(IOError) in try EditableFile(path: path) }
        // A file that took this one's place before the lock was had is the one to change.
        let isCurrent = try input { () throws(IOError) in
            guard try file.lock() else { return false }
            return try InputFile(path: path).identity == file.identity
        }
        guard isCurrent else {
            throw SafeTensorsError(
                .fileBusy, "another program changes \(escapedForDisplay(path)): run again when it is done")
        }
        return file
    }

    /// Writes the new header where the old one stands, after moving the data up if it must; false, and no
    /// change, where the file system cannot move it.
    func changeInPlace(_ file: EditableFile, _ plan: MetadataEditPlan) throws(SafeTensorsError) -> Bool {
        let journal = EditJournal.path(for: path)
        do throws(IOError) {
            try writeJournal(journal, file, plan)
            if plan.growth > 0 {
                guard try grow(file, by: plan.growth, journal) else { return false }
                onStep(.inserted)
            }
            try writeHeader(file, plan, journal)
            onStep(.headerWritten)
            try file.synchronize()
            onStep(.headerSynchronized)
            try Self.removeJournal(journal)
            onStep(.journalRemoved)
            return true
        } catch {
            throw SafeTensorsError(error)
        }
    }

    private func writeJournal(
        _ path: String, _ file: EditableFile, _ plan: MetadataEditPlan
    ) throws(IOError) {
        let data = UInt64(plan.before.count)
        let sample = try Checksum.ofSamples(
            of: file, from: data, byteCount: plan.fileByteCount - data)
        let journal = EditJournal(
            fileByteCount: plan.fileByteCount, growth: plan.growth, dataSample: sample, before: plan.before,
            after: plan.after)
        let output = try OutputFile(creating: path)
        do throws(IOError) {
            try output.write(journal.encoded.span.bytesView, at: 0)
            onStep(.journalWritten)
            try output.synchronize()
            try FileSystem.synchronizeDirectory(Path.parent(of: path))
        } catch {
            // Not complete: worth nothing to anyone.
            try? FileSystem.removeTree(path)
            throw error
        }
        onStep(.journalSynchronized)
    }

    private func grow(_ file: EditableFile, by count: UInt64, _ journal: String) throws(IOError) -> Bool {
        do throws(IOError) {
            if try file.insertAtStart(byteCount: count) { return true }
        } catch {
            try Self.removeJournal(journal)
            throw error
        }
        try Self.removeJournal(journal)
        return false
    }

    /// Writes the header; where that fails, puts back what stood there.
    private func writeHeader(
        _ file: EditableFile, _ plan: MetadataEditPlan, _ journal: String
    ) throws(IOError) {
        do throws(IOError) {
            try file.write(plan.after.span.bytesView, at: 0)
        } catch {
            let failure = error
            // Where this fails too, the journal stays for the next editor.
            if plan.growth > 0 { try file.removeFromStart(byteCount: plan.growth) }
            try Self.restore(plan.before, file)
            try Self.removeJournal(journal)
            throw failure
        }
    }

    /// Writes an old header again, unless it still stands there.
    static func restore(_ header: [UInt8], _ file: EditableFile) throws(IOError) {
        if try file.bytes(at: 0, count: header.count) != header {
            try file.write(header.span.bytesView, at: 0)
        }
        try file.synchronize()
    }

    static func removeJournal(_ path: String) throws(IOError) {
        try FileSystem.removeTree(path)
        try FileSystem.synchronizeDirectory(Path.parent(of: path))
    }

    /// Writes the whole file anew beside the old one and puts it in its place.
    func rewrite(_ file: EditableFile, _ plan: MetadataEditPlan) throws(SafeTensorsError) {
        guard file.linkCount == 1 else {
            throw SafeTensorsError(
                .sharedFile,
                "the file has \(file.linkCount) hard links and must be written anew, which would part them: copy "
                    + "it first")
        }
        try input { () throws(IOError) in
            let identity = try file.identity
            var output = try ReplacementFile(for: path)
            try output.write(plan.after.span.bytesView, at: 0)
            try file.copy(
                UInt64(plan.before.count)..<plan.fileByteCount, to: output.output,
                at: UInt64(plan.after.count))
            guard try file.identity == identity else {
                throw IOError(.changedWhileReading, path: path, operation: "copy")
            }
            onStep(.copied)
            try output.commit()
            onStep(.replaced)
        }
    }
}
