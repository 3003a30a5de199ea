internal import CSystem
internal import Glibc

/// State shared by threads, with a lock and a way to wait for a change.
///
/// The one place that touches pthread primitives. Sound because the state is reached only under the lock and
/// the primitives live on the heap from init to deinit.
@safe
public final class Monitor<State>: @unchecked Sendable {
    private let lock = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let condition = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    private var state: State

    /// Makes a monitor of `state`.
    public init(_ state: sending State) {
        self.state = state
        unsafe pthread_mutex_init(lock, nil)
        unsafe pthread_cond_init(condition, nil)
    }

    deinit {
        unsafe pthread_mutex_destroy(lock)
        unsafe pthread_cond_destroy(condition)
        unsafe lock.deallocate()
        unsafe condition.deallocate()
    }

    /// Runs `body` with the state, alone.
    public func withLock<R, E: Error>(_ body: (inout State) throws(E) -> R) throws(E) -> R {
        unsafe pthread_mutex_lock(lock)
        defer { unsafe pthread_mutex_unlock(lock) }
        return try body(&state)
    }

    /// Runs `body` with the state, again after each ``notifyAll()``, until it returns a value.
    public func wait<R>(_ body: (inout State) -> R?) -> R {
        unsafe pthread_mutex_lock(lock)
        defer { unsafe pthread_mutex_unlock(lock) }
        while true {
            if let result = body(&state) { return result }
            unsafe pthread_cond_wait(condition, lock)
        }
    }

    /// Wakes the threads that wait.
    public func notifyAll() { unsafe pthread_cond_broadcast(condition) }
}

/// Threads for blocking work, which must stay off Swift's cooperative pool.
public enum Workers {
    /// The number of processors this process may use.
    public static var processorCount: Int {
        max(1, Int(csystem_processor_count()))
    }

    /// Runs `body` on `count` threads (this one among them) and returns when all are done.
    public static func run(count: Int, _ body: @escaping @Sendable (Int) -> Void) {
        var threads: [pthread_t] = []
        for index in 1..<max(1, count) {
            let box = unsafe Unmanaged.passRetained(Job(index: index, body: body))
            var thread = pthread_t()
            let code = unsafe pthread_create(
                &thread, nil,
                { argument in
                    let job = unsafe Unmanaged<Job>.fromOpaque(argument!).takeRetainedValue()
                    job.body(job.index)
                    return nil
                }, box.toOpaque())
            if code == 0 {
                threads.append(thread)
            } else {
                // No more threads to be had: the others do the work.
                unsafe box.release()
            }
        }
        body(0)
        for thread in threads { pthread_join(thread, nil) }
    }

    private final class Job: Sendable {
        let index: Int
        let body: @Sendable (Int) -> Void
        init(index: Int, body: @escaping @Sendable (Int) -> Void) {
            self.index = index
            self.body = body
        }
    }
}
