internal import TensorCore

/// A directory beside the destination in which a result is built, and which takes the destination's place in
/// one step when it is whole.
///
/// Whenever the process ends, the destination is what it was or complete. What an interrupted run leaves
/// behind is a hidden sibling that the next run to the same destination removes.
final class Staging: Sendable {
    /// The hidden sibling.
    let path: String
    /// Where the result will stand.
    let destination: String
    private let replacing: Bool
    private let lock: FileSystem.Lock

    /// Checks the destination and makes the sibling.
    ///
    /// - Parameters:
    ///   - replacing: whether something may stand at the destination.
    ///   - sources: paths that must not be inside the destination.
    init(destination: String, replacing: Bool, sources: [String]) throws(ConversionError) {
        let destination = Path.normalized(destination)
        let name = Path.name(of: destination)
        guard name != ".", name != "..", name != "/" else {
            throw .options("the destination needs a name of its own: \(escapedForDisplay(destination))")
        }
        try Self.check(destination, replacing: replacing, sources: sources)
        self.destination = destination
        self.replacing = replacing
        let parent = Path.parent(of: destination)
        let prefix = ".\(name).partial-"
        (path, lock) = try inputOutput { () throws(IOError) in
            try FileSystem.createDirectories(parent)
            try Self.removeAbandoned(in: parent, prefix: prefix)
            return try Self.make(in: parent, prefix: prefix)
        }
    }

    /// Removes what was built.
    func discard() { try? FileSystem.removeTree(path) }

    /// Puts the result in its place.
    ///
    /// Returns the path that what stood there before was moved to, if it was kept.
    func commit() throws(ConversionError) -> String? {
        let isPlaced = try inputOutput { () throws(IOError) in
            try FileSystem.synchronizeDirectory(path)
            return try placeInFreeSpot()
        }
        guard isPlaced || replacing else {
            throw .destination("\(escapedForDisplay(destination)) was made by something else in the meantime")
        }
        return try inputOutput { () throws(IOError) in
            let kept = isPlaced ? nil : try replace()
            try FileSystem.synchronizeDirectory(Path.parent(of: destination))
            return kept
        }
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

    private func replace() throws(IOError) -> String? {
        let isOurs = EarlierExport.isComplete(at: destination)
        var old = path
        if try !FileSystem.exchange(path, destination) {
            // No swap in one step here: for a moment nothing stands at the destination.
            old = try Self.moveAside(destination, from: destination)
            guard try FileSystem.moveWithoutReplacing(path, to: destination) else {
                throw IOError(.system, path: destination, operation: "replace", errno: 17)
            }
        }
        if isOurs {
            try FileSystem.removeTree(old)
            return nil
        }
        return old == path ? try Self.moveAside(path, from: destination) : old
    }

    /// Moves `path` to the first free name `DESTINATION.replaced-N` and returns it.
    private static func moveAside(_ path: String, from destination: String) throws(IOError) -> String {
        var number = 1
        while true {
            let target = "\(destination).replaced-\(number)"
            if try FileSystem.moveWithoutReplacing(path, to: target) { return target }
            number += 1
        }
    }

    private static func check(
        _ destination: String, replacing: Bool, sources: [String]
    ) throws(ConversionError) {
        let shown = escapedForDisplay(destination)
        let kind = try inputOutput { () throws(IOError) in
            try FileSystem.kind(of: destination, followingLinks: false)
        }
        guard let kind else { return }
        guard kind == .directory else {
            throw .destination("\(shown) exists and is not a directory: choose another name")
        }
        let names = try inputOutput { () throws(IOError) in try FileSystem.names(in: destination) }
        if names.isEmpty { return }
        guard replacing else {
            throw .destination(
                "\(shown) exists and is not empty: choose another name, or replace it with --force")
        }
        guard let target = FileSystem.resolved(destination) else { return }
        for source in sources {
            guard let source = FileSystem.resolved(source) else { continue }
            if source == target || source.hasPrefix(target + "/") {
                throw .destination("\(shown) holds the source: replacing it would delete what is read")
            }
        }
    }

    /// Removes siblings that no living process holds.
    private static func removeAbandoned(in parent: String, prefix: String) throws(IOError) {
        for name in try FileSystem.names(in: parent) where name.hasPrefix(prefix) {
            let path = Path.join(parent, name)
            guard let lock = try? FileSystem.Lock(directory: path) else { continue }
            try FileSystem.removeTree(path)
            _ = lock
        }
    }

    private static func make(in parent: String, prefix: String) throws(IOError) -> (String, FileSystem.Lock) {
        for _ in 0..<100 {
            let digits = String(UInt32.random(in: .min ... .max), radix: 16)
            let path = Path.join(parent, prefix + digits)
            try FileSystem.createDirectory(path)
            // Another run may have taken it for abandoned before it was locked.
            if let lock = try? FileSystem.Lock(directory: path), try FileSystem.kind(of: path) != nil {
                return (path, lock)
            }
        }
        throw IOError(.unreadable, path: parent, operation: "lock a directory in", detail: "tried 100 times")
    }
}
