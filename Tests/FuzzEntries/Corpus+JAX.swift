internal import Archives
internal import TensorCore

extension Corpus {
    /// The Flax files among the fixtures.
    static func flaxFiles(_ root: String) throws -> [[UInt8]] {
        let directory = root + "/Tests/Fixtures/formats/flax"
        return try FileSystem.names(in: directory).map {
            try FileSystem.contents(of: Path.join(directory, $0), limit: 1 << 20)
        }.filter { $0.count < 4096 }
    }

    /// The parts of the Orbax fixtures, each after the byte that says what it is.
    static func orbaxParts(_ root: String) throws -> [[UInt8]] {
        var result: [[UInt8]] = []
        func add(_ input: FuzzEntry.OrbaxInput, _ bytes: [UInt8]) {
            if bytes.count < 8192 { result.append([input.rawValue] + bytes) }
        }
        func visit(_ directory: String) throws {
            for name in try FileSystem.names(in: directory) {
                let path = Path.join(directory, name)
                guard try FileSystem.kind(of: path) == .file else {
                    try visit(path)
                    continue
                }
                let bytes = try FileSystem.contents(of: path, limit: 1 << 20)
                switch name {
                case "manifest.ocdbt":
                    add(.manifest, bytes)
                    if let body = blocks(bytes, magic: [0x0C, 0xDB, 0x3A, 0x2A]).first {
                        add(.manifestBody, body)
                    }
                case "_METADATA": add(.metadata, bytes)
                case ".zarray", "zarr.json":
                    let chunk = try firstChunk(in: directory)
                    add(name == ".zarray" ? .zarr2 : .zarr3, bytes + [0x0A] + chunk)
                default:
                    for body in blocks(bytes, magic: [0x0C, 0xDB, 0x20, 0xDE]) {
                        add(body.first == 0 ? .leaf : .interior, Array(body.dropFirst()))
                    }
                }
            }
        }
        for name in ["ocdbt", "tall", "forms", "wide_zarr3", "plain_zarr3", "zarr"] {
            try visit(root + "/Tests/Fixtures/formats/orbax/" + name)
        }
        // As many of each kind, the shortest of them.
        let kinds = Dictionary(grouping: result) { $0[0] }
        return kinds.keys.sorted().flatMap { kinds[$0]!.sorted { $0.count < $1.count }.prefix(12) }
    }

    private static func firstChunk(in directory: String) throws -> [UInt8] {
        for name in ["0.0", "0", "c/0/0", "c/0", "c"] {
            let path = Path.join(directory, name)
            if try FileSystem.kind(of: path) == .file {
                return try FileSystem.contents(of: path, limit: 4096)
            }
        }
        return []
    }

    /// The bodies of the blocks that begin with a magic number.
    private static func blocks(_ bytes: [UInt8], magic: [UInt8]) -> [[UInt8]] {
        var result: [[UInt8]] = []
        for start in bytes.indices where bytes[start...].starts(with: magic) && bytes.count - start >= 18 {
            let length = bytes.span.bytesView.load(littleEndian: UInt64.self, at: start + 4)
            let end = UInt64(start) + length
            guard length >= 18, end <= UInt64(bytes.count) else { continue }
            let body = UInt64(start + 14)..<end - 4
            if bytes[start + 13] == 0 {
                result.append(Array(bytes[Int(body.lowerBound)..<Int(body.upperBound)]))
            } else if let plain = try? DecompressedSource.contents(
                of: MemorySource(name: "block", contents: bytes), range: body, compression: .zstd,
                limit: 1 << 16)
            {
                result.append(plain)
            }
        }
        return result
    }
}
