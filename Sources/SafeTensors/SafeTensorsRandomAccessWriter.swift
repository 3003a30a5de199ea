public import TensorCore

/// Writes a SafeTensors file whose tensors' bytes come in any order, in pieces, from any thread.
///
/// ```swift
/// let layout = try SafeTensorsLayout(tensors: [("a", .f32, [1 << 20]), ("b", .f32, [1 << 20])])
/// let writer = try SafeTensorsRandomAccessWriter(replacing: "model.safetensors", layout: layout)
/// Workers.run(count: 2) { thread in
///     // Write a part of any tensor: writer.write(bytes, to: "a", at: 1024).
/// }
/// try writer.commit()
/// ```
///
/// Each byte is written once: a range that was written already is refused, and so is a commit where bytes lack.
/// The destination appears, or is replaced, only by ``commit()``; a writer that goes away before leaves nothing.
/// Permissions, links and stable storage are as with ``SafeTensorsWriter``.
public final class SafeTensorsRandomAccessWriter: Sendable {
    /// The layout.
    public let layout: SafeTensorsLayout
    private let positions: [TensorName: Int]
    private let output: OutputFile
    private let state: Monitor<State>

    private struct State {
        let file: ReplacementBox
        /// The bytes of each tensor that are written or being written.
        var claimed: [WrittenRanges]
        /// Writes that are under way.
        var pending = 0
        /// True once the file is complete and may not be written any more.
        var isClosed = false
    }

    private final class ReplacementBox {
        var file: ReplacementFile
        init(_ file: consuming ReplacementFile) { self.file = file }
    }

    /// Creates a temporary file beside the destination, reserves its size and writes the header to it.
    ///
    /// - Parameters:
    ///   - path: the destination; its directory must exist.
    ///   - layout: the header and the places of the tensors.
    /// - Throws: ``SafeTensorsError/Code/io``.
    public init(replacing path: String, layout: SafeTensorsLayout) throws(SafeTensorsError) {
        self.layout = layout
        positions = Dictionary(uniqueKeysWithValues: layout.tensors.enumerated().map { ($1.name, $0) })
        do {
            let file = try ReplacementFile(for: path)
            try file.reserve(byteCount: layout.fileByteCount)
            try file.write(layout.header.span.bytesView, at: 0)
            output = file.output
            state = Monitor(
                State(
                    file: ReplacementBox(file),
                    claimed: Array(repeating: WrittenRanges(), count: layout.tensors.count)))
        } catch {
            throw SafeTensorsError(error)
        }
    }

    /// Writes bytes of a tensor; may be called from several threads at once.
    ///
    /// A range that could not be written may be written again.
    ///
    /// - Parameters:
    ///   - bytes: the bytes.
    ///   - name: the tensor.
    ///   - offset: their place in the tensor, in bytes.
    /// - Throws: ``SafeTensorsError/Code/writtenTwice`` where some were written before,
    ///   ``SafeTensorsError/Code/wrongByteCount`` where they leave the tensor, there is no such tensor or the file
    ///   is committed, and ``SafeTensorsError/Code/io``.
    public func write(
        _ bytes: RawSpan, to name: TensorName, at offset: UInt64 = 0
    ) throws(SafeTensorsError) {
        guard let position = positions[name] else {
            throw SafeTensorsError(.wrongByteCount, tensor: name, "the layout has no such tensor")
        }
        let tensor = layout.tensors[position]
        let count = UInt64(bytes.byteCount)
        guard offset <= tensor.byteCount, count <= tensor.byteCount - offset else {
            throw SafeTensorsError(
                .wrongByteCount, at: tensor.fileRange.lowerBound, tensor: name,
                "\(count) bytes at byte \(offset) leave the tensor, which has \(tensor.byteCount)")
        }
        let range = offset..<offset + count
        try claim(range, of: position)
        do throws(IOError) {
            try output.write(bytes, at: tensor.fileRange.lowerBound + offset)
        } catch {
            state.withLock { state in
                state.claimed[position].remove(range)
                state.pending -= 1
            }
            throw SafeTensorsError(error)
        }
        state.withLock { $0.pending -= 1 }
    }

    /// Brings the file to stable storage and puts it in the destination's place.
    ///
    /// - Throws: ``SafeTensorsError/Code/wrongByteCount`` where bytes lack, with the tensor and the range, or are
    ///   just being written; nothing is replaced then, and writing may go on.
    public func commit() throws(SafeTensorsError) {
        try state.withLock { (state) throws(SafeTensorsError) in
            guard !state.isClosed else { throw SafeTensorsError(.wrongByteCount, "the file is committed") }
            guard state.pending == 0 else {
                throw SafeTensorsError(.wrongByteCount, "\(state.pending) writes are still under way")
            }
            for (tensor, claimed) in zip(layout.tensors, state.claimed) {
                guard let gap = claimed.firstGap(upTo: tensor.byteCount) else { continue }
                throw SafeTensorsError(
                    .wrongByteCount, at: tensor.fileRange.lowerBound + gap.lowerBound, tensor: tensor.name,
                    "bytes \(gap.lowerBound) to \(gap.upperBound) are missing")
            }
            do throws(IOError) {
                try state.file.file.commit()
                state.isClosed = true
            } catch {
                throw SafeTensorsError(error)
            }
        }
    }

    private func claim(_ range: Range<UInt64>, of position: Int) throws(SafeTensorsError) {
        try state.withLock { (state) throws(SafeTensorsError) in
            let tensor = layout.tensors[position]
            guard !state.isClosed else {
                throw SafeTensorsError(.wrongByteCount, tensor: tensor.name, "the file is committed")
            }
            guard state.claimed[position].insert(range) else {
                throw SafeTensorsError(
                    .writtenTwice, at: tensor.fileRange.lowerBound + range.lowerBound, tensor: tensor.name,
                    "bytes from \(range.lowerBound) to \(range.upperBound) are written already, all or some")
            }
            state.pending += 1
        }
    }
}
