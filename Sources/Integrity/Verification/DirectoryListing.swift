internal import TensorCore

/// Every file below a directory, by path relative to it.
struct DirectoryListing {
    /// The paths in byte order.
    ///
    /// Links and other kinds of entries count; directories do not.
    private(set) var names: [String] = []
    private var known: Set<ByteKey> = []

    /// More levels than any model has.
    private static let depthLimit = 32

    /// Lists a directory, leaving out Git's own files at its root.
    init(path: String) throws(IOError) {
        var pending: [(path: String, prefix: String, depth: Int)] = [(path, "", 0)]
        while let directory = pending.popLast() {
            for name in try FileSystem.names(in: directory.path) {
                let relative = directory.prefix + name
                let full = Path.join(directory.path, name)
                if directory.depth == 0, [".git", ".gitattributes", ".gitignore"].contains(name) { continue }
                if try FileSystem.kind(of: full, followingLinks: false) == .directory,
                    directory.depth < Self.depthLimit
                {
                    pending.append((full, relative + "/", directory.depth + 1))
                } else {
                    names.append(relative)
                }
            }
        }
        names.sort { $0.utf8.lexicographicallyPrecedes($1.utf8) }
        known = Set(names.map { ByteKey($0) })
    }

    func contains(_ name: String) -> Bool { known.contains(ByteKey(name)) }

    /// Forgets all but one file.
    mutating func keep(only name: String) {
        names = names.filter { $0.utf8.elementsEqual(name.utf8) }
        known = Set(names.map { ByteKey($0) })
    }
}
