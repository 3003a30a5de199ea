internal import Integrity
internal import TensorCore

/// A directory beside the destination in which a result is built, and which takes the destination's place in
/// one step when it is whole.
///
/// Whenever the process ends, the destination is what it was or complete. What an interrupted run leaves behind
/// is a hidden sibling, known by its name and by a marker inside. The next run to the same destination goes on
/// with it where its journal belongs to the same plan, and removes it otherwise. Nothing that artifact did not
/// make is ever under such a name.
final class Staging: Sendable {
    /// Where the result is built.
    var path: String { Path.join(shell, Self.contentName) }
    /// Where the result will stand.
    let destination: String
    /// The hidden sibling: holds the marker, the content and the journal.
    let shell: String
    /// What an earlier run left to go on with.
    let resumption: Journal.Contents?
    private let replacing: Bool
    private let lock: FileSystem.Lock

    private static let contentName = "content"
    private static let markerName = ".artifact-staging"
    private static let journalName = "journal"

    private var journalPath: String { Path.join(shell, Self.journalName) }

    /// Checks the destination and makes the sibling, or takes over the one that an earlier run left.
    ///
    /// - Parameters:
    ///   - replacing: whether something may stand at the destination.
    ///   - sources: paths that must not be inside the destination.
    ///   - plan: the digest of the plan, to go on with a run of the same one; nil to begin anew.
    init(
        destination: String, replacing: Bool, sources: [String], resuming plan: SHA256Digest? = nil
    ) throws(ConversionError) {
        let destination = Path.normalized(destination)
        try Self.check(destination, replacing: replacing, sources: sources)
        self.destination = destination
        self.replacing = replacing
        let parent = Path.parent(of: destination)
        let prefix = Self.prefix(for: Path.name(of: destination))
        try inputOutput { () throws(IOError) in try FileSystem.createDirectories(parent) }
        if let earlier = Self.clearAbandoned(in: parent, prefix: prefix, keeping: plan) {
            (shell, lock) = (earlier.shell, earlier.lock)
            resumption = earlier.journal
            return
        }
        (shell, lock) = try inputOutput { () throws(IOError) in
            try Self.make(in: parent, prefix: prefix, destination: destination)
        }
        resumption = nil
    }

    /// The journal of this run, or that of the run which this one goes on with.
    ///
    /// - Parameter lanes: what is gone on with of the latter, by number.
    func openJournal(plan: SHA256Digest, lanes: [Int: LaneProgress]) throws(IOError) -> Journal {
        if let resumption {
            return try Journal(resuming: journalPath, byteCount: resumption.byteCount, lanes: lanes)
        }
        return try Journal(creating: journalPath, plan: plan)
    }

    /// Whether the next run can go on with what is there.
    var isResumable: Bool {
        (try? FileSystem.kind(of: journalPath)) == .file && (try? FileSystem.kind(of: path)) == .directory
    }

    /// Removes what is in the content and has none of these names.
    func removeContent(but names: Set<ByteKey>) throws(IOError) {
        for name in try FileSystem.names(in: path) where !names.contains(ByteKey(name)) {
            try FileSystem.removeTree(Path.join(path, name))
        }
    }

    /// Removes what was built.
    func discard() { Self.remove(shell) }

    /// Removes a sibling: first the journal, which would be believed, last the marker, so that a removal that is
    /// cut short can be taken up again.
    private static func remove(_ shell: String) {
        for name in [journalName, contentName] {
            guard (try? FileSystem.removeTree(Path.join(shell, name))) != nil else { return }
        }
        try? FileSystem.removeTree(shell)
    }

    /// Puts the result in its place.
    ///
    /// - Parameter isOurs: asked, where something is replaced, whether it may be deleted; it is kept otherwise.
    /// - Returns: the path that what stood there before was moved to, if it was kept.
    func commit(deletingIf isOurs: () -> Bool) throws(ConversionError) -> String? {
        let isPlaced = try inputOutput { () throws(IOError) in
            try FileSystem.synchronizeDirectory(path)
            return try placeInFreeSpot()
        }
        guard isPlaced || replacing else {
            throw .destination("\(escapedForDisplay(destination)) was made by something else in the meantime")
        }
        let kept = try inputOutput { () throws(IOError) in
            let kept = isPlaced ? nil : isOurs() ? try exchangeAndDelete() : try moveAsideAndReplace()
            try FileSystem.synchronizeDirectory(Path.parent(of: destination))
            return kept
        }
        // The result stands; what is left of the sibling is no reason to fail.
        discard()
        return kept
    }

    /// Moves the result to a destination where nothing or an empty directory stands.
    private func placeInFreeSpot() throws(IOError) -> Bool {
        if try FileSystem.moveWithoutReplacing(path, to: destination) { return true }
        guard try FileSystem.kind(of: destination, followingLinks: false) == .directory,
            try FileSystem.names(in: destination).isEmpty
        else { return false }
        try FileSystem.moveOverEmptyDirectory(path, to: destination)
        return true
    }

    /// Swaps the result with an earlier export, which goes with the sibling.
    private func exchangeAndDelete() throws(IOError) -> String? {
        // What stands under the sibling's name after the swap is not what the journal tells of.
        try FileSystem.removeTree(journalPath)
        try FileSystem.synchronizeDirectory(shell)
        if try FileSystem.exchange(path, destination) { return nil }
        return try moveAsideAndReplace()
    }

    /// Gives the result a name of its own and swaps it with what stands at the destination, so that at no moment
    /// the latter is under a name that is swept.
    private func moveAsideAndReplace() throws(IOError) -> String? {
        var number = 1
        var target = "\(destination).replaced-1"
        while try !FileSystem.moveWithoutReplacing(path, to: target) {
            number += 1
            target = "\(destination).replaced-\(number)"
        }
        do {
            if try FileSystem.exchange(target, destination) { return target }
        } catch {
            try? FileSystem.removeTree(target)
            throw error
        }
        // No swap in one step on this file system: for a moment nothing stands at the destination.
        let result = target
        repeat {
            number += 1
            target = "\(destination).replaced-\(number)"
        } while try !FileSystem.moveWithoutReplacing(destination, to: target)
        guard try FileSystem.moveWithoutReplacing(result, to: destination) else {
            throw IOError(
                .unreadable, path: destination, operation: "replace",
                detail: "something else was put there; the result is at \(result)")
        }
        return target
    }
}

/// Checks of the destination, and leftovers.
extension Staging {
    /// Throws where the destination cannot be made or may not be replaced.
    static func check(
        _ destination: String, replacing: Bool, sources: [String]
    ) throws(ConversionError) {
        let destination = Path.normalized(destination)
        let shown = escapedForDisplay(destination)
        guard ![".", "..", "/"].contains(Path.name(of: destination)) else {
            throw .options("the destination needs a name of its own: \(shown)")
        }
        let kind = try inputOutput { () throws(IOError) in
            try FileSystem.kind(of: destination, followingLinks: false)
        }
        guard let kind else { return }
        guard kind == .directory else {
            throw .destination("\(shown) exists and is not a directory: choose another name")
        }
        if FileSystem.isMountPoint(destination) {
            throw .destination("\(shown) is a mount point: name a directory below it")
        }
        let names = try inputOutput { () throws(IOError) in try FileSystem.names(in: destination) }
        if names.isEmpty { return }
        guard replacing else {
            throw .destination(
                "\(shown) exists and is not empty: choose another name, or replace it with --force")
        }
        guard let target = FileSystem.resolved(destination) else { return }
        for source in sources.compactMap(FileSystem.resolved)
        where source == target || source.hasPrefix(target + "/") {
            throw .destination("\(shown) holds the source: replacing it would delete what is read")
        }
    }

    /// The beginning of the names of siblings: short enough to leave room for the rest.
    private static func prefix(for name: String) -> String {
        if name.utf8.count <= 200 { return ".\(name).partial-" }
        var hash: UInt64 = 0xCBF2_9CE4_8422_2325
        for byte in name.utf8 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01B3 }
        return ".artifact-\(String(hash, radix: 16)).partial-"
    }

    /// Removes siblings of ours that no living process holds, but for one whose journal belongs to `plan`; what
    /// cannot be removed stays.
    private static func clearAbandoned(
        in parent: String, prefix: String, keeping plan: SHA256Digest?
    ) -> (shell: String, lock: FileSystem.Lock, journal: Journal.Contents)? {
        guard let names = try? FileSystem.names(in: parent) else { return nil }
        var kept: (shell: String, lock: FileSystem.Lock, journal: Journal.Contents)?
        for name in names where name.hasPrefix(prefix) {
            let digits = name.utf8.dropFirst(prefix.utf8.count)
            let path = Path.join(parent, name)
            guard digits.count == 8, digits.allSatisfy({ 0x30...0x39 ~= $0 || 0x61...0x66 ~= $0 }),
                (try? FileSystem.kind(of: path, followingLinks: false)) == .directory,
                let inside = try? FileSystem.names(in: path),
                inside.isEmpty
                    || (try? FileSystem.kind(of: Path.join(path, markerName), followingLinks: false))
                        == .file,
                inside.allSatisfy({ [markerName, contentName, journalName].contains($0) }),
                let lock = try? FileSystem.Lock(directory: path)
            else { continue }
            if kept == nil, let plan, let journal = readJournal(in: path), journal.plan == plan {
                kept = (path, lock, journal)
                continue
            }
            remove(path)
            _ = lock
        }
        return kept
    }

    /// The journal of a sibling that can be gone on with: what it speaks of is there, and is this user's own.
    private static func readJournal(in shell: String) -> Journal.Contents? {
        let journal = Path.join(shell, journalName)
        guard FileSystem.isOwn(shell, .directory), FileSystem.isOwn(journal, .file),
            FileSystem.isOwn(Path.join(shell, contentName), .directory)
        else { return nil }
        return Journal.read(journal)
    }

    private static func make(
        in parent: String, prefix: String, destination: String
    ) throws(IOError) -> (String, FileSystem.Lock) {
        for _ in 0..<100 {
            let digits = String(UInt32.random(in: 0x1000_0000 ... .max), radix: 16)
            let path = Path.join(parent, prefix + digits)
            try FileSystem.createDirectory(path)
            do {
                // Another run may have taken it for abandoned in the moment before it was locked.
                guard let lock = try FileSystem.Lock(directory: path), try FileSystem.kind(of: path) != nil
                else {
                    try? FileSystem.removeTree(path)
                    continue
                }
                try FileSystem.create(Path.join(path, markerName), contents: [])
                let content = Path.join(path, contentName)
                try FileSystem.createDirectory(content)
                // An empty directory that is filled keeps its mode.
                if try FileSystem.kind(of: destination) == .directory {
                    try FileSystem.copyMode(of: destination, to: content)
                }
                return (path, lock)
            } catch {
                let isGone = (try? FileSystem.kind(of: path)) == .some(nil)
                try? FileSystem.removeTree(path)
                guard isGone else { throw error }
            }
        }
        throw IOError(.unreadable, path: parent, operation: "lock a directory in", detail: "tried 100 times")
    }
}
