internal import CSystem
internal import Checkpoints
internal import Conversion
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
        case .io(let error): self.init(code: 3, message: error.description)
        case .destination(let text), .options(let text): self.init(code: 2, message: text)
        }
    }
}

extension CheckpointError {
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
