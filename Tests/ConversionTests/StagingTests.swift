import Foundation
import TensorCore
import TestSupport
import Testing

@testable import Conversion

@Suite("Taking the destination's place")
struct StagingTests {
    let directory: TemporaryDirectory
    var target: String { directory.file("out") }

    init() throws { directory = try TemporaryDirectory() }

    private func stage(replacing: Bool = false, sources: [String] = []) throws -> Staging {
        let staging = try Staging(destination: target, replacing: replacing, sources: sources)
        try FileSystem.create(Path.join(staging.path, "new"), contents: [1])
        return staging
    }

    @Test func `a result appears with its commit and not before`() throws {
        let staging = try stage()
        #expect(try FileSystem.kind(of: target) == nil)
        #expect(try staging.commit { false } == nil)
        #expect(try FileSystem.names(in: target) == ["new"])
        #expect(try FileSystem.names(in: directory.path) == ["out"])
    }

    @Test func `an empty directory at the destination is filled`() throws {
        try FileSystem.createDirectory(target)
        #expect(try stage().commit { false } == nil)
        #expect(try FileSystem.names(in: target) == ["new"])
    }

    @Test func `what stands at the destination is refused and untouched`() throws {
        try FileSystem.createDirectory(target)
        try FileSystem.create(target + "/mine", contents: [])
        #expect(throws: ConversionError.self) { try stage() }
        #expect(try FileSystem.names(in: directory.path) == ["out"])
        #expect(try FileSystem.names(in: target) == ["mine"])
    }

    @Test func `a file at the destination is refused even when replacing`() throws {
        try FileSystem.create(target, contents: [7])
        #expect(throws: ConversionError.self) { try stage(replacing: true) }
        #expect(try bytes(of: target) == [7])
    }

    @Test func `a replaced directory with files of someone else is moved aside, not deleted`() throws {
        try FileSystem.createDirectory(target)
        try FileSystem.create(target + "/mine", contents: [])
        let kept = try #require(try stage(replacing: true).commit { false })
        #expect(try FileSystem.names(in: target) == ["new"])
        #expect(try FileSystem.names(in: kept) == ["mine"])
    }

    @Test func `the destination may not hold the source`() throws {
        try FileSystem.createDirectories(target + "/model")
        #expect(throws: ConversionError.self) { try stage(replacing: true, sources: [target + "/model"]) }
        #expect(throws: ConversionError.self) { try stage(replacing: true, sources: [target]) }
    }

    @Test func `a replaced directory that is ours goes`() throws {
        try FileSystem.createDirectory(target)
        try FileSystem.create(target + "/old", contents: [])
        #expect(try stage(replacing: true).commit { true } == nil)
        #expect(try FileSystem.names(in: directory.path) == ["out"])
        #expect(try FileSystem.names(in: target) == ["new"])
    }

    @Test func `what a killed run left behind goes, what a living one holds and what is not ours stays`()
        throws
    {
        let living = try stage()
        for name in [
            ".out.partial-0123abcd", ".out.partial-notours", ".out.partial-89abcdef",
            ".other.partial-01234567",
        ] {
            try FileSystem.createDirectories(directory.file(name + "/content"))
            if name != ".out.partial-89abcdef" {
                try FileSystem.create(directory.file(name + "/.artifact-staging"), contents: [])
            }
        }
        let next = try stage()
        let names = try FileSystem.names(in: directory.path)
        #expect(names.contains(Path.name(of: Path.parent(of: living.path))))
        #expect(names.contains(".other.partial-01234567") && names.contains(".out.partial-notours"))
        #expect(names.contains(".out.partial-89abcdef") && !names.contains(".out.partial-0123abcd"))
        next.discard()
        living.discard()
    }

    @Test func `an empty destination keeps its mode`() throws {
        try FileSystem.createDirectory(target)
        chmod(target, 0o700)
        #expect(try stage().commit { false } == nil)
        let mode = try FileManager.default.attributesOfItem(atPath: target)[.posixPermissions] as? Int
        #expect(mode == 0o700)
    }

    @Test func `a name as long as the file system takes works`() throws {
        let name = String(repeating: "n", count: 255)
        let staging = try Staging(destination: directory.file(name), replacing: false, sources: [])
        #expect(try staging.commit { false } == nil)
        #expect(try FileSystem.names(in: directory.path) == [name])
    }

    @Test func `two runs to one destination do not overwrite each other`() throws {
        let first = try stage()
        let second = try stage()
        #expect(try first.commit { false } == nil)
        #expect(throws: ConversionError.self) { try second.commit { false } }
    }
}
