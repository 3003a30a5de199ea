internal import Archives
internal import TensorCore

extension Corpus {
    private static func contents(_ path: String) -> [UInt8] {
        (try? FileSystem.contents(of: path, limit: 1 << 16)) ?? []
    }

    /// The pickle in an archive of PyTorch; nothing where there is none.
    private static func pickle(of archive: [UInt8]) -> [UInt8] {
        guard let zip = try? ZipArchive(reading: MemorySource(name: "seed", contents: archive)),
            let entry = zip.entries.first(where: { $0.text.hasSuffix("/data.pkl") })
        else { return [] }
        return (try? zip.contents(of: entry, limit: 1 << 16)) ?? []
    }

    /// The metadata and the first three files of each checkpoint, and metadata with one thing changed.
    static func distributed(_ root: String) throws -> [[UInt8]] {
        let directory = root + "/Tests/Fixtures/formats/dcp/"
        func seed(_ name: String, metadata: String) -> [UInt8] {
            let files = (0..<3).map { contents("\(directory)\(name)/__\($0)_0.distcp") }
            return FuzzEntry.joined([contents(metadata)] + files)
        }
        var seeds = ["sharded2", "zstd", "fsdp1", "fsdp2", "trainer/pytorch_model_fsdp_0"].map {
            seed($0, metadata: directory + $0 + "/.metadata")
        }
        seeds.append(seed("ranks", metadata: directory + "ranks/__0.metadata"))
        for name in try FileSystem.names(in: directory + "edited") {
            seeds.append(seed("grid", metadata: directory + "edited/" + name))
        }
        return seeds
    }

    /// The pickles of the files of each checkpoint of DeepSpeed.
    static func zero(_ root: String) throws -> [[UInt8]] {
        let directory = root + "/Tests/Fixtures/formats/deepspeed/"
        var seeds: [[UInt8]] = []
        for name in try FileSystem.names(in: directory) {
            let step = directory + name + "/global_step2/"
            let files = try FileSystem.names(in: step)
            let models = files.filter { $0.hasSuffix("_model_states.pt") }
            let optimizers = files.filter { $0.hasSuffix("_optim_states.pt") }
            let pickles = [models.first, models.last, optimizers.first, optimizers.last].map { file in
                file.map { pickle(of: contents(step + $0)) } ?? []
            }
            seeds.append(FuzzEntry.joined(pickles))
            // Each on its own too, so that changes in it are not lost among the others.
            seeds.append(FuzzEntry.joined([pickles[0], [], pickles[2], pickles[2]]))
        }
        return seeds
    }
}
