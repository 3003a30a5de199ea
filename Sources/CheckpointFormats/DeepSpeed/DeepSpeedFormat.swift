public import Checkpoints
public import TensorCore

/// Directories that DeepSpeed's engine saves: ZeRO stages 0 to 3.
public struct DeepSpeedFormat: DirectoryFormat {
    /// Makes the format.
    public init() {}

    /// The identifier.
    public var name: String { DeepSpeedReader.formatName }
    /// One line for people.
    public var summary: String {
        "DeepSpeed ZeRO 0 to 3: master or model weights, put together from all ranks"
    }
    /// The usual file names.
    public var patterns: String { "latest global_step*/*_states.pt" }

    /// A directory of DeepSpeed's files, or one with such a directory and no weights of the hub's layout beside it.
    public func recognizes(_ listing: DirectoryListing) throws(CheckpointError) -> Bool {
        if listing.files.contains(where: DeepSpeedFiles.isState) { return true }
        let hasWeights = listing.files.contains { name in
            name.hasSuffix(".safetensors") || name.hasSuffix(".index.json")
                || name.hasSuffix(".bin") && name.contains("model")
        }
        if hasWeights { return false }
        if try Self.hasTag(listing) { return true }
        return try !Self.stepDirectories(listing).isEmpty
    }

    /// Reads the headers of the files of all ranks that are needed.
    public func read(
        _ listing: DirectoryListing, options: ReadOptions
    ) throws(CheckpointError) -> OpenedModel {
        let tag = try Self.tag(of: listing)
        let inner = try tag.map { (tag) throws(CheckpointError) in try listing.listing(of: tag) } ?? listing
        let prefix = tag.map { $0 + "/" } ?? ""
        let files = DeepSpeedFiles(inner.files)
        try files.checkLayout(inner)
        let checkpoint = try DeepSpeedReader(
            CheckpointFiles(inner), names: files, prefix: prefix, options: options
        ).read()
        let parts =
            inner.files.filter(DeepSpeedFiles.isState).map { prefix + $0 } + (tag == nil ? [] : ["latest"])
        return OpenedModel(
            checkpoint: checkpoint, directory: ModelDirectory(listing, weights: .parts(parts)))
    }

    /// Whether a file names the directory of the last checkpoint, as DeepSpeed's does.
    private static func hasTag(_ listing: DirectoryListing) throws(CheckpointError) -> Bool {
        guard listing.has("latest") else { return false }
        if listing.has("zero_to_fp32.py")
            || listing.directories.contains(where: { $0.hasPrefix("global_step") })
        {
            return true
        }
        let name = try word(in: listing)
        guard listing.directories.contains(where: { $0.utf8.elementsEqual(name.utf8) }) else { return false }
        return try listing.listing(of: name).files.contains(where: DeepSpeedFiles.isState)
    }

    /// What the file `latest` says.
    private static func word(in listing: DirectoryListing) throws(CheckpointError) -> String {
        let text = String(decoding: try listing.contents(of: "latest", limit: 4096), as: UTF8.self)
        let line = String(text.drop(while: \.isWhitespace).prefix { !$0.isNewline })
        return String(line.reversed().drop(while: \.isWhitespace).reversed())
    }

    /// Directories with DeepSpeed's name for them and its files in them.
    private static func stepDirectories(_ listing: DirectoryListing) throws(CheckpointError) -> [String] {
        var result: [String] = []
        for name in listing.directories where name.hasPrefix("global_step") {
            if try listing.listing(of: name).files.contains(where: DeepSpeedFiles.isState) {
                result.append(name)
            }
        }
        return result
    }

    /// The directory that holds the files; nil for the directory itself.
    private static func tag(of listing: DirectoryListing) throws(CheckpointError) -> String? {
        if listing.files.contains(where: DeepSpeedFiles.isState) { return nil }
        guard listing.has("latest") else {
            let steps = try stepDirectories(listing)
            if steps.count == 1 { return steps[0] }
            throw CheckpointError(
                .malformed, "ambiguous-weights",
                "there is no file 'latest' to say which of \(steps.map(escapedForDisplay).joined(separator: ", ")) "
                    + "is meant: name one", file: listing.path)
        }
        let tag = try word(in: listing)
        guard Path.isSafeRelative(tag), !tag.utf8.contains(0x2F) else {
            throw CheckpointError(
                .unsafe, "path-escape",
                "the file 'latest' names '\(escapedForDisplay(tag))', which is no directory in this one",
                file: listing.path)
        }
        guard listing.directories.contains(where: { $0.utf8.elementsEqual(tag.utf8) }) else {
            throw CheckpointError(
                .malformed, "tag-missing",
                "the file 'latest' names \(escapedForDisplay(tag)), and there is no such directory",
                file: listing.path)
        }
        return tag
    }
}

extension DeepSpeedFormat {
    /// Reads a checkpoint whose files are at hand.
    ///
    /// - Parameters:
    ///   - files: all files of the directory of one step, by name.
    ///   - location: what holds them, for messages.
    ///   - options: the caller's choices.
    public static func read(
        _ files: [(name: String, source: any ByteSource)], location: String,
        options: ReadOptions = ReadOptions()
    ) throws(CheckpointError) -> Checkpoint {
        try DeepSpeedReader(
            CheckpointFiles(location: location, sources: files),
            names: DeepSpeedFiles(files.map(\.name)), prefix: "", options: options
        ).read()
    }
}
