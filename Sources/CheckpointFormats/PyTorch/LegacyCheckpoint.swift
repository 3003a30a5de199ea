internal import Checkpoints
internal import TensorCore

/// The files of PyTorch before 1.6: five pickles one after the other, then the storages.
struct LegacyCheckpoint {
    private let source: any ByteSource
    private let displayName: String

    init(_ source: any ByteSource, displayName: String) {
        self.source = source
        self.displayName = displayName
    }

    func read(_ options: ReadOptions) throws(CheckpointError) -> Checkpoint {
        // The pickles have no stated size, so that more is read until they are whole.
        var count: UInt64 = 256 << 10
        while true {
            let available = min(count, source.byteCount, UInt64(PickleLimits().byteCount))
            let bytes: [UInt8]
            do {
                bytes = try source.bytes(at: 0, count: Int(available))
            } catch {
                throw CheckpointError(error)
            }
            var globals = PickleGlobals.weights
            globals.allowsOpaque = options.allowsOpaque
            let machine = PickleMachine(bytes, file: displayName, globals: globals)
            if let pickles = try pickles(machine, isAll: available < count) {
                return try checkpoint(pickles, options)
            }
            count *= 4
        }
    }

    private struct Pickles {
        var heap: PickleHeap
        var top: PickleValue
        var keys: [[UInt8]]
        /// Where the storages begin.
        var end: UInt64
    }

    /// The pickles, or nil where the bytes end before they do and are not all there are.
    ///
    /// - Parameter template: a machine with the bytes, which has not begun.
    private func pickles(_ template: PickleMachine, isAll: Bool) throws(CheckpointError) -> Pickles? {
        guard var position = FileContent.legacyMagicByteCount(template.bytes) else {
            throw damaged("the magic number")
        }
        var machines: [(machine: PickleMachine, value: PickleValue)] = []
        for _ in 0..<4 {
            var machine = template
            machine.position = position
            do {
                machines.append((machine, .none))
                machines[machines.count - 1].value = try machine.run()
            } catch {
                if machine.ranOut, !isAll { return nil }
                throw error
            }
            machines[machines.count - 1].machine = machine
            position = machine.position
        }
        guard machines[0].value == .integer(1001) else {
            throw damaged("the protocol is not 1001")
        }
        let keysHeap = machines[3].machine.heap
        guard let list = keysHeap.items(machines[3].value) else { throw damaged("the list of storages") }
        var keys: [[UInt8]] = []
        for item in list {
            guard let key = keysHeap.text(item) else { throw damaged("a storage's key") }
            keys.append(key)
        }
        return Pickles(
            heap: machines[2].machine.heap, top: machines[2].value, keys: keys, end: UInt64(position))
    }

    private func checkpoint(
        _ pickles: Pickles, _ options: ReadOptions
    ) throws(CheckpointError) -> Checkpoint {
        let state = PickledState(
            heap: pickles.heap, top: pickles.top, storages: try storages(of: pickles))
        return try state.checkpoint(options, displayName: displayName, member: nil)
    }

    private func storages(of pickles: Pickles) throws(CheckpointError) -> StorageTable {
        let widths = try widths(in: pickles.heap)
        // Unlike archives, these files are little-endian whatever machine wrote them.
        var storages = StorageTable(source: source)
        var position = pickles.end
        for key in pickles.keys {
            guard let width = widths[ByteKey(key)] else { throw damaged("a storage that no tensor uses") }
            let range = try storageRange(at: position, width: width)
            let extent = Extent(
                source: source, offset: range.lowerBound, byteCount: range.upperBound - range.lowerBound)
            let item = StorageTable.Item(extent: extent)
            guard storages.items.updateValue(item, forKey: ByteKey(key)) == nil else {
                throw damaged("a storage that is there twice")
            }
            position = range.upperBound
        }
        return storages
    }

    /// The storage that an archive inside a pickle holds and nothing else.
    ///
    /// - Parameter name: what to call its bytes, unlike any others.
    static func storage(
        in bytes: [UInt8], name: String, file: String, member: String?, globals: PickleGlobals
    ) throws(CheckpointError) -> NestedStorage {
        var machine = PickleMachine(bytes, file: file, member: member, globals: globals)
        machine.nestingDepth = 1
        guard FileContent.legacyMagicByteCount(bytes) != nil else {
            if FileContent(bytes) == .pickle { _ = try machine.run() }
            throw CheckpointError(
                .unsupported, "nested-archive", "it is not one that torch wrote for a storage", file: file,
                member: member)
        }
        let legacy = LegacyCheckpoint(MemorySource(name: name, contents: bytes), displayName: file)
        guard let pickles = try legacy.pickles(machine, isAll: true) else { throw legacy.damaged("a pickle") }
        guard case .persistent(let number) = pickles.top,
            let reference = StorageReference(pickles.heap.persistents[Int(number)], in: pickles.heap),
            reference.view == nil,
            let item = try legacy.storages(of: pickles).items[ByteKey(reference.key)]
        else {
            throw CheckpointError(
                .unsupported, "nested-archive", "it holds something else than one storage", file: file,
                member: member)
        }
        return NestedStorage(extent: item.extent, element: reference.element)
    }

    /// The bytes that an element of each storage takes, which only the references to storages tell.
    private func widths(in heap: PickleHeap) throws(CheckpointError) -> [ByteKey: Int] {
        var widths: [ByteKey: Int] = [:]
        for identifier in heap.persistents {
            guard let reference = StorageReference(identifier, in: heap) else {
                throw damaged("the reference to a storage")
            }
            let width = reference.element.byteWidth
            guard (widths.updateValue(width, forKey: ByteKey(reference.key)) ?? width) == width else {
                throw damaged("the element type of a storage")
            }
        }
        return widths
    }

    /// The bytes of a storage after its element count.
    private func storageRange(at position: UInt64, width: Int) throws(CheckpointError) -> Range<UInt64> {
        guard position <= source.byteCount, source.byteCount - position >= 8 else {
            throw truncated(at: position)
        }
        let bytes: [UInt8]
        do { bytes = try source.bytes(at: position, count: 8) } catch { throw CheckpointError(error) }
        let count = bytes.span.bytesView.load(littleEndian: UInt64.self, at: 0)
        let (byteCount, overflow) = count.multipliedReportingOverflow(by: UInt64(width))
        let start = position + 8
        guard !overflow, byteCount <= source.byteCount - start else { throw truncated(at: position) }
        return start..<start + byteCount
    }

    private func truncated(at offset: UInt64) -> CheckpointError {
        CheckpointError(
            .malformed, "truncated", "the file ends in the middle of a storage", file: displayName,
            offset: offset)
    }

    private func damaged(_ what: String) -> CheckpointError {
        CheckpointError(.malformed, "legacy-header", "the file is damaged: \(what)", file: displayName)
    }

    /// Refuses a pickle that PyTorch did not write, for what it asks to run where it does.
    static func refuseBarePickle(
        _ source: any ByteSource, displayName: String, _ options: ReadOptions
    ) throws(CheckpointError) -> Never {
        let count = Int(min(source.byteCount, 16 << 20))
        let bytes: [UInt8]
        do { bytes = try source.bytes(at: 0, count: count) } catch { throw CheckpointError(error) }
        var globals = PickleGlobals.weights
        globals.allowsOpaque = options.allowsOpaque
        var machine = PickleMachine(bytes, file: displayName, globals: globals)
        do {
            _ = try machine.run()
        } catch {
            if error.class == .unsafe { throw error }
        }
        throw CheckpointError(
            .unsupported, "bare-pickle", "this is a pickle that torch.save did not write", file: displayName)
    }
}
