import Foundation
import Loaders
import TestSupport
import Testing

/// A file or directory with what real loaders did with it, from `Formats/loaders/cases.jsonl`.
struct LoaderCase: Sendable, CustomTestStringConvertible {
    let id: String
    let isDirectory: Bool
    let files: [(name: String, bytes: [UInt8])]
    let verdicts: [String: String]

    var testDescription: String { id }

    static let all: [LoaderCase] = {
        do {
            let text = try String(
                contentsOfFile: Repository.path("Formats/loaders/cases.jsonl"), encoding: .utf8)
            return try text.split(separator: "\n").map {
                try JSONDecoder().decode(Line.self, from: Data($0.utf8))
            }
            .map { line in
                LoaderCase(
                    id: line.case, isDirectory: line.directory,
                    files: line.files.map { ($0.key, [UInt8](Data(base64Encoded: $0.value) ?? Data())) },
                    verdicts: line.verdicts)
            }
        } catch {
            fatalError("cannot read the cases: \(error)")
        }
    }()

    private struct Line: Decodable {
        let `case`: String
        let directory: Bool
        let files: [String: String]
        let verdicts: [String: String]
    }

    /// Writes the case into `directory`; gives the path to ask about.
    func write(in directory: TemporaryDirectory) throws -> String {
        for (name, bytes) in files {
            try FileManager.default.createDirectory(
                atPath: (directory.file(name) as NSString).deletingLastPathComponent,
                withIntermediateDirectories: true)
            try directory.write(name, bytes)
        }
        if !isDirectory { return directory.file("model.safetensors") }
        return files.contains { $0.name.hasPrefix("sub/") } ? directory.file("sub") : directory.path
    }
}

@Suite("Loaders' verdicts")
struct LoaderCaseTests {
    @Test func `there are cases for the loaders that were run`() throws {
        let loaders = Set(LoaderCase.all.flatMap(\.verdicts.keys))
        #expect(LoaderCase.all.count > 90)
        #expect(
            loaders.isSuperset(of: [
                "transformers@4", "transformers@5", "accelerate", "hub", "mlx", "llama.cpp",
            ]))
        #expect(loaders.isSuperset(of: ["safetensors", "safetensors-numpy", "fastsafetensors"]))
    }

    @Test(arguments: LoaderCase.all)
    func `the rules say what the loader did, or that nobody knows`(_ item: LoaderCase) throws {
        let directory = try TemporaryDirectory()
        let catalog = try LoaderCatalog()
        let judge = LoaderJudge(try ModelFiles(path: try item.write(in: directory)), catalog: catalog)
        for (name, verdict) in item.verdicts {
            let profile = try #require(catalog.profiles(named: name).first)
            let report = try judge.report(on: profile)
            #expect(
                report.verdict.rawValue == verdict || report.verdict == .unknown,
                "\(name): \(report.findings.map(\.rule))")
            #expect(report.findings.allSatisfy { !$0.fix.isEmpty && !$0.reason.isEmpty && $0.count > 0 })
        }
    }

    @Test func `unknown is said of few of the cases that were run`() throws {
        let catalog = try LoaderCatalog()
        var unknown: [String] = []
        for item in LoaderCase.all {
            let directory = try TemporaryDirectory()
            let judge = LoaderJudge(try ModelFiles(path: try item.write(in: directory)), catalog: catalog)
            for name in item.verdicts.keys {
                let profile = try #require(catalog.profiles(named: name).first)
                if try judge.report(on: profile).verdict == .unknown { unknown.append("\(item.id) \(name)") }
            }
        }
        #expect(unknown.count <= 10, "\(unknown)")
    }

    @Test func `large headers and indexes meet the limits of those that have one`() throws {
        let directory = try TemporaryDirectory()
        let catalog = try LoaderCatalog()
        func file(_ byteCount: Int) throws -> String {
            var header = Array(#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}"#.utf8)
            header += [UInt8](repeating: 0x20, count: byteCount - header.count)
            let prefix = (0..<8).map { UInt8(truncatingIfNeeded: byteCount >> (8 * $0)) }
            return try directory.write("model.safetensors", prefix + header + [1])
        }
        func verdict(_ path: String, _ loader: String) throws -> LoaderVerdict {
            let profile = try #require(catalog.profiles(named: loader).first)
            return try LoaderJudge(try ModelFiles(path: path), catalog: catalog).report(on: profile).verdict
        }
        let six = try file(6_000_000)
        #expect(try verdict(six, "llama.cpp") == .loads)
        #expect(try verdict(six, "llama.cpp-remote") == .refuses)
        #expect(try verdict(six, "hub-metadata") == .loads)
        #expect(try verdict(try file(25_000_000), "hub-metadata") == .loads)
        #expect(try verdict(try file(25_000_001), "hub-metadata") == .refuses)
        let most = try file(100_000_000)
        #expect(try verdict(most, "mlx") == .refuses)
        #expect(try verdict(most, "safetensors") == .loads)
        let padding = String(repeating: "x", count: 10 << 20)
        try directory.write("model.safetensors", [UInt8](repeating: 0x20, count: 0))
        _ = try file(64)
        try directory.write(
            "model.safetensors.index.json",
            #"{"metadata":{"x":"\#(padding)"},"weight_map":{"a":"model.safetensors"}}"#)
        #expect(try verdict(directory.path, "hub") == .refuses)
        #expect(try verdict(directory.path, "accelerate") == .loads)
    }
}
