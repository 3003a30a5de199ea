internal import Archives
internal import Checkpoints
internal import TensorCore

/// The files of PyTorch 0.1: a tar archive of storages, tensors by number, and a pickle that refers to them.
struct TarCheckpoint {
    private let archive: TarArchive
    private let displayName: String

    init(_ source: any ByteSource, displayName: String) throws(CheckpointError) {
        do { archive = try TarArchive(reading: source) } catch {
            throw CheckpointError(error, file: displayName)
        }
        self.displayName = displayName
    }

    func read(_ options: ReadOptions) throws(CheckpointError) -> Checkpoint {
        guard let pickle = archive.entry(named: "pickle"), let tensors = archive.entry(named: "tensors"),
            let storages = archive.entry(named: "storages")
        else {
            throw CheckpointError(
                .unsupported, "not-pytorch",
                "this tar archive is none that PyTorch 0.1 wrote: name it .nemo where it is NeMo's, or unpack it",
                file: displayName)
        }
        var globals = PickleGlobals.weights
        globals.allowsOpaque = options.allowsOpaque
        try searchInfo(globals)
        var table = StorageTable(source: archive.source)
        let classes = try readStorages(storages, into: &table)
        let bytes: [UInt8]
        do { bytes = try archive.contents(of: pickle, limit: PickleLimits().byteCount) } catch {
            throw CheckpointError(error, file: displayName)
        }
        var machine = PickleMachine(bytes, file: displayName, member: "pickle", globals: globals)
        machine.tensors = try readTensors(tensors, classes)
        let top = try machine.run()
        let state = PickledState(heap: machine.heap, top: top, storages: table)
        return try state.checkpoint(options, displayName: displayName, member: "pickle")
    }

    /// The facts about the machine are not needed, but may not ask for code.
    private func searchInfo(_ globals: PickleGlobals) throws(CheckpointError) {
        guard let entry = archive.entry(named: "sys_info"),
            let bytes = try? archive.contents(of: entry, limit: 1 << 20)
        else { return }
        var machine = PickleMachine(bytes, file: displayName, member: "sys_info", globals: globals)
        do { _ = try machine.run() } catch { if error.class == .unsafe { throw error } }
    }

    /// The class and the number of elements of each storage by key.
    private typealias Classes = [Int64: (name: String, elementCount: UInt64, key: [UInt8])]

    /// The number of storages, then for each its key, place and class, its number of elements and its bytes; then
    /// those that are parts of others.
    private func readStorages(
        _ entry: TarEntry, into table: inout StorageTable
    ) throws(CheckpointError) -> Classes {
        var reader = TarMemberReader(archive.source, entry, displayName)
        var classes: Classes = [:]
        for _ in 0..<(try reader.count()) {
            let (heap, value) = try reader.pickle()
            guard let items = heap.items(value), items.count == 3, let key = Self.key(items[0], heap),
                let global = heap.global(items[2]), case .storage(let element) = global.role
            else { throw reader.damaged("a storage") }
            let count = try reader.integer()
            let (size, overflow) = count.multipliedReportingOverflow(by: UInt64(element.byteWidth))
            guard !overflow, let offset = reader.skip(size) else { throw reader.damaged("a storage's size") }
            let text = Array(String(key).utf8)
            guard classes.updateValue((global.name, count, text), forKey: key) == nil else {
                throw reader.damaged("a storage that is there twice")
            }
            table.items[ByteKey(text)] = StorageTable.Item(
                extent: Extent(source: archive.source, offset: offset, byteCount: size), member: "storages")
        }
        let (heap, views) = try reader.pickle()
        for view in heap.items(views) ?? [] { try addPart(view, heap, &table, &classes, reader) }
        return classes
    }

    private func addPart(
        _ view: PickleValue, _ heap: PickleHeap, _ table: inout StorageTable, _ classes: inout Classes,
        _ reader: TarMemberReader
    ) throws(CheckpointError) {
        guard let items = heap.items(view), items.count == 4, let target = Self.key(items[0], heap),
            let root = Self.key(items[1], heap), case .integer(let offset) = items[2],
            case .integer(let count) = items[3], let whole = classes[root],
            let offset = UInt64(exactly: offset), let count = UInt64(exactly: count),
            offset <= whole.elementCount, count <= whole.elementCount - offset, classes[target] == nil,
            var item = table.items[ByteKey(whole.key)]
        else { throw reader.damaged("a storage that is a part of another") }
        let width = whole.elementCount == 0 ? 1 : item.extent.byteCount / whole.elementCount
        item.extent.offset += offset * width
        item.extent.byteCount = count * width
        let text = Array(String(target).utf8)
        classes[target] = (whole.name, count, text)
        table.items[ByteKey(text)] = item
    }

    /// The number of tensors, then for each its key, its storage's and its class, its dimensions and offset.
    private func readTensors(
        _ entry: TarEntry, _ classes: Classes
    ) throws(CheckpointError) -> [Int64: LegacyTensor] {
        var reader = TarMemberReader(archive.source, entry, displayName)
        var tensors: [Int64: LegacyTensor] = [:]
        for _ in 0..<(try reader.count()) {
            let (heap, value) = try reader.pickle()
            guard let items = heap.items(value), items.count == 3, let key = Self.key(items[0], heap),
                let storage = Self.key(items[1], heap), let known = classes[storage]
            else { throw reader.damaged("a tensor") }
            // The number of dimensions takes four bytes, and four more are left free.
            let dimensionCount = try reader.integer() & 0xFFFF_FFFF
            guard dimensionCount <= 64 else { throw reader.damaged("the dimensions of a tensor") }
            var numbers: [Int64] = []
            for _ in 0..<2 * dimensionCount + 1 {
                numbers.append(Int64(bitPattern: try reader.integer()))
            }
            let half = Int(dimensionCount)
            let tensor = LegacyTensor(
                storageClass: known.name, key: known.key, elementCount: known.elementCount,
                offset: numbers[2 * half], shape: Array(numbers[..<half]),
                strides: Array(numbers[half..<2 * half]))
            guard tensors.updateValue(tensor, forKey: key) == nil else {
                throw reader.damaged("a tensor that is there twice")
            }
        }
        return tensors
    }

    private static func key(_ value: PickleValue, _ heap: PickleHeap) -> Int64? {
        switch value {
        case .integer(let number) where number >= 0: number
        default: heap.text(value).flatMap { Int64($0.string) }
        }
    }
}

/// A tensor of the oldest files, by number.
struct LegacyTensor {
    var storageClass: String
    var key: [UInt8]
    var elementCount: UInt64
    var offset: Int64
    var shape: [Int64]
    var strides: [Int64]

    /// The call that later files would have for it.
    func call(in heap: inout PickleHeap) -> PickleValue {
        let table = PickleGlobals.weights
        guard
            case .global(let function) = heap.global(
                module: "torch._utils", name: TensorRecipe.tensor.rawValue, in: table),
            let storage = heap.global(module: "torch", name: storageClass, in: table),
            let count = Int64(exactly: elementCount)
        else { return .none }
        let identifier = heap.tuple([
            heap.string(Array("storage".utf8)), storage, heap.string(key), heap.string(Array("cpu".utf8)),
            .integer(count),
        ])
        let (sizes, steps) = (
            heap.tuple(shape.map { .integer($0) }), heap.tuple(strides.map { .integer($0) })
        )
        guard
            case .tuple(let arguments) = heap.tuple([
                heap.persistent(identifier), .integer(offset), sizes, steps,
            ])
        else { return .none }
        return heap.call(function, arguments)
    }
}

/// Pickles and integers one after another in a member of a tar archive.
private struct TarMemberReader {
    private let source: any ByteSource
    private let member: String
    private let file: String
    private var position: UInt64
    private let end: UInt64

    init(_ source: any ByteSource, _ entry: TarEntry, _ file: String) {
        self.source = source
        self.file = file
        member = entry.text
        position = entry.dataRange.lowerBound
        end = entry.dataRange.upperBound
    }

    /// The next pickle.
    mutating func pickle() throws(CheckpointError) -> (PickleHeap, PickleValue) {
        var size: UInt64 = 512
        while true {
            let available = min(size, end - position)
            let bytes: [UInt8]
            do { bytes = try source.bytes(at: position, count: Int(available)) } catch {
                throw CheckpointError(error)
            }
            var machine = PickleMachine(bytes, file: file, member: member, baseOffset: position)
            do throws(CheckpointError) {
                let value = try machine.run()
                position += UInt64(machine.position)
                return (machine.heap, value)
            } catch {
                guard machine.ranOut, available == size, size < 16 << 20 else { throw error }
            }
            size *= 8
        }
    }

    /// A pickled number of things.
    mutating func count() throws(CheckpointError) -> Int {
        guard case .integer(let number) = try pickle().1, 0...1_000_000 ~= number else {
            throw damaged("a number of things")
        }
        return Int(number)
    }

    mutating func integer() throws(CheckpointError) -> UInt64 {
        guard let start = skip(8) else { throw damaged("it ends in the middle of a number") }
        let bytes: [UInt8]
        do { bytes = try source.bytes(at: start, count: 8) } catch { throw CheckpointError(error) }
        return bytes.span.bytesView.load(littleEndian: UInt64.self, at: 0)
    }

    /// Passes over bytes and says where they stand, or returns nil where there are not so many.
    mutating func skip(_ count: UInt64) -> UInt64? {
        guard count <= end - position else { return nil }
        defer { position += count }
        return position
    }

    func damaged(_ what: String) -> CheckpointError {
        CheckpointError(
            .malformed, "legacy-header", "the file is damaged: \(what)", file: file, member: member,
            offset: position)
    }
}
