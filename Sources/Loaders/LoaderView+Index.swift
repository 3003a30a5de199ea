internal import SafeTensors
internal import TensorCore

/// Tests on a directory: its index, and what the index says against what the files hold.
extension LoaderView {
    func placeInIndex(of test: RuleTest) -> Place? {
        if case .filePresent(let pattern, let below) = test {
            let pattern = Pattern(pattern)
            return first(
                model.names.filter { $0.contains("/") == below && pattern.matches(Path.name(of: $0)) }
            ) {
                Place(file: $0)
            }
        }
        guard let index else {
            if case .indexAbsent = test, model.isDirectory, files.count > 1 {
                return Place(count: files.count)
            }
            return nil
        }
        func holds(_ met: Bool, _ detail: String? = nil) -> Place? {
            met ? Place(file: index.name, detail: detail) : nil
        }
        switch test {
        case .indexKey(let keys):
            let missing = keys.first { !index.objects.contains($0) }
            return holds(missing != nil && index.fault == nil, missing)
        case .indexBytes(let over): return holds(index.byteCount > over, "it has \(index.byteCount) bytes")
        case .indexFault(let codes):
            guard let fault = index.fault, codes.isEmpty || codes.contains(fault.kind.rawValue) else {
                return nil
            }
            return Place(file: index.name, offset: fault.offset, detail: fault.message)
        case .indexTotalSize:
            let size = files.reduce(0 as UInt64) { $0 &+ ($1.header?.dataByteCount ?? 0) }
            return holds(index.totalSize != size, "total_size should be \(size)")
        case .indexShadowed:
            let isAside = reads.prefers.map { name in !index.files.contains(name) } ?? false
            return isAside && files.first?.path == reads.prefers ? Place(file: reads.prefers) : nil
        default: return shards(of: test, index)
        }
    }

    private func shards(of test: RuleTest, _ index: IndexFile) -> Place? {
        let present = Set((reads.index == .follows ? model.files : files).map(\.path))
        return first(
            index.files.filter { file in
                switch test {
                case .shardMissing:
                    Path.isSafeRelative(file) && !present.contains(file)
                        || reads.index == .filters && !present.contains(file)
                case .shardPath: !Path.isSafeRelative(file)
                case .shardExtension(let allowed): !allowed.contains { file.hasSuffix($0) }
                case .shardFolder: file.contains("/")
                default: false
                }
            }
        ) { Place(file: $0) }
    }

    func placeBetweenFiles(of test: RuleTest) -> Place? {
        // A file that is preferred to the index has its own rule.
        guard let index, index.fault == nil, files.first?.path != reads.prefers else { return nil }
        switch test {
        case .strayFile:
            let listed = Set(index.files)
            return first(files.filter { !listed.contains($0.path) }) { Place(file: $0.path) }
        case .tensorUnlisted:
            let listed = Set(index.entries.map(\.tensor))
            return first(
                files.flatMap { file in
                    (file.header?.map(\.name) ?? []).filter { !listed.contains($0) }.map { (file.path, $0) }
                }
            ) { Place(file: $0.0, tensor: $0.1) }
        default:
            var holders: [TensorName: [String]] = [:]
            for file in files {
                file.header?.forEach { holders[$0.name, default: []].append(file.path) }
            }
            let broken = Set(files.filter { $0.header == nil }.map(\.path))
            // Where shards are opened by name, one that is not there or is broken has a rule of its own.
            let readable = Set(files.map(\.path))
            let found = index.entries.filter { entry in
                guard !broken.contains(entry.file) else { return false }
                let held = holders[entry.tensor] ?? []
                if case .tensorElsewhere = test { return !held.isEmpty && !held.contains(entry.file) }
                return held.isEmpty && (reads.index == .ignores || readable.contains(entry.file))
            }
            return first(found) { Place(file: $0.file, tensor: $0.tensor) }
        }
    }

    /// The tensors that two of the files hold.
    func repeated(differing: Bool) throws(IOError) -> Place? {
        var seen: [TensorName: (file: Int, position: Int)] = [:]
        var result: Place?
        for (number, file) in files.enumerated() {
            guard let header = file.header else { continue }
            for (position, tensor) in header.enumerated() {
                guard let other = seen[tensor.name] else {
                    seen[tensor.name] = (number, position)
                    continue
                }
                if differing {
                    guard let first = files[other.file].header?[other.position] else { continue }
                    if try isSame(first, in: files[other.file], tensor, in: file) { continue }
                }
                result =
                    result
                    ?? Place(
                        file: file.path, tensor: tensor.name,
                        detail: "also in \(escapedForDisplay(files[other.file].path))",
                        count: 0)
                result?.count += 1
            }
        }
        return result
    }

    private func isSame(
        _ a: TensorInfo, in first: ModelFiles.File, _ b: TensorInfo, in second: ModelFiles.File
    ) throws(IOError) -> Bool {
        guard a.dtype == b.dtype, a.shape == b.shape else { return false }
        let step: UInt64 = 1 << 20
        var done: UInt64 = 0
        while done < a.byteCount {
            let count = Int(min(step, a.byteCount - done))
            let left = try first.source.bytes(at: a.fileRange.lowerBound + done, count: count)
            let right = try second.source.bytes(at: b.fileRange.lowerBound + done, count: count)
            guard left == right else { return false }
            done += step
        }
        return true
    }

    private func first<T>(_ found: [T], _ place: (T) -> Place) -> Place? {
        guard let item = found.first else { return nil }
        var result = place(item)
        result.count = found.count
        return result
    }
}
