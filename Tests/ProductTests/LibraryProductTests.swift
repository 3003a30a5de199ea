import Foundation
import TestSupport
import Testing

/// The library as another program meets it: a package outside that depends on the product `SafeTensors` alone.
@Suite("SafeTensors as a product", .timeLimit(.minutes(10)))
struct LibraryProductTests {
    /// A program of three lines.
    private static let program = """
        import SafeTensors
        let file = try SafeTensorsFile(mapping: CommandLine.arguments[1])
        for tensor in file.header { print(tensor.name, tensor.dtype.name, tensor.shape) }
        """

    @Test
    func `a package of three lines opens a file, links no Foundation, and the snippets of the docs compile`()
        throws
    {
        let snippets = try Snippet.all()
        #expect(snippets.count >= 12)
        let package = try TemporaryDirectory()
        try write(package, snippets)
        let result = try run(
            "/usr/bin/env",
            ["swift", "build", "--package-path", package.path, "--scratch-path", package.file("b")])
        #expect(result.exitCode == 0, "\(result.output)\n\(result.errors)")
        guard result.exitCode == 0 else { return }

        let opened = try run(
            package.file("b/debug/program"),
            [Repository.path("SampleModels/tiny-llama-lora/adapter_model.safetensors")])
        #expect(opened.exitCode == 0 && opened.output.contains("q_proj.lora_A.weight F32 [8, 64]"))
        let libraries = try run("/usr/bin/env", ["ldd", package.file("b/debug/program")])
        #expect(libraries.exitCode == 0 && libraries.output.contains("libswiftCore"))
        #expect(!libraries.output.contains("Foundation") && !libraries.output.contains("libcrypto"))
    }

    private func write(_ package: TemporaryDirectory, _ snippets: [Snippet]) throws {
        for folder in ["Sources/program", "Sources/snippets"] {
            try FileManager.default.createDirectory(
                atPath: package.file(folder), withIntermediateDirectories: true)
        }
        let dependency = #"dependencies: [.product(name: "SafeTensors", package: "artifact")]"#
        try package.write(
            "Package.swift",
            """
            // swift-tools-version: 6.2
            import PackageDescription
            let package = Package(
                name: "outside",
                dependencies: [.package(name: "artifact", path: "\(Repository.root)")],
                targets: [
                    .executableTarget(name: "program", \(dependency)),
                    .target(name: "snippets", \(dependency)),
                ])
            """)
        try package.write("Sources/program/main.swift", Self.program)
        for (number, snippet) in snippets.enumerated() {
            let body = snippet.lines.filter { $0 != "import SafeTensors" }.joined(separator: "\n")
            try package.write(
                "Sources/snippets/Snippet\(number).swift",
                "import SafeTensors\n\nfunc snippet\(number)() throws {\n"
                    + "#sourceLocation(file: \"\(snippet.file)\", line: \(snippet.line))\n\(body)\n"
                    + "#sourceLocation()\n}\n")
        }
        try mirrorDependencies(of: package)
    }

    /// Lets SwiftPM take the packages that this build has, so that the test needs no network.
    private func mirrorDependencies(of package: TemporaryDirectory) throws {
        // The command stands in SCRATCH/TRIPLE/debug.
        let scratch = URL(fileURLWithPath: Repository.command).resolvingSymlinksInPath()
            .deletingLastPathComponent()
            .deletingLastPathComponent().deletingLastPathComponent()
        let clones = scratch.appending(path: "repositories").path
        let names = (try? FileManager.default.contentsOfDirectory(atPath: clones)) ?? []
        guard let clone = names.first(where: { $0.hasPrefix("swift-argument-parser") }) else { return }
        let folder = package.file(".swiftpm/configuration")
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        try package.write(
            ".swiftpm/configuration/mirrors.json",
            """
            {"version": 1, "object": [{"original": "https://github.com/apple/swift-argument-parser",
              "mirror": "file://\(clones)/\(clone)"}]}
            """)
    }
}

/// A piece of Swift in the documentation, which must compile as the body of a throwing function.
struct Snippet {
    let file: String
    let line: Int
    let lines: [String]

    /// The blocks marked `swift` in the articles of the catalog.
    static func all() throws -> [Snippet] {
        let catalog = Repository.path("Sources/SafeTensors/SafeTensors.docc")
        return try FileManager.default.contentsOfDirectory(atPath: catalog).filter { $0.hasSuffix(".md") }
            .sorted()
            .flatMap { try blocks(in: catalog + "/" + $0) }
    }

    private static func blocks(in path: String) throws -> [Snippet] {
        let text = try String(contentsOfFile: path, encoding: .utf8)
        var result: [Snippet] = []
        var open: (line: Int, lines: [String])?
        for (number, line) in text.components(separatedBy: "\n").enumerated() {
            if let block = open {
                if line == "```" {
                    result.append(Snippet(file: path, line: block.line, lines: block.lines))
                    open = nil
                } else {
                    open?.lines.append(line)
                }
            } else if line == "```swift" {
                open = (number + 2, [])
            }
        }
        return result
    }
}
