/// How a rectangle of a view is fetched: which axes one read covers, and which reads go into the scratch memory
/// together before their elements are put in order.
struct GatherPlan {
    /// A dimension of the rectangle.
    struct Axis {
        /// The indices in the rectangle.
        var count: Int
        /// Elements between neighbours in the storage.
        var stride: Int
        /// Elements between neighbours in the result.
        var outputStride: Int
        /// Elements between neighbours in the scratch memory.
        var scratchStride = 0
        /// The indices that are handled at once.
        var tile = 1
        /// Whether a single read covers the indices that are handled at once.
        var isInWindow = false
    }

    /// The dimensions, as in the view.
    var axes: [Axis]
    /// The axis along which rows go straight to the result, where scratch memory would gain nothing.
    var directAxis: Int?
    /// The elements of scratch memory that a tile takes.
    var scratchElementCount = 1
    /// The axes from the largest steps in the storage to the smallest.
    let order: [Int]

    init(_ axes: [Axis], width: Int, readCost: Int) {
        self.axes = axes
        order = axes.indices.sorted { axes[$0].stride > axes[$1].stride }
        let active = order.reversed().filter { axes[$0].count > 1 }
        if let row = active.first(where: { axes[$0].stride > 0 }), axes[row].stride == 1,
            axes[row].outputStride == 1, active.count == 1 || axes[row].count * width >= readCost / 2
        {
            directAxis = row
            return
        }
        // What fits the second-level cache, or what makes the wait for a request worth while.
        let limit = max(1, (readCost > 1 << 16 ? 8 << 20 : 1 << 20) / width)
        let reach = planWindow(active, limit: limit, width: width, readCost: readCost)
        planTile(active, limit: limit, width: width, segment: reach + 1)
    }

    /// Chooses what a read covers: an axis is worth it where its gaps cost less than reads of their own would.
    ///
    /// Returns the distance from the first element of a read to its last.
    private mutating func planWindow(_ active: [Int], limit: Int, width: Int, readCost: Int) -> Int {
        let innermost = active.min { axes[$0].outputStride < axes[$1].outputStride }
        var hasInnermost = false
        var reach = 0
        for index in active {
            let axis = axes[index]
            if axis.stride == 0 {
                axes[index].tile = axis.count
                axes[index].isInWindow = true
                continue
            }
            guard axis.stride <= reach + 1 + readCost / width else { break }
            // Long reads leave room for few rows, which hurts where rows become the columns of the result.
            hasInnermost = hasInnermost || index == innermost
            let most = hasInnermost ? limit : max(1, min(limit, 2 * readCost / width))
            let tile = min(axis.count, (most - 1 - reach) / axis.stride + 1)
            guard tile > 1 else { break }
            axes[index].tile = tile
            axes[index].scratchStride = axis.stride
            axes[index].isInWindow = true
            reach += (tile - 1) * axis.stride
            if tile < axis.count { break }
        }
        return reach
    }

    /// Chooses the reads that are held together: those whose elements are neighbours in the result.
    private mutating func planTile(_ active: [Int], limit: Int, width: Int, segment: Int) {
        // Not a multiple of the distance at which lines of the processor's cache displace each other.
        let padded = segment * width % 512 == 0 ? segment + max(1, 64 / width) : segment
        var total = padded
        let outer = active.filter { !axes[$0].isInWindow }
        for index in outer.sorted(by: { axes[$0].outputStride < axes[$1].outputStride }) {
            axes[index].scratchStride = total
            axes[index].tile = max(1, min(axes[index].count, limit / total))
            total *= axes[index].tile
        }
        scratchElementCount = total
    }
}
