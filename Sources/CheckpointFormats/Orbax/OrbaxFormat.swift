public import Checkpoints
internal import StrictJSON
package import TensorCore

/// What Orbax writes: trees of arrays in zarr, inside an OCDBT database or as plain directories.
public struct OrbaxFormat: DirectoryFormat {
    /// Makes the format.
    public init() {}

    /// The identifier.
    public var name: String { "orbax" }
    /// One line for people.
    public var summary: String { "Orbax (OCDBT or zarr): a step of JAX, MaxText, T5X, or an item of one" }
    /// The usual file names.
    public var patterns: String { "_METADATA manifest.ocdbt */.zarray" }

    /// A tree, a step that holds trees, or a directory of steps.
    public func recognizes(_ listing: DirectoryListing) throws(CheckpointError) -> Bool {
        if OrbaxReader.isTree(listing) || listing.has(Self.stepName) { return true }
        guard !listing.files.contains(where: { $0.hasSuffix(".safetensors") || $0.hasSuffix(".bin") }) else {
            return false
        }
        if listing.directories.contains(where: { $0.hasPrefix("ocdbt.process_") }) { return true }
        for child in listing.directories.prefix(Self.childLimit) {
            let path = Path.join(listing.path, child)
            for mark in ["_METADATA", "manifest.ocdbt", Self.stepName, ".zarray", "zarr.json"] {
                do throws(IOError) {
                    if try FileSystem.kind(of: Path.join(path, mark)) == .file { return true }
                } catch { throw CheckpointError(error) }
            }
        }
        return false
    }

    /// Reads the tree, or the one that holds the weights.
    public func read(_ listing: DirectoryListing, options: ReadOptions) throws(CheckpointError) -> OpenedModel
    {
        var listing = listing
        let place = try OrbaxPlace(listing, root: options.root)
        if let step = place.step { listing = try listing.listing(of: step) }
        var inner = options
        inner.root = place.root
        let tree =
            try place.item.map { item throws(CheckpointError) in try listing.listing(of: item) } ?? listing
        var reader = try OrbaxReader(OrbaxFiles(tree))
        var checkpoint = try reader.read(options: inner)
        let prefix = place.item.map { $0 + "/" } ?? ""
        for index in checkpoint.files.indices {
            checkpoint.files[index].path = prefix + checkpoint.files[index].path
        }
        checkpoint.skipped += place.skipped
        checkpoint.values += place.values
        let parts =
            reader.files.files.map { prefix + $0.path } + Self.bookkeeping(tree, prefix)
            + Self.bookkeeping(listing, "")
        return OpenedModel(
            checkpoint: checkpoint, directory: ModelDirectory(listing, weights: .parts(parts)))
    }

    /// Reads a tree whose files are anywhere, by their paths in it.
    package static func read(
        _ sources: [(path: String, source: any ByteSource)], name: String,
        options: ReadOptions = ReadOptions()
    ) throws(CheckpointError) -> Checkpoint {
        var reader = try OrbaxReader(OrbaxFiles(sources, name: name))
        return try reader.read(options: options)
    }

    static let stepName = "_CHECKPOINT_METADATA"
    static let childLimit = 256

    /// What Orbax writes beside the arrays, which is neither weights nor the model's.
    private static func bookkeeping(_ listing: DirectoryListing, _ prefix: String) -> [String] {
        let names = [
            "_METADATA", stepName, "_sharding", "_strings.json", "commit_success.txt", "_rng_metadata",
        ]
        let directories = listing.directories.filter {
            ["array_metadatas", "d"].contains($0) || $0.hasPrefix("ocdbt.process_")
        }
        return names.filter(listing.has).map { prefix + $0 } + directories.map { prefix + $0 + "/" }
    }
}

/// Where in a directory of Orbax's the weights are.
struct OrbaxPlace {
    /// The directory of the step, where a directory of steps was opened.
    private(set) var step: String?
    /// The directory of the tree in it, where there is one.
    private(set) var item: String?
    /// The root in the tree.
    private(set) var root: String?
    private(set) var skipped: [SkippedItem] = []
    private(set) var values: [JSONMember] = []

    init(_ listing: DirectoryListing, root: String?) throws(CheckpointError) {
        self.root = root
        if OrbaxReader.isTree(listing) { return }
        let steps = try Self.trees(in: listing, isStep: true)
        if try Self.trees(in: listing, isStep: false).isEmpty, !steps.isEmpty {
            guard steps.count == 1 else {
                let shown = steps.sorted { (Int($0) ?? 0) < (Int($1) ?? 0) }.suffix(10)
                throw CheckpointError(
                    .malformed, "ambiguous-weights",
                    "the directory holds several steps: open one of \(shown.joined(separator: ", "))",
                    file: listing.path)
            }
            step = steps[0]
            try chooseItem(in: try listing.listing(of: steps[0]))
        } else {
            try chooseItem(in: listing)
        }
    }

    /// The directories in one that are trees, or steps by their numbers.
    private static func trees(
        in listing: DirectoryListing, isStep: Bool
    ) throws(CheckpointError) -> [String] {
        var result: [String] = []
        for name in listing.directories.prefix(OrbaxFormat.childLimit) {
            let isNumber = name.utf8.allSatisfy { 0x30...0x39 ~= $0 }
            let marks =
                isStep ? [OrbaxFormat.stepName, "default/_METADATA"] : ["_METADATA", "manifest.ocdbt"]
            guard isNumber || !isStep else { continue }
            for mark in marks {
                let path = Path.join(Path.join(listing.path, name), mark)
                do throws(IOError) {
                    guard try FileSystem.kind(of: path) == .file else { continue }
                } catch { throw CheckpointError(error) }
                result.append(name)
                break
            }
        }
        return result
    }

    private mutating func chooseItem(in listing: DirectoryListing) throws(CheckpointError) {
        if OrbaxReader.isTree(listing) { return }
        let items = try Self.trees(in: listing, isStep: false)
        try readValues(listing, but: items)
        if items.isEmpty { return }
        let asked = items.filter { root == $0 || root?.utf8.starts(with: "\($0).".utf8) == true }
        if let item = asked.max(by: { $0.utf8.count < $1.utf8.count }) {
            self.item = item
            let rest = String(decoding: (root ?? "").utf8.dropFirst(item.utf8.count + 1), as: UTF8.self)
            root = rest.isEmpty ? nil : rest
        } else {
            let others = PyTreeSelection.trainingKeys.union(PyTreeSelection.averageKeys)
            let candidates = items.filter { !others.contains($0) }
            guard
                let item = candidates.count == 1 ? candidates[0] : candidates.first(where: { $0 == "params" })
            else {
                throw CheckpointError(
                    .malformed, "ambiguous-root",
                    "the weights may be any of \(items.map(escapedForDisplay).joined(separator: ", ")): choose "
                        + "one with --root", file: listing.path)
            }
            self.item = item
        }
        skipped = items.filter { $0 != item }.map {
            SkippedItem(name: $0 + "/", reason: "another item of the step")
        }
    }

    /// The JSON items of a step, such as `meta/metadata` and `metrics/metrics`.
    private mutating func readValues(
        _ listing: DirectoryListing, but items: [String]
    ) throws(CheckpointError) {
        for name in listing.directories.prefix(OrbaxFormat.childLimit) where !items.contains(name) {
            for file in ["metadata", name] {
                let path = Path.join(Path.join(listing.path, name), file)
                do throws(IOError) {
                    guard try FileSystem.kind(of: path) == .file else { continue }
                } catch { throw CheckpointError(error) }
                guard let bytes = try? listing.contents(of: "\(name)/\(file)", limit: 1 << 20),
                    let json = try? JSONValue(parsing: bytes)
                else { continue }
                values.append(JSONMember(name, json))
                break
            }
        }
    }
}
