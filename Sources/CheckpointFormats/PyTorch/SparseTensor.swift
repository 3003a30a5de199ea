internal import Checkpoints
internal import StrictJSON
internal import TensorCore

/// A sparse tensor with zeros where it has nothing, made piece by piece from what is stored.
///
/// Each entry is a block of values added where its indices say; entries of the same place add up, as torch has it.
struct SparseTensor: ComputedTensor {
    let dtype: DType
    /// The elements of the dense tensor.
    let elementCount: UInt64
    let layout: Layout
    /// The values, a block of the same size for each entry.
    let values: TensorExpression
    /// The elements of a block.
    let blockCount: UInt64

    /// Where entries go.
    enum Layout {
        /// By an index for each of the first axes, in rows of `indices` of `entryCount` each.
        case coordinates(indices: TensorSource, entryCount: UInt64, sizes: [UInt64])
        /// By rows, or columns, that say which entries are theirs, and an index on the other axis for each.
        case compressed(CompressedLayout)
    }

    /// A matrix of blocks by rows or by columns.
    struct CompressedLayout {
        var isByRows: Bool
        /// Where the entries of each row (or column) of blocks begin, and where the last end.
        var pointers: TensorSource
        /// The other index of each entry.
        var indices: TensorSource
        var entryCount: UInt64
        /// Blocks along the axis of the pointers and along the other.
        var outerCount: UInt64
        var innerCount: UInt64
        var blockRows: UInt64
        var blockColumns: UInt64
        /// Columns of the matrix.
        var columns: UInt64
    }

    var operation: String { "sparse_densified" }
    var parameters: [JSONMember] { [.init(key: "dtype", value: .string(dtype.name))] }
    var inputs: [TensorSource] {
        switch layout {
        case .coordinates(let indices, _, _): [indices, values.source]
        case .compressed(let layout): [layout.pointers, layout.indices, values.source]
        }
    }
    var width: Int { dtype.byteWidth ?? 1 }
    var byteCount: UInt64 { elementCount * UInt64(width) }
    var granularity: Int { width }
    /// All entries are looked at for each piece.
    var preferredPieceByteCount: Int { 64 << 20 }

    func read(at offset: UInt64, into buffer: inout MutableRawSpan) throws(IOError) {
        ElementBits.fill(&buffer, with: ([0] as [UInt8]).span, phase: 0)
        let first = offset / UInt64(width)
        let piece = first..<first + UInt64(buffer.byteCount / width)
        let numbers = ElementWindow(values.source, width: width)
        switch layout {
        case .coordinates(let indices, let entryCount, let sizes):
            // A window for each axis, as the indices of one axis stand together.
            let windows = sizes.map { _ in ElementWindow(indices, width: 8) }
            for entry in 0..<entryCount {
                var place: UInt64 = 0
                for (axis, size) in sizes.enumerated() {
                    let index = try windows[axis].index(at: UInt64(axis) * entryCount + entry)
                    guard index < size else { throw damage("an index is beyond the tensor") }
                    place = place * size + index
                }
                try add(
                    entry * blockCount, blockCount, at: place * blockCount, in: piece, numbers, &buffer)
            }
        case .compressed(let layout): try readCompressed(layout, piece, numbers, &buffer)
        }
    }

    private func readCompressed(
        _ layout: CompressedLayout, _ piece: Range<UInt64>, _ numbers: ElementWindow,
        _ buffer: inout MutableRawSpan
    ) throws(IOError) {
        if piece.isEmpty || layout.columns == 0 { return }
        let pointers = ElementWindow(layout.pointers, width: 8)
        let indices = ElementWindow(layout.indices, width: 8)
        // Where rows are stored, only those of the piece matter.
        let stripe = layout.blockRows * layout.columns
        let outer =
            layout.isByRows
            ? piece.lowerBound / stripe..<(piece.upperBound - 1) / stripe + 1 : 0..<layout.outerCount
        for line in outer {
            let start = try pointers.index(at: line)
            let end = try pointers.index(at: line + 1)
            guard start <= end, end <= layout.entryCount else {
                throw damage("the entries of a row end before they begin, or beyond the last")
            }
            for entry in start..<end {
                let other = try indices.index(at: entry)
                guard other < layout.innerCount else { throw damage("an index is beyond the tensor") }
                let (row, column) = layout.isByRows ? (line, other) : (other, line)
                for blockRow in 0..<layout.blockRows {
                    let place =
                        (row * layout.blockRows + blockRow) * layout.columns + column * layout.blockColumns
                    try add(
                        (entry * layout.blockRows + blockRow) * layout.blockColumns, layout.blockColumns,
                        at: place, in: piece, numbers, &buffer)
                }
            }
        }
    }

    /// Adds values to the elements from `place`, as far as they are in the piece.
    private func add(
        _ value: UInt64, _ count: UInt64, at place: UInt64, in piece: Range<UInt64>,
        _ numbers: ElementWindow, _ buffer: inout MutableRawSpan
    ) throws(IOError) {
        let run = (place..<place + count).clamped(to: piece)
        var next = run.lowerBound
        while next < run.upperBound {
            let most = min(Int(run.upperBound - next), numbers.capacity)
            let target = Int(next - piece.lowerBound) * width
            var part = buffer._mutatingExtracting(target..<target + most * width)
            try numbers.withElements(at: value + (next - place), count: most) { bytes in
                ElementSum.add(bytes, dtype, to: &part)
            }
            next += UInt64(most)
        }
    }

    private func damage(_ detail: String) -> IOError {
        IOError(
            .damaged, path: values.source.location?.source.name ?? "tensor", operation: "read", detail: detail
        )
    }
}

/// Elements of a source read forward, a block at a time.
private final class ElementWindow {
    private let source: TensorSource
    private let width: Int
    private let count: UInt64
    private let buffer: PageBuffer
    private var loaded: Range<UInt64> = 0..<0
    /// The most elements that can be had at once.
    let capacity: Int

    init(_ source: TensorSource, width: Int) {
        self.source = source
        self.width = width
        count = source.byteCount / UInt64(width)
        capacity = max(1, (64 << 10) / width)
        buffer = PageBuffer(capacity: capacity * width)
    }

    func withElements(
        at index: UInt64, count wanted: Int, _ body: (RawSpan) -> Void
    ) throws(IOError) {
        let range = index..<index + UInt64(wanted)
        if range.lowerBound < loaded.lowerBound || range.upperBound > loaded.upperBound {
            guard range.upperBound <= count else {
                throw IOError(.damaged, path: "tensor", operation: "read", detail: "its values end too early")
            }
            let stop = min(count, index + UInt64(capacity))
            loaded = 0..<0
            try buffer.fill(Int(stop - min(index, stop)) * width, from: source, at: index * UInt64(width))
            loaded = index..<stop
        }
        let start = Int(index - loaded.lowerBound) * width
        buffer.withBytes(count: Int(loaded.upperBound - loaded.lowerBound) * width) { bytes in
            body(bytes.extracting(start..<start + wanted * width))
        }
    }

    /// An index; negative ones are beyond everything.
    func index(at position: UInt64) throws(IOError) -> UInt64 {
        var result: UInt64 = 0
        try withElements(at: position, count: 1) { result = $0.load(littleEndian: UInt64.self, at: 0) }
        return result
    }
}
