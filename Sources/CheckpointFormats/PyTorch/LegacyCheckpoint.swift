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

    func read(root: String?) throws(CheckpointError) -> Checkpoint {
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
            if let pickles = try pickles(in: bytes, isAll: available < count) {
                return try checkpoint(pickles, root: root)
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

    /// The pickles, or nil where `bytes` end before they do and are not all there are.
    private func pickles(in bytes: [UInt8], isAll: Bool) throws(CheckpointError) -> Pickles? {
        var position = FileContent.legacyMagic.count
        var machines: [(machine: PickleMachine, value: PickleValue)] = []
        for _ in 0..<4 {
            var machine = PickleMachine(bytes, at: position, file: displayName)
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

    private func checkpoint(_ pickles: Pickles, root: String?) throws(CheckpointError) -> Checkpoint {
        let widths = try widths(in: pickles.heap)
        // Unlike archives, these files are little-endian whatever machine wrote them.
        var storages = StorageTable(source: source)
        var position = pickles.end
        for key in pickles.keys {
            guard let width = widths[ByteKey(key)] else { throw damaged("a storage that no tensor uses") }
            let range = try storageRange(at: position, width: width)
            guard storages.items.updateValue(StorageTable.Item(range: range), forKey: ByteKey(key)) == nil
            else {
                throw damaged("a storage that is there twice")
            }
            position = range.upperBound
        }
        let state = PickledState(heap: pickles.heap, top: pickles.top, storages: storages)
        return try state.checkpoint(root: root, displayName: displayName, member: nil)
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
        _ source: any ByteSource, displayName: String
    ) throws(CheckpointError) -> Never {
        let count = Int(min(source.byteCount, 16 << 20))
        let bytes: [UInt8]
        do { bytes = try source.bytes(at: 0, count: count) } catch { throw CheckpointError(error) }
        var machine = PickleMachine(bytes, file: displayName)
        do {
            _ = try machine.run()
        } catch {
            if error.class == .unsafe { throw error }
        }
        throw CheckpointError(
            .unsupported, "bare-pickle", "this is a pickle that torch.save did not write", file: displayName)
    }
}
