public import SafeTensors
public import TensorCore

/// What stands at a path that loaders are asked about: weights files with their headers, and indexes.
public struct ModelFiles: Sendable {
    /// A weights file.
    public struct File: Sendable {
        /// The path below the directory, or the file's own name.
        public let path: String
        /// The header as the reference reads it, or nil where it refuses the file.
        public let header: SafeTensorsHeader?
        /// Why the reference refuses the file.
        public let fault: SafeTensorsError?
        let source: InputFile
    }

    /// What was asked about.
    public let path: String
    /// Whether that is a directory.
    public let isDirectory: Bool
    /// The SafeTensors files of the directory and those that its indexes name, in byte order of their paths.
    public private(set) var files: [File] = []
    /// The indexes of the directory.
    private(set) var indexes: [IndexFile] = []
    /// The names in the directory, and those of its subfolders with the folder before them.
    private(set) var names: [String] = []

    /// The most files of one directory that are opened.
    static let fileLimit = 20_000

    /// Reads the headers of a SafeTensors file, or of those of a directory.
    ///
    /// - Parameter path: a file, a model directory, or an index.
    /// - Throws: ``IOError`` where something cannot be read; what is wrong with a file is kept, not thrown.
    public init(path: String) throws(IOError) {
        let isIndex = path.hasSuffix(".safetensors.index.json")
        let directory = isIndex ? Path.parent(of: path) : path
        self.path = directory
        isDirectory = isIndex ? true : try FileSystem.kind(of: path) == .directory
        guard isDirectory else {
            files = [try Self.file(path, shown: Path.name(of: path))]
            return
        }
        names = try Self.list(directory)
        for name in names where !name.contains("/") && name.hasSuffix(".safetensors.index.json") {
            indexes.append(try IndexFile(Path.join(directory, name), name: name))
        }
        var wanted = Set(names.filter { !$0.contains("/") && $0.hasSuffix(".safetensors") })
        for index in indexes {
            wanted.formUnion(index.files.filter { Path.isSafeRelative($0) })
        }
        for name in wanted.sorted(by: { $0.utf8.lexicographicallyPrecedes($1.utf8) }).prefix(Self.fileLimit) {
            let place = Path.join(directory, name)
            guard try FileSystem.kind(of: place) == .file else { continue }
            files.append(try Self.file(place, shown: name))
        }
    }

    private static func file(_ path: String, shown: String) throws(IOError) -> File {
        let source = try InputFile(path: path)
        do {
            let header = try SafeTensorsHeader(reading: source, mode: .reference)
            return File(path: shown, header: header, fault: nil, source: source)
        } catch {
            if let io = error.io { throw io }
            return File(path: shown, header: nil, fault: error, source: source)
        }
    }

    /// The names in a directory and one level below.
    private static func list(_ directory: String) throws(IOError) -> [String] {
        var result: [String] = []
        for name in try FileSystem.names(in: directory) {
            result.append(name)
            let place = Path.join(directory, name)
            guard try FileSystem.kind(of: place, followingLinks: false) == .directory else { continue }
            result += try FileSystem.names(in: place).map { "\(name)/\($0)" }
        }
        return result
    }
}
