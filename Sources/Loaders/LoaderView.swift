internal import SafeTensors
internal import TensorCore

/// A model as one loader sees it: the index that it uses and the files that it reads.
struct LoaderView {
    /// Where a test is met.
    struct Place {
        var file: String?
        var tensor: TensorName?
        var offset: UInt64?
        /// What the reason does not say.
        var detail: String?
        var count = 1
    }

    /// What follows from the files that are read.
    struct Outcome {
        var rule: String
        var verdict: LoaderVerdict
        var reason: String
        var fix: String
        var place: Place
    }

    let model: ModelFiles
    let reads: LoaderProfile.Reads
    /// The index that the loader sees, whether or not it follows it.
    let index: IndexFile?
    let files: [ModelFiles.File]
    /// What keeps the loader from finding files to read.
    private(set) var unread: Outcome?

    init(_ model: ModelFiles, reads: LoaderProfile.Reads) {
        self.model = model
        self.reads = reads
        guard model.isDirectory else {
            index = nil
            files = model.files
            return
        }
        let indexPattern = Pattern(reads.indexPattern)
        index = model.indexes.first { indexPattern.matches($0.name) }
        let pattern = Pattern(reads.pattern)
        let matching = model.files.filter { !$0.path.contains("/") && pattern.matches($0.path) }
        if let preferred = model.files.first(where: { $0.path == reads.prefers }) {
            files = [preferred]
        } else if let index, reads.index != .ignores, !reads.needsMatch || !matching.isEmpty {
            let listed = Set(index.files)
            files = (reads.index == .follows ? model.files : matching).filter { listed.contains($0.path) }
            return
        } else {
            files = matching
        }
        if files.isEmpty {
            unread = Outcome(
                rule: "files-found", verdict: .refuses, reason: "finds no file named \(reads.pattern)",
                fix: "name the weights so, or write them again with artifact export", place: Place())
        } else if let atMost = reads.atMost, index == nil, UInt64(files.count) > atMost {
            unread = Outcome(
                rule: "index-needed", verdict: .refuses,
                reason: "finds \(files.count) weights files and no index",
                fix: "write \(reads.indexPattern), which says where each tensor is", place: Place())
        }
    }

    /// The first file that is broken, for loaders whose rules do not say what they do then.
    var brokenFile: Outcome? {
        guard let file = files.first(where: { $0.fault != nil }), let fault = file.fault else { return nil }
        return Outcome(
            rule: "broken-file", verdict: .unknown,
            reason: "nobody tried what it does with such a file: \(fault.message) [\(fault.code.rawValue)]",
            fix: "fetch or write the file again",
            place: Place(file: file.path, tensor: fault.tensor, offset: fault.offset))
    }

    /// Where a test is met first and how often, or nil.
    func place(of test: RuleTest) throws(IOError) -> Place? {
        switch test {
        case .indexAbsent, .indexKey, .indexBytes, .indexFault, .indexTotalSize, .indexShadowed,
            .shardMissing,
            .shardPath, .shardExtension, .shardFolder, .filePresent:
            return placeInIndex(of: test)
        case .tensorMissing, .tensorUnlisted, .tensorElsewhere, .strayFile: return placeBetweenFiles(of: test)
        case .tensorRepeated(let differing): return try repeated(differing: differing)
        default:
            var result: Place?
            for file in files {
                guard let place = Self.place(of: test, in: file) else { continue }
                result = result ?? place
                if result?.file != place.file { result?.count += place.count }
            }
            return result
        }
    }
}

extension LoaderView {
    private static func place(of test: RuleTest, in file: ModelFiles.File) -> Place? {
        if case .fault(let codes) = test {
            guard let fault = file.fault, codes.isEmpty || codes.contains(fault.code.rawValue) else {
                return nil
            }
            return Place(
                file: file.path, tensor: fault.tensor, offset: fault.offset,
                detail: "\(fault.message) [\(fault.code.rawValue)]")
        }
        guard let header = file.header else { return nil }
        func holds(_ met: Bool, _ detail: String? = nil) -> Place? {
            met ? Place(file: file.path, offset: 0, detail: detail) : nil
        }
        switch test {
        case .oddity(let codes):
            let found = header.warnings.kept.first { codes.contains($0.code.rawValue) }
            return found.map {
                Place(
                    file: file.path, tensor: $0.tensor, offset: $0.offset,
                    count: header.warnings.count(of: $0.code))
            }
        case .metadataFormat(let allowed, let absent):
            guard header.hasMetadata else { return holds(absent) }
            let format = header.metadata.last { $0.key == "format" }?.value
            let shown = format.map { "format is \"\(escapedForDisplay($0))\"" } ?? "there is no format"
            return holds(!(format.map(allowed.contains) ?? false), shown)
        case .headerBytes(let over):
            return holds(header.headerByteCount > over, "it has \(header.headerByteCount) bytes")
        case .tensorCount(let over): return holds(UInt64(header.count) > over, "there are \(header.count)")
        default:
            return tensors(of: test, in: header).map {
                Place(
                    file: file.path, tensor: $0.first.name, offset: $0.first.fileRange.lowerBound,
                    detail: "\($0.first.dtype.name) \($0.first.shape)", count: $0.count)
            }
        }
    }

    private static func tensors(
        of test: RuleTest, in header: SafeTensorsHeader
    ) -> (first: TensorInfo, count: Int)? {
        var result: (first: TensorInfo, count: Int)?
        for tensor in header where isMet(test, by: tensor) {
            result = (result?.first ?? tensor, (result?.count ?? 0) + 1)
        }
        return result
    }

    private static func isMet(_ test: RuleTest, by tensor: TensorInfo) -> Bool {
        switch test {
        case .dtype(let names): return names.contains(tensor.dtype.name)
        case .rank(let over, let under):
            let rank = UInt64(tensor.shape.count)
            return over.map { rank > $0 } ?? false || under.map { rank < $0 } ?? false
        case .dimension(let over): return tensor.shape.contains { $0 > over }
        case .oddLastDimension(let names):
            return names.contains(tensor.dtype.name) && (tensor.shape.last ?? 1) % 2 == 1
        case .name(let test):
            let name = tensor.name.utf8
            return test.empty && name.isEmpty || test.control && name.contains { $0 < 0x20 || $0 == 0x7F }
                || test.longerThan.map { UInt64(name.count) > $0 } ?? false
                || test.prefixes.contains { name.starts(with: $0.utf8) }
                || test.parts.contains { tensor.name.string.contains($0) }
        default: return false
        }
    }
}
