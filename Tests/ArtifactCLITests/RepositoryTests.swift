import Foundation
import TestSupport
import Testing

@Suite("The repository")
struct RepositoryTests {
    /// The Swift files of a target with the modules that each imports.
    private func imports(of target: String) throws -> [(file: String, modules: [String])] {
        let folder = Repository.path("Sources/" + target)
        let files = try #require(FileManager.default.enumerator(atPath: folder))
        return try files.compactMap { $0 as? String }.filter { $0.hasSuffix(".swift") }.map { file in
            let text = String(decoding: try bytes(of: folder + "/" + file), as: UTF8.self)
            let modules = text.split(separator: "\n").compactMap { line -> String? in
                let words = line.split(separator: " ")
                guard let place = words.firstIndex(of: "import"), place <= 1, words.count == place + 2 else {
                    return nil
                }
                return String(words[place + 1])
            }
            return (file, modules)
        }
    }

    @Test func `a target imports only targets that stand above it`() throws {
        let order = [
            "CSystem", "CKernels", "CDigest", "COpenSSL", "CZlib", "CZstd", "TensorCore", "StrictJSON",
            "SafeTensors", "Loaders", "Integrity", "Archives", "Checkpoints", "Architectures",
            "CheckpointFormats", "Conversion", "Pipelines", "ArtifactCLI",
        ]
        let outside = ["Glibc", "ArgumentParser", "Synchronization"]
        for (place, target) in order.enumerated()
        where !target.hasPrefix("C") || target.hasPrefix("Ch") || target == "Conversion" {
            for (file, modules) in try imports(of: target) {
                for module in modules where !outside.contains(module) {
                    #expect(order[..<place].contains(module), "\(target)/\(file) imports \(module)")
                }
            }
        }
    }

    @Test(arguments: ["TensorCore", "StrictJSON", "SafeTensors"])
    func `the library for other programs needs nothing but the standard library and Glibc`(target: String)
        throws
    {
        let files = try imports(of: target)
        #expect(!files.isEmpty)
        let allowed = ["Glibc", "CSystem", "CKernels", "TensorCore", "StrictJSON"]
        for (file, modules) in files {
            #expect(modules.allSatisfy { allowed.contains($0) }, "\(target)/\(file): \(modules)")
        }
    }

    @Test func `the README lists the formats as the command does`() throws {
        let table = try artifact("formats", "--markdown").output
        let readme = String(decoding: try bytes(of: Repository.path("README.md")), as: UTF8.self)
        #expect(
            readme.contains(table.trimmingCharacters(in: .newlines)),
            "run: scripts/readme .build/debug/artifact")
    }

    @Test(.enabled(if: Oracle.isAvailable))
    func `the manual page is what the command's own help says`() throws {
        let python = try #require(Oracle.python)
        let result = try run(python, [Repository.path("scripts/man"), Repository.command])
        #expect(result.exitCode == 0, "\(result.errors)")
        let page = String(decoding: try bytes(of: Repository.path("docs/artifact.1")), as: UTF8.self)
        #expect(result.output == page, "run: scripts/man .build/debug/artifact > docs/artifact.1")
    }

    @Test func `no command of the help lacks a description`() throws {
        for command in [
            [], ["export"], ["reshard"], ["cast"], ["cat"], ["run"], ["inspect"], ["verify"], ["check"],
        ] {
            let help = try run(Repository.command, command + ["--help"])
            #expect(help.exitCode == 0 && help.output.contains("USAGE"))
        }
        #expect(try artifact("--version").output == "0.1.0\n")
        #expect(try artifact("--generate-completion-script", "bash").output.contains("artifact"))
    }
}
