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
        #expect(try staging.commit() == nil)
        #expect(try FileSystem.names(in: target) == ["new"])
        #expect(try FileSystem.names(in: directory.path) == ["out"])
    }

    @Test func `an empty directory at the destination is filled`() throws {
        try FileSystem.createDirectory(target)
        #expect(try stage().commit() == nil)
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
        let kept = try #require(try stage(replacing: true).commit())
        #expect(try FileSystem.names(in: target) == ["new"])
        #expect(try FileSystem.names(in: kept) == ["mine"])
    }

    @Test func `the destination may not hold the source`() throws {
        try FileSystem.createDirectories(target + "/model")
        #expect(throws: ConversionError.self) { try stage(replacing: true, sources: [target + "/model"]) }
        #expect(throws: ConversionError.self) { try stage(replacing: true, sources: [target]) }
    }

    @Test func `what a killed run left behind goes, what a living one holds stays`() throws {
        let living = try stage()
        try FileSystem.createDirectory(directory.file(".out.partial-dead"))
        try FileSystem.createDirectory(directory.file(".other.partial-x"))
        let next = try stage()
        let names = try FileSystem.names(in: directory.path)
        #expect(names.contains(Path.name(of: living.path)) && names.contains(".other.partial-x"))
        #expect(!names.contains(".out.partial-dead"))
        next.discard()
        living.discard()
    }

    @Test func `two runs to one destination do not overwrite each other`() throws {
        let first = try stage()
        let second = try stage()
        #expect(try first.commit() == nil)
        #expect(throws: ConversionError.self) { try second.commit() }
    }
}
