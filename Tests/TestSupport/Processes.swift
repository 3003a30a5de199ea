import Foundation

/// What a process printed and how it ended.
public struct ProcessResult: Sendable {
    /// The exit code, or minus the signal that ended it.
    public let exitCode: Int32
    /// What it wrote to standard output.
    public let output: String
    /// What it wrote to standard error.
    public let errors: String

    /// The output as a JSON object.
    public func json() throws -> [String: Any] {
        let value = try JSONSerialization.jsonObject(with: Data(output.utf8))
        return value as? [String: Any] ?? [:]
    }
}

/// Runs a program to its end.
public func run(
    _ program: String, _ arguments: [String], environment: [String: String] = [:], directory: String? = nil
) throws -> ProcessResult {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: program)
    process.arguments = arguments
    process.environment = ProcessInfo.processInfo.environment.merging(environment) { _, new in new }
    if let directory { process.currentDirectoryURL = URL(fileURLWithPath: directory) }
    let scratch = try TemporaryDirectory()
    for name in ["out", "err"] {
        _ = FileManager.default.createFile(atPath: scratch.file(name), contents: nil)
    }
    process.standardOutput = FileHandle(forWritingAtPath: scratch.file("out"))
    process.standardError = FileHandle(forWritingAtPath: scratch.file("err"))
    process.standardInput = FileHandle.nullDevice
    try process.run()
    process.waitUntilExit()
    let code = process.terminationReason == .exit ? process.terminationStatus : -process.terminationStatus
    return ProcessResult(
        exitCode: code, output: String(decoding: try bytes(of: scratch.file("out")), as: UTF8.self),
        errors: String(decoding: try bytes(of: scratch.file("err")), as: UTF8.self))
}

/// Runs the `artifact` command.
public func artifact(_ arguments: String..., environment: [String: String] = [:]) throws -> ProcessResult {
    try run(Repository.command, arguments, environment: environment)
}

/// Runs the `artifact` command with a list of arguments.
public func artifact(_ arguments: [String], environment: [String: String] = [:]) throws -> ProcessResult {
    try run(Repository.command, arguments, environment: environment)
}

/// The Python programs in Tests/Oracle that judge our output.
public enum Oracle {
    /// The Python that `make test` prepared with the oracles' packages.
    public static let python: String? = ProcessInfo.processInfo.environment["ARTIFACT_TEST_PYTHON"]

    /// Whether the oracles can run; always so under `make test`.
    public static var isAvailable: Bool { python != nil }

    /// Runs a script of Tests/Oracle; fails where it does.
    @discardableResult
    public static func run(_ script: String, _ arguments: String...) throws -> ProcessResult {
        guard let python else { throw OracleError(text: "no Python for the oracles: run make test") }
        let result = try TestSupport.run(python, [Repository.path("Tests/Oracle/" + script)] + arguments)
        if result.exitCode != 0 { throw OracleError(text: "\(script): \(result.errors)\(result.output)") }
        return result
    }
}

struct OracleError: Error, CustomStringConvertible {
    let text: String
    var description: String { text }
}
