internal import CheckpointFormats
internal import Checkpoints
internal import SafeTensors
internal import StrictJSON
internal import TensorCore

extension FuzzEntry {
    /// A Flax file that is accepted has names that differ and tensors inside it.
    static func readMsgpack(_ bytes: [UInt8]) {
        guard let file = try? WeightsFile(MemorySource(name: "fuzz", contents: bytes), name: "a.msgpack")
        else {
            return
        }
        _ = FlaxFormat().recognizes(file)
        var options = ReadOptions()
        options.skipsUnsupported = true
        guard let checkpoint = try? FlaxFormat().read(file, options: options) else { return }
        precondition(Set(checkpoint.tensors.map(\.name)).count == checkpoint.tensors.count, "a name twice")
        readEnds(of: checkpoint)
    }

    /// The kinds of input: what the first byte says, by its remainder.
    package enum OrbaxInput: UInt8, CaseIterable {
        /// The body of a leaf or of an interior node, to which a manifest and a frame are made.
        case leaf, interior
        /// The body of a manifest.
        case manifestBody
        /// A whole manifest.
        case manifest
        /// A line with the JSON of a zarr array, then what stands under each of its keys.
        case zarr2, zarr3
        /// The tree of `_METADATA`.
        case metadata
    }

    /// An Orbax tree that is accepted can be read, or says why not.
    static func readOrbax(_ bytes: [UInt8]) {
        guard let first = bytes.first else { return }
        let input = OrbaxInput(rawValue: first % UInt8(OrbaxInput.allCases.count)) ?? .leaf
        let rest = Array(bytes.dropFirst())
        let files: [(String, [UInt8])]
        switch input {
        case .leaf: files = database(node: rest, height: 0)
        case .interior: files = database(node: rest, height: 1)
        case .manifestBody:
            files = [
                ("manifest.ocdbt", envelope(0x0CDB_3A2A, rest)), ("d/x", envelope(0x0CDB_20DE, [0, 0, 0])),
            ]
        case .manifest: files = [("manifest.ocdbt", rest)]
        case .zarr2, .zarr3:
            let parts = rest.split(separator: 0x0A, maxSplits: 1, omittingEmptySubsequences: false)
            let (json, chunk) = (Array(parts[0]), Array(parts.count > 1 ? parts[1] : []))
            let keys = ["0", "0.0", "1.0", "0.1", "c/0", "c/0/0", "c/1/0", "c"]
            files = [(input == .zarr2 ? "w/.zarray" : "w/zarr.json", json)] + keys.map { ("w/" + $0, chunk) }
        case .metadata:
            files = [("_METADATA", rest), ("a/.zarray", Array(zarr.utf8)), ("a/0", [1, 2, 3, 4])]
        }
        let sources = files.map {
            (path: $0.0, source: MemorySource(name: $0.0, contents: $0.1) as any ByteSource)
        }
        guard let checkpoint = try? OrbaxFormat.read(sources, name: "fuzz") else { return }
        readEnds(of: checkpoint)
    }

    /// A small array of zarr 2.
    static let zarr = """
        {"zarr_format":2,"shape":[2],"chunks":[2],"dtype":"<i2","compressor":null,"fill_value":0}
        """

    /// A database of one node.
    private static func database(node: [UInt8], height: UInt8) -> [(String, [UInt8])] {
        // A node begins with its height.
        let node = envelope(0x0CDB_20DE, [height] + node)
        var manifest = [UInt8](repeating: 7, count: 16) + [0, 0, 100, 4, 0, 1, 3, 0]
        manifest += Array("d/x".utf8) + [1, 1, height, 0, 0]
        var length = UInt64(node.count)
        while length >= 128 {
            manifest.append(UInt8(truncatingIfNeeded: length) | 128)
            length >>= 7
        }
        manifest += [UInt8(length), 1, 1, 1] + [UInt8](repeating: 0, count: 8) + [0]
        return [("manifest.ocdbt", envelope(0x0CDB_3A2A, manifest)), ("d/x", node)]
    }

    /// The frame around a body, without compression.
    private static func envelope(_ magic: UInt32, _ body: [UInt8]) -> [UInt8] {
        var bytes = (0..<4).map { UInt8(truncatingIfNeeded: magic >> UInt32(24 - 8 * $0)) }
        let length = UInt64(14 + body.count + 4)
        bytes += (0..<8).map { UInt8(truncatingIfNeeded: length >> UInt64(8 * $0)) } + [0, 0] + body
        var crc = CRC32C()
        crc.update(RawSpan(_elements: bytes.span))
        return bytes + (0..<4).map { UInt8(truncatingIfNeeded: crc.value >> UInt32(8 * $0)) }
    }
}
