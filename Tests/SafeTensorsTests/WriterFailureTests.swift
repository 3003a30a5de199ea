import Glibc
import SafeTensors
import TensorCore
import Testing

/// A small file system in memory, which only a privileged process can mount.
final class SmallFileSystem {
    let path: String

    init?(byteCount: Int, flags: UInt = 0) {
        path = "/tmp/safetensors-mount-" + String(UInt64.random(in: .min ... .max), radix: 16)
        guard geteuid() == 0, mkdir(path, 0o777) == 0 else { return nil }
        guard mount("none", path, "tmpfs", 0, "size=\(byteCount)") == 0 else {
            rmdir(path)
            return nil
        }
    }

    /// Lets nothing be written any more.
    func makeReadOnly() -> Bool { mount("none", path, "tmpfs", UInt(MS_REMOUNT | MS_RDONLY), "") == 0 }

    deinit {
        umount2(path, Int32(MNT_DETACH))
        rmdir(path)
    }

    static let isAvailable: Bool = SmallFileSystem(byteCount: 4096) != nil
}

@Suite struct WriterFailureTests {
    private let layout: SafeTensorsLayout

    init() throws {
        layout = try SafeTensorsLayout(tensors: [("a", .u8, [1 << 18]), ("b", .u8, [1 << 18])])
    }

    /// The error of writing the layout's file both ways.
    private func errors(_ path: String) -> [SafeTensorsError?] {
        let bytes = [UInt8](repeating: 1, count: 1 << 18)
        let layout = layout
        func attempt(_ body: () throws(SafeTensorsError) -> Void) -> SafeTensorsError? {
            do throws(SafeTensorsError) {
                try body()
                return nil
            } catch {
                return error
            }
        }
        return [
            attempt { () throws(SafeTensorsError) in
                var writer = try SafeTensorsWriter(replacing: path, layout: layout)
                for name in ["a", "b"] as [TensorName] { try writer.append(bytes.span.bytesView, to: name) }
                try writer.commit()
            },
            attempt { () throws(SafeTensorsError) in
                let writer = try SafeTensorsRandomAccessWriter(replacing: path, layout: layout)
                for name in ["b", "a"] as [TensorName] { try writer.write(bytes.span.bytesView, to: name) }
                try writer.commit()
            },
        ]
    }

    @Test(.enabled(if: SmallFileSystem.isAvailable))
    func `a full disk gives a typed error and leaves the old file and nothing else`() throws {
        let disk = try #require(SmallFileSystem(byteCount: 300 << 10))
        let path = disk.path + "/m.safetensors"
        try FileSystem.create(path, contents: [1, 2])
        for error in errors(path) { #expect(error?.code == .io && error?.io?.errno == ENOSPC) }
        #expect(try FileSystem.names(in: disk.path) == ["m.safetensors"])
        #expect(try FileSystem.contents(of: path, limit: 9) == [1, 2])
    }

    @Test(.enabled(if: SmallFileSystem.isAvailable))
    func `a read-only file system gives a typed error`() throws {
        let disk = try #require(SmallFileSystem(byteCount: 1 << 20))
        try #require(disk.makeReadOnly())
        for error in errors(disk.path + "/m.safetensors") {
            #expect(error?.code == .io && error?.io?.errno == EROFS)
        }
    }

    @Test func `a directory without permission to write gives a typed error and stays as it is`() async throws
    {
        let directory = try TemporaryDirectory()
        chmod(directory.path, 0o555)
        let path = directory.path
        await #expect(processExitsWith: .success) { [path = path as String] in
            // Permissions do not hold a privileged process.
            if geteuid() == 0 { setuid(65534) }
            let errors = try WriterFailureTests().errors(path + "/m.safetensors")
            guard errors.allSatisfy({ $0?.io?.errno == EACCES }) else { exit(2) }
        }
        #expect(try directory.names.isEmpty)
    }

    @Test func `a file over the limit of the process gives a typed error and leaves nothing`() async throws {
        await #expect(processExitsWith: .success) {
            let directory = try TemporaryDirectory()
            signal(SIGXFSZ, SIG_IGN)
            var limit = rlimit(rlim_cur: 1 << 18, rlim_max: 1 << 18)
            setrlimit(__rlimit_resource_t(1), &limit)
            let errors = try WriterFailureTests().errors(directory.file("m.safetensors"))
            guard errors.allSatisfy({ $0?.io?.errno == EFBIG }), try directory.names.isEmpty else { exit(2) }
        }
    }

    @Test(arguments: [false, true])
    func `a writer that is killed leaves the old file, and the next writer removes the rest`(
        isRandomAccess: Bool
    ) async throws {
        // The child knows the place by its parent's number.
        let path = "/tmp/safetensors-killed-\(getpid())-\(isRandomAccess)"
        try? FileSystem.removeTree(path)
        try FileSystem.createDirectory(path)
        defer { try? FileSystem.removeTree(path) }
        try FileSystem.create(path + "/m.safetensors", contents: [1, 2])
        if isRandomAccess {
            await #expect(processExitsWith: .signal(SIGKILL)) {
                let layout = try WriterFailureTests().layout
                let writer = try SafeTensorsRandomAccessWriter(
                    replacing: "/tmp/safetensors-killed-\(getppid())-true/m.safetensors", layout: layout)
                try writer.write([UInt8](repeating: 1, count: 1 << 18).span.bytesView, to: "b")
                kill(getpid(), SIGKILL)
            }
        } else {
            await #expect(processExitsWith: .signal(SIGKILL)) {
                let layout = try WriterFailureTests().layout
                var writer = try SafeTensorsWriter(
                    replacing: "/tmp/safetensors-killed-\(getppid())-false/m.safetensors", layout: layout)
                try writer.append([UInt8](repeating: 1, count: 1 << 18).span.bytesView, to: "a")
                kill(getpid(), SIGKILL)
            }
        }
        let left = try FileSystem.names(in: path)
        #expect(left.count == 2 && left[0].hasSuffix(".partial"))
        #expect(try FileSystem.contents(of: path + "/m.safetensors", limit: 9) == [1, 2])
        #expect(errors(path + "/m.safetensors").allSatisfy { $0 == nil })
        #expect(try FileSystem.names(in: path) == ["m.safetensors"])
    }
}
