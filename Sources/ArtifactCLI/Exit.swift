internal import CSystem
internal import Checkpoints
internal import Conversion
internal import StrictJSON
internal import TensorCore

/// The end of a command that did not succeed: the code that the process ends with and a line for people.
struct Exit: Error {
    let code: Int32
    let message: String?

    init(code: Int32, message: String? = nil) {
        self.code = code
        self.message = message
    }

    /// 1 for bad input, 2 for wrong options, 3 for what could not be done, 128 + signal when interrupted.
    init(_ error: ConversionError) {
        switch error {
        case .source(let error): self.init(code: error.exitCode, message: error.description)
        case .io(let error) where error.code == .cancelled:
            let signal = csystem_interrupted()
            self.init(code: 128 + signal, message: "interrupted; the destination is as it was")
        case .stopped(let cause, _, _):
            let isInterrupt = cause.code == .cancelled
            self.init(code: isInterrupt ? 128 + csystem_interrupted() : 3, message: error.description)
        case .io(let error): self.init(code: 3, message: error.description)
        case .destination(let text), .options(let text): self.init(code: 2, message: text)
        }
    }
}

extension ConversionError {
    /// The error for programs, as `Formats/reports/error.schema.json` has it.
    var json: JSONValue {
        let members: [JSONMember]
        switch self {
        case .source(let error): members = error.jsonMembers
        case .io(let error), .stopped(let error, _, _):
            members = [
                .init("class", .string("io")), .init("code", .string(error.code.rawValue)),
                .init("message", .string(error.description)), .init("file", .string(error.path)),
                .init("offset", error.offset.map { .integer($0) } ?? .null),
            ]
        case .destination(let text): members = Self.usage("destination", text)
        case .options(let text): members = Self.usage("options", text)
        }
        return .object([.init("schema", .string("artifact.error/v1")), .init("error", .object(members))])
    }

    private static func usage(_ code: String, _ message: String) -> [JSONMember] {
        [
            .init("class", .string("usage")), .init("code", .string(code)),
            .init("message", .string(message)),
            .init("file", .null), .init("offset", .null),
        ]
    }
}

extension CheckpointError {
    /// The members of an `error` object.
    var jsonMembers: [JSONMember] {
        var members: [JSONMember] = [
            .init("class", .string(self.class.rawValue)), .init("code", .string(code)),
            .init("message", .string(message)), .init("file", .string(file)),
            .init("offset", offset.map { .integer($0) } ?? .null),
        ]
        if let member { members.append(.init("member", .string(member))) }
        if let tensor { members.append(.init("tensor", .string(tensor.string))) }
        if let global { members.append(.init("global", .string(global))) }
        if let reference { members.append(.init("reference", .string(reference))) }
        return members
    }

    /// The exit code of a command that met this error.
    var exitCode: Int32 {
        switch self.class {
        case .unsafe, .malformed: 1
        case .unsupported, .io: 3
        }
    }
}

/// True once the user asked to stop.
let isInterrupted: @Sendable () -> Bool = { csystem_interrupted() != 0 }
