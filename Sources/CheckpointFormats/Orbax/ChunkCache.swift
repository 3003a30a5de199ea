internal import Synchronization
internal import TensorCore

/// Decoded chunks of a checkpoint, those used last: small ones whole, of large ones the streams that are under way.
final class ChunkCache: Sendable {
    /// What is kept.
    struct Key: Hashable {
        var array: Int
        var chunk: UInt64
        var isIndex = false
    }

    private struct Entry {
        var source: any ByteSource
        var cost: Int
        var lastUse: Int
    }

    private struct State {
        var entries: [Key: Entry] = [:]
        var cost = 0
        var clock = 0
    }

    private let state = Mutex(State())

    /// The memory that all entries may take.
    static let costLimit = 96 << 20
    /// What an entry takes at least.
    private static let minimumCost = 64 << 10

    /// The entry of a key, made where there is none.
    func entry(
        _ key: Key, make: () throws(IOError) -> (source: any ByteSource, cost: Int)
    ) throws(IOError) -> any ByteSource {
        let known: (any ByteSource)? = state.withLock { state in
            state.clock += 1
            state.entries[key]?.lastUse = state.clock
            return state.entries[key]?.source
        }
        if let known { return known }
        let made = try make()
        return state.withLock { state in
            // Another thread may have been first; one stream is better than two.
            if let known = state.entries[key]?.source { return known }
            let cost = max(made.cost, Self.minimumCost)
            while state.cost + cost > Self.costLimit,
                let oldest = state.entries.min(by: { $0.value.lastUse < $1.value.lastUse })
            {
                state.entries[oldest.key] = nil
                state.cost -= oldest.value.cost
            }
            state.entries[key] = Entry(source: made.source, cost: cost, lastUse: state.clock)
            state.cost += cost
            return made.source
        }
    }
}
