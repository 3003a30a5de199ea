internal import Synchronization
internal import TensorCore

/// A file that is made when it is first looked at.
final class MadeFile: ByteSource {
    let name: String
    private let state: Mutex<State>

    private enum State {
        case open(@Sendable () -> [UInt8])
        case made([UInt8])
    }

    init(name: String, make: @escaping @Sendable () -> [UInt8]) {
        self.name = name
        state = Mutex(.open(make))
    }

    private var contents: [UInt8] {
        state.withLock { state in
            switch state {
            case .made(let contents): return contents
            case .open(let make):
                let contents = make()
                state = .made(contents)
                return contents
            }
        }
    }

    var byteCount: UInt64 { UInt64(contents.count) }

    func read(at offset: UInt64, into buffer: inout MutableRawSpan) throws(IOError) {
        try MemorySource(name: name, contents: contents).read(at: offset, into: &buffer)
    }
}
