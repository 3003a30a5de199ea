import SafeTensors

/// The cases, by the names that safetensors_bench.py gives them.
///
/// A new one is a line here and one in `CASES` there.
let cases: [String: @Sendable (Job) throws -> Void] = [
    "open": { job in
        let header = try SafeTensorsHeader(reading: try InputFile(path: job.path))
        job.note(header.count)
    },
    "verdict": { job in
        do throws(SafeTensorsError) {
            let file: InputFile
            do { file = try InputFile(path: job.path) } catch { return }
            job.note(try SafeTensorsHeader(reading: file, mode: .reference).count)
        } catch {
            job.note(error.code.rawValue.utf8.count)
        }
    },
    "validate": { job in
        let source = MemorySource(name: "memory", contents: try job.contents)
        try job.measure { job.note(try SafeTensorsHeader(reading: source).count) }
    },
    "read-one": { job in
        let reader = try SafeTensorsReader(opening: job.path)
        job.note(try reader.bytes(of: reader.header[reader.header.count / 2]).count)
    },
    "read-all": { job in
        let reader = try SafeTensorsReader(opening: job.path)
        var all: [[UInt8]] = []
        for tensor in reader.header { all.append(try reader.bytes(of: tensor)) }
        job.note(all.count)
    },
    "view-all": { job in
        let file = try SafeTensorsFile(mapping: job.path)
        var sum: UInt64 = 0
        for position in file.header.indices {
            let bytes = file.tensor(at: position).bytes
            for index in stride(from: 0, to: bytes.byteCount, by: 4096) { sum &+= UInt64(bytes[index]) }
        }
        job.note(Int(truncatingIfNeeded: sum))
    },
    "write": { job in
        let source = try SafeTensorsFile(mapping: job.path)
        let views = source.header.indices.map { source.tensor(at: $0) }
        let layout = try SafeTensorsLayout(
            tensors: views.map { ($0.info.name, $0.info.dtype, $0.info.shape) }, metadata: [("format", "pt")])
        // The reference has its tensors in memory; so have we before the clock starts.
        let reader = try SafeTensorsReader(opening: job.path)
        let contents = try views.map { try reader.bytes(of: $0.info) }
        let places = Dictionary(uniqueKeysWithValues: views.enumerated().map { ($1.info.name, $0) })
        try job.measure {
            var writer = try SafeTensorsWriter(replacing: job.path + ".out", layout: layout)
            for tensor in layout.tensors {
                let bytes = contents[places[tensor.name]!]
                try writer.append(bytes.span.bytesView, to: tensor.name)
            }
            try writer.commit()
        }
    },
    "slice": { job in
        // Every other row and the first half of the columns of each tensor.
        let reader = try SafeTensorsReader(opening: job.path)
        for tensor in reader.header {
            job.note(try reader.bytes(of: tensor, [.range(by: 2), .range(to: 512)]).count)
        }
    },
    "metadata": { job in
        // Another value each time, or there would be nothing to do.
        let editor = try SafeTensorsMetadataEditor(path: job.path)
        let note = String(UInt64.random(in: 1 << 60...UInt64.max >> 1))
        job.note(try editor.apply(try MetadataEdit(set: [("note", note)])).after.count)
    },
    "cast": { job in
        let reader = try SafeTensorsReader(opening: job.path)
        let contents = try reader.bytes(of: reader.header[0])
        var result = [UInt8](repeating: 0, count: contents.count / 2)
        job.measure {
            var span = result.mutableSpan
            var raw = MutableRawSpan(_elements: &span)
            ElementCast.convert(contents.span.bytesView, from: .f32, to: .bf16, into: &raw)
        }
        job.note(Int(result[0]))
    },
]
