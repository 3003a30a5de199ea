internal import CheckpointFormats
internal import Checkpoints
internal import TensorCore

/// Checkpoints of several files, which stand one after the other with their lengths before them.
extension FuzzEntry {
    /// The metadata and the files of three ranks.
    static func readDistributed(_ bytes: [UInt8]) {
        let parts = parts(of: bytes, count: 4)
        let names = [".metadata", "__0_0.distcp", "__1_0.distcp", "__2_0.distcp"]
        let files = zip(names, parts).map { name, part in
            (name: name, source: MemorySource(name: name, contents: part) as any ByteSource)
        }
        for root in [nil, "", "model"] {
            var options = ReadOptions(root: root)
            options.skipsUnsupported = root != nil
            guard let checkpoint = try? DCPFormat.read(files, location: "fuzz", options: options) else {
                continue
            }
            readEnds(of: checkpoint)
        }
    }

    /// The pickles of a model's state and of two ranks' optimizers, with storages made up around them.
    static func readZero(_ bytes: [UInt8]) {
        let parts = parts(of: bytes, count: 4)
        let names = [
            ["mp_rank_00_model_states.pt", "zero_pp_rank_0_mp_rank_00_model_states.pt"],
            ["zero_pp_rank_1_mp_rank_00_model_states.pt"],
            ["zero_pp_rank_0_mp_rank_00_optim_states.pt"], ["zero_pp_rank_1_mp_rank_00_optim_states.pt"],
        ]
        for stage in 0..<2 {
            var files: [(name: String, source: any ByteSource)] = []
            for (names, part) in zip(names, parts) {
                let name = names[min(stage, names.count - 1)]
                let file = MemorySource(name: name, contents: archive(pickle: part))
                if stage == 1 || !name.contains("rank_1_mp_rank_00_model") { files.append((name, file)) }
            }
            for precision in [nil, ReadOptions.Precision.model] {
                var options = ReadOptions()
                options.precision = precision
                guard let checkpoint = try? DeepSpeedFormat.read(files, location: "fuzz", options: options)
                else { continue }
                readEnds(of: checkpoint)
            }
        }
    }

    /// The files that a seed holds: for each its length in two bytes, then what it holds.
    ///
    /// The last is what is left.
    private static func parts(of bytes: [UInt8], count: Int) -> [[UInt8]] {
        var rest = bytes[...]
        var result: [[UInt8]] = []
        while result.count + 1 < count, rest.count >= 2 {
            let length = Int(rest[rest.startIndex]) | Int(rest[rest.startIndex + 1]) << 8
            rest = rest.dropFirst(2)
            result.append(Array(rest.prefix(length)))
            rest = rest.dropFirst(length)
        }
        result.append(Array(rest))
        return result
    }

    /// The other way round.
    static func joined(_ parts: [[UInt8]]) -> [UInt8] {
        var result: [UInt8] = []
        for (index, part) in parts.enumerated() {
            if index + 1 < parts.count {
                result += [UInt8(truncatingIfNeeded: part.count), UInt8(truncatingIfNeeded: part.count >> 8)]
            }
            result += part
        }
        return result
    }
}
