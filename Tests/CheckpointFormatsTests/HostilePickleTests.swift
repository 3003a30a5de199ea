import ArchiveTestSupport
import CheckpointFormats
import Checkpoints
import TensorCore
import Testing

/// Files that are built to run code, to deceive or to exhaust: each is refused by name, and nothing is run.
@Suite struct HostilePickleTests {
    /// A pickle in an archive of torch's, with one storage of four floats.
    static func archive(_ pickle: [UInt8]) -> [UInt8] {
        ZipBuilder([
            .init("archive/data.pkl", pickle), .init("archive/byteorder", Array("little".utf8)),
            .init("archive/data/0", [UInt8](repeating: 0, count: 16)),
            .init("archive/version", Array("3\n".utf8)),
        ]).bytes()
    }

    static func refusal(
        opaque: Bool = false, protocol version: UInt8 = 4, _ body: (inout PickleAssembler) -> Void
    ) -> CheckpointError? {
        var pickle = PickleAssembler(protocol: version)
        body(&pickle)
        var options = ReadOptions()
        options.allowsOpaque = opaque
        do throws(CheckpointError) {
            _ = try FormatRegistry.open(archive(pickle.finished), name: "model.pt", options: options)
            return nil
        } catch { return error }
    }

    /// Globals that scanners were found to miss, and the plain ones.
    static let dangerous: [(String, String)] = [
        ("posix", "system"), ("nt", "system"), ("os", "system"), ("subprocess", "Popen"),
        ("builtins", "eval"),
        ("builtins", "exec"), ("__builtin__", "getattr"), ("builtins", "__import__"), ("builtins", "open"),
        ("sys", "modules"), ("torch.hub", "load"), ("torch", "load"), ("torch.serialization", "load"),
        ("torch.storage", "_load_from_bytes_x"), ("torch._inductor.codecache", "compile_file"),
        ("torch.utils.bottleneck.__main__", "run_cprofile"), ("torch.utils._config_module", "ConfigModule"),
        ("torch.jit", "load"), ("torch.fx.graph_module", "reduce_graph_module"),
        ("numpy.testing._private.utils", "runstring"), ("numpy.f2py.crackfortran", "getlincoef"),
        ("asyncio.unix_events", "_UnixSubprocessTransport._start"), ("pip", "main"),
        ("pip._internal", "main"),
        ("trace", "Trace.run"), ("code", "InteractiveInterpreter.runcode"),
        ("idlelib.pyshell", "ModifiedInterpreter"),
        ("idlelib.run", "Executive.runcode"), ("lib2to3.pgen2.pgen", "ParserGenerator"), ("profile", "run"),
        ("cProfile", "runctx"), ("timeit", "timeit"), ("ensurepip", "_run_pip"), ("pkgutil", "resolve_name"),
        ("uuid", "_get_command_stdout"), ("imaplib", "IMAP4_stream"),
        ("cloudpickle.cloudpickle", "_make_function"),
        ("ctypes", "CDLL"), ("_io", "FileIO"), ("io", "open"), ("logging", "FileHandler"),
        ("functools", "partial"),
        ("operator", "methodcaller"), ("operator", "attrgetter"), ("types", "CodeType"), ("marshal", "loads"),
        ("pickle", "loads"), ("runpy", "run_path"), ("webbrowser", "open"), ("shutil", "rmtree"),
        ("socket", "create_connection"), ("http.client", "HTTPSConnection"), ("pty", "spawn"),
        ("bdb", "Bdb.run"),
        ("pdb", "run"), ("doctest", "debug_script"), ("importlib", "import_module"),
        ("copyreg", "add_extension"),
        ("pydoc", "pipepager"), ("distutils.file_util", "write_file"), ("aiohttp", "ClientSession"),
        ("requests.api", "get"), ("pandas", "read_pickle"), ("tensorflow", "io"),
        ("transformers.dynamic_module_utils", "get_class"),
    ]

    @Test(arguments: dangerous.indices)
    func `a dangerous global is refused by name and place, whatever is allowed`(index: Int) throws {
        let (module, name) = Self.dangerous[index]
        for opaque in [false, true] {
            let error = try #require(
                Self.refusal(opaque: opaque) { pickle in
                    pickle.op(0x4E)
                    pickle.op(0x30)
                    pickle.call(module, name, "true")
                })
            #expect(error.class == .unsafe && error.code == "refused-global", "\(error)")
            #expect(error.global == "\(module).\(name)")
            #expect(error.member == "archive/data.pkl")
            #expect(error.offset == 4)
            #expect(error.message.contains("nothing was run"))
        }
    }

    @Test func `an unknown class is refused, and a record where the caller allows such`() throws {
        func body(_ pickle: inout PickleAssembler) {
            pickle.global("mypkg.util", "Thing")
            pickle.emptyTuple()
            pickle.op(0x81)
            pickle.emptyDictionary()
            pickle.build()
        }
        let error = try #require(Self.refusal(body))
        #expect(error.class == .unsafe && error.global == "mypkg.util.Thing")
        #expect(error.message.contains("--allow-opaque"))
        #expect(Self.refusal(opaque: true, body) == nil)
    }

    @Test func `names with dots are refused even where the module is fine`() throws {
        for opaque in [false, true] {
            for (module, name) in [
                ("torch", "serialization.os.system"), ("mypkg", "A.b"), ("my pkg", "A"), ("mypkg", "a b"),
                ("mypkg", "é"),
            ] {
                let error = try #require(Self.refusal(opaque: opaque) { $0.global(module, name) })
                #expect(error.code == "refused-global", "\(module).\(name)")
            }
        }
    }

    @Test func `names from the memo and from calls are seen through`() throws {
        for opaque in [false, true] {
            let memo = try #require(
                Self.refusal(opaque: opaque) { pickle in
                    pickle.text("posix")
                    pickle.op(0x94)
                    pickle.text("system")
                    pickle.op(0x94)
                    for opcode: UInt8 in [0x30, 0x30] { pickle.op(opcode) }
                    pickle.op(0x68, [0])
                    pickle.op(0x68, [1])
                    pickle.op(0x93)
                })
            #expect(memo.global == "posix.system")
            let computed = try #require(
                Self.refusal(opaque: opaque) { pickle in
                    pickle.call("_codecs", "encode", "posix", "latin1")
                    pickle.text("system")
                    pickle.op(0x93)
                })
            #expect(computed.class == .unsafe && computed.code == "refused-global")
        }
    }

    @Test func `every other way to make an object is refused with its place`() throws {
        let ways: [(String, [UInt8])] = [
            ("inst", [0x28] + Array("iposix\nsystem\n".utf8)), ("object", [0x28, 0x4E, 0x6F]),
            ("ext1", [0x82, 1]), ("ext2", [0x83, 1, 0]), ("ext4", [0x84, 1, 0, 0, 0]),
            ("persID", Array("Px\n".utf8)), ("newObjectEx", [0x4E, 0x29, 0x7D, 0x92]),
            ("byteArray8", [0x96, 1, 0, 0, 0, 0, 0, 0, 0, 7]), ("nextBuffer", [0x97]),
            ("readOnlyBuffer", [0x98]),
        ]
        for (name, bytes) in ways {
            for opaque in [false, true] {
                let error = try #require(Self.refusal(opaque: opaque) { $0.bytes += bytes })
                #expect(["refused-opcode", "refused-global"].contains(error.code), "\(name): \(error)")
                #expect(error.offset ?? 0 >= 2, "\(name)")
                #expect(name == "inst" || error.message.contains(name))
            }
        }
    }

    @Test func `a payload in front of a broken opcode is found first`() throws {
        let error = try #require(
            Self.refusal { pickle in
                pickle.call("posix", "system", "true")
                pickle.bytes += [0xFF, 0xFF]
            })
        #expect(error.global == "posix.system")
    }

    @Test func `a payload behind the end of the pickle is found`() throws {
        let error = try #require(
            Self.refusal { pickle in
                pickle.emptyDictionary()
                pickle.bytes += [0x2E, 0x80, 2] + Array("cposix\nsystem\n".utf8)
            })
        #expect(error.global == "posix.system")
    }

    @Test func `an archive in the pickle is searched, and one in that is refused`() throws {
        func load(_ data: [UInt8], _ pickle: inout PickleAssembler) {
            pickle.global("torch.storage", "_load_from_bytes")
            pickle.mark()
            pickle.data(data)
            pickle.tuple()
            pickle.reduce()
        }
        var inner = PickleAssembler()
        inner.call("posix", "system", "true")
        let error = try #require(Self.refusal { load(inner.finished, &$0) })
        #expect(error.global == "posix.system" && error.class == .unsafe)
        #expect(error.member == "archive/data.pkl" && error.offset != nil)
        var middle = PickleAssembler()
        load(inner.finished, &middle)
        #expect(Self.refusal { load(middle.finished, &$0) }?.code == "nesting-limit")
        var plain = PickleAssembler()
        plain.emptyDictionary()
        #expect(Self.refusal { load(plain.finished, &$0) }?.code == "nested-archive")
        #expect(Self.refusal { load(Array("PK\u{3}\u{4}".utf8), &$0) }?.code == "nested-archive")
        let repeated = Self.refusal { pickle in
            pickle.data([UInt8](repeating: 0x80, count: 1000))
            pickle.op(0x94)
            for _ in 0..<50 {
                pickle.global("torch.storage", "_load_from_bytes")
                pickle.op(0x68, [0])
                pickle.op(0x85)
                pickle.reduce()
            }
        }
        #expect(repeated != nil)
    }

    @Test func `a magic number that is computed is refused in files without an archive`() throws {
        var first = PickleAssembler(protocol: 2)
        first.call("builtins", "eval", "0x1950a86a20f9469cfc6c")
        let error = try #require(throws: CheckpointError.self) {
            try FormatRegistry.open(first.finished, name: "model.bin")
        }
        #expect(error.class == .unsafe && error.global == "builtins.eval" && error.offset == 2)
    }

    @Test func `a payload in any of the pickles of a file without an archive is found`() throws {
        let magic: [UInt8] = [
            0x80, 2, 0x8A, 0x0A, 0x6C, 0xFC, 0x9C, 0x46, 0xF9, 0x20, 0x6A, 0xA8, 0x50, 0x19, 0x2E,
        ]
        var version = PickleAssembler(protocol: 2)
        version.integer(1001)
        var empty = PickleAssembler(protocol: 2)
        empty.emptyDictionary()
        var payload = PickleAssembler(protocol: 2)
        payload.call("posix", "system", "true")
        for place in 0..<4 {
            var parts = [version.finished, empty.finished, empty.finished, [0x80, 2, 0x5D, 0x2E]]
            parts[place] = payload.finished
            let error = try #require(throws: CheckpointError.self) {
                try FormatRegistry.open(magic + parts.flatMap { $0 }, name: "model.bin")
            }
            #expect(error.global == "posix.system", "in pickle \(place)")
        }
    }

    @Test func `a storage whose place an unknown class decides is refused`() throws {
        func tensor(_ pickle: inout PickleAssembler, storage: (inout PickleAssembler) -> Void) {
            pickle.text("w")
            pickle.global("torch._utils", "_rebuild_tensor_v2")
            pickle.mark()
            storage(&pickle)
            pickle.integer(0)
            pickle.integers([4])
            pickle.integers([1])
            pickle.op(0x89)
            pickle.emptyDictionary()
            pickle.tuple()
            pickle.reduce()
        }
        let computed = try #require(
            Self.refusal(opaque: true) { pickle in
                pickle.emptyDictionary()
                tensor(&pickle) { $0.call("mypkg", "Storage", "0") }
                pickle.op(0x73)
            })
        #expect(computed.class == .unsafe && computed.code == "opaque-storage")
        #expect(computed.global == "mypkg.Storage")
        let named = try #require(
            Self.refusal(opaque: true) { pickle in
                pickle.emptyDictionary()
                tensor(&pickle) { pickle in
                    pickle.mark()
                    pickle.text("storage")
                    pickle.global("torch", "FloatStorage")
                    pickle.call("mypkg", "Key", "0")
                    pickle.text("cpu")
                    pickle.integer(4)
                    pickle.tuple()
                    pickle.op(0x51)
                }
                pickle.op(0x73)
            })
        #expect(named.code == "opaque-storage" && named.global == "mypkg.Key")
    }

    @Test func `claims of bytes that are not there are refused before anything is made`() throws {
        func weights(_ body: (inout PickleAssembler) -> Void) -> String? {
            Self.refusal { pickle in
                pickle.emptyDictionary()
                pickle.text("w")
                body(&pickle)
                pickle.op(0x73)
            }?.code
        }
        #expect(weights { $0.tensor("0", count: 4, shape: [2, 2], strides: [2, 1]) } == nil)
        #expect(weights { $0.tensor("0", count: 4, shape: [1 << 40], strides: [0]) } == "output-limit")
        #expect(
            weights { $0.tensor("0", count: 4, shape: [1 << 40, 1 << 40], strides: [0, 0]) }
                == "shape-overflow")
        #expect(weights { $0.tensor("0", count: 4, shape: [5], strides: [1]) } == "view-out-of-bounds")
        #expect(weights { $0.tensor("0", count: 4, shape: [2], strides: [.max]) } == "view-out-of-bounds")
        #expect(
            weights { $0.tensor("0", count: 4, shape: [1], strides: [1], offset: 4) } == "view-out-of-bounds")
        #expect(
            weights { $0.tensor("0", count: 4, shape: [1], strides: [1], offset: -1) } == "negative-offset")
        #expect(weights { $0.tensor("0", count: 4, shape: [2], strides: [-1]) } == "negative-stride")
        #expect(weights { $0.tensor("0", count: 4, shape: [-2], strides: [1]) } == "bad-shape")
        #expect(weights { $0.tensor("0", count: 4, shape: [2], strides: []) } == "bad-shape")
        #expect(weights { $0.tensor("0", count: 5, shape: [2], strides: [1]) } == "storage-size-mismatch")
        #expect(weights { $0.tensor("0", count: .max, shape: [2], strides: [1]) } == "storage-size-mismatch")
        #expect(weights { $0.tensor("1", count: 4, shape: [2], strides: [1]) } == "storage-missing")
        #expect(weights { $0.tensor("../0", count: 4, shape: [2], strides: [1]) } == "bad-tensor")
    }

    @Test func `containers that describe 2 to the power of 60 leaves are walked in no time`() {
        let start = ContinuousClock.now
        let error = Self.refusal { pickle in
            pickle.tensor("0", count: 4, shape: [4], strides: [1])
            for _ in 0..<60 {
                pickle.op(0x94)
                pickle.op(0x30)
                pickle.mark()
                for _ in 0..<2 { pickle.op(0x68, [pickle.lastMemo]) }
                pickle.op(0x6C)
                pickle.lastMemo += 1
            }
        }
        #expect(error?.code == "tensor-limit" || error?.code == "name-limit", "\(String(describing: error))")
        #expect(start.duration(to: .now) < .seconds(2))
    }

    @Test func `values as deep as a file can describe are refused or cut, never followed to the end`() {
        #expect(
            Self.refusal { $0.bytes += [UInt8](repeating: 0x28, count: 200_000) }?.code == "nesting-limit")
        // Tensors in tensors in tensors, none of them in a container.
        let nested = Self.refusal { pickle in
            pickle.emptyDictionary()
            pickle.text("w")
            for _ in 0..<500 {
                pickle.global("torch._utils", "_rebuild_device_tensor_from_cpu_tensor")
                pickle.global("torch._utils", "_rebuild_parameter")
                pickle.mark()
                pickle.mark()
            }
            pickle.tensor("0", count: 4, shape: [4], strides: [1])
            for _ in 0..<500 {
                pickle.op(0x89)
                pickle.emptyDictionary()
                pickle.tuple()
                pickle.op(0x30)
            }
        }
        #expect(nested != nil)
    }
}
