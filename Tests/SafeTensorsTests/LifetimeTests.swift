import TestSupport
import Testing

/// What must not compile: spans that outlive the mapping whose bytes they are.
@Suite struct LifetimeTests {
    /// Compiles a program against the modules of this build; gives what the compiler says, or nil where it is content.
    private func diagnostics(_ body: String) throws -> String? {
        let directory = try TestSupport.TemporaryDirectory()
        let program = "import SafeTensors\nimport TensorCore\n" + body
        let path = try directory.write("misuse.swift", program)
        let build = Repository.command.split(separator: "/").dropLast().joined(separator: "/")
        // Lifetimes are checked on the intermediate language, which -typecheck does not reach.
        let result = try run(
            "/usr/bin/env",
            [
                "swiftc", "-emit-sil", "-o", "/dev/null", "-swift-version", "6",
                "-enable-experimental-feature", "Lifetimes", "-I", "/\(build)/Modules", "-I",
                Repository.path("Sources/CSystem/include"), "-Xcc",
                "-fmodule-map-file=/\(build)/CSystem.build/module.modulemap", "-Xcc",
                "-fmodule-map-file=/\(build)/CKernels.build/module.modulemap", path,
            ])
        return result.exitCode == 0 ? nil : result.errors
    }

    @Test func `a view used within its scope compiles`() throws {
        let errors = try diagnostics(
            """
            func sum(_ file: SafeTensorsFile) throws -> Float {
                guard let view = file.tensor(named: "a"), let values = view.elements(as: Float.self) else { return 0 }
                return values[0] + Float(try view.slice(.index(0)).copiedBytes().count)
            }
            @_lifetime(borrow view) func bytes(_ view: borrowing TensorView) -> RawSpan { view.bytes }
            """)
        #expect(errors == nil)
    }

    @Test(arguments: [
        // Bytes of a view that ends with the function.
        """
        @_lifetime(borrow file) func escape(_ file: SafeTensorsFile) -> RawSpan {
            let view = file.tensor(at: 0)
            return view.bytes
        }
        """,
        // The same, typed.
        """
        @_lifetime(borrow file) func escape(_ file: SafeTensorsFile) -> Span<Float>? {
            let view = file.tensor(at: 0)
            return view.elements(as: Float.self)
        }
        """,
        // Bytes of a mapping that ends before they are read.
        """
        func escape(_ path: String) throws -> UInt8 {
            var bytes = RawSpan()
            do {
                let mapping = try MappedFile(path: path)
                bytes = mapping.bytes
            }
            return bytes[0]
        }
        """,
        // Part of a slice that ends with the function.
        """
        @_lifetime(borrow view) func escape(_ view: TensorView) throws -> RawSpan? {
            let slice = try view.slice(.index(0))
            return slice.bytes
        }
        """,
        // Bytes kept in a closure that runs later.
        """
        func escape(_ view: TensorView) -> () -> UInt8 {
            let bytes = view.bytes
            return { bytes[0] }
        }
        """,
        // Bytes stored where nothing keeps the mapping.
        """
        struct Box { var bytes: RawSpan }
        """,
    ])
    func `a view that would outlive its mapping does not compile`(_ body: String) throws {
        let errors = try #require(try diagnostics(body))
        #expect(errors.contains("lifetime") || errors.contains("Escapable") || errors.contains("escape"))
        #expect(!errors.contains("cannot find") && !errors.contains("no such module"))
    }
}
