internal import Conversion
internal import Integrity
internal import StrictJSON
internal import TensorCore

/// A comparison for programs, as `Formats/reports/diff.schema.json` has it.
extension DiffReport {
    var json: JSONValue {
        .object([
            .init("schema", .string("artifact.diff/v1")), .init("first", .string(first)),
            .init("second", .string(second)), .init("verdict", .string(diff.isSame ? "same" : "different")),
            .init("exit_code", .integer(diff.isSame ? 0 : 1)), .init("quick", .bool(isQuick)),
            .init("first_tensor_count", .integer(diff.firstCount)),
            .init("second_tensor_count", .integer(diff.secondCount)),
            .init("same_tensor_count", .integer(diff.sameCount)),
            .init("same_file_count", .integer(diff.sameFileCount)),
            .init("tensors", .array(diff.tensors.map(\.json))),
            .init("files", .array(diff.files.map(\.json))),
        ])
    }
}

extension CheckpointDiff.Tensor {
    fileprivate var json: JSONValue {
        .object([
            .init("name", .string(name.string)), .init("change", .string(change.rawValue)),
            .init("first", first?.json ?? .null), .init("second", second?.json ?? .null),
            .init("within_tolerance", .bool(isTolerated)), .init("values", values?.json ?? .null),
        ])
    }
}

extension CheckpointDiff.Side {
    fileprivate var json: JSONValue {
        .object([
            .init("dtype", .string(dtype.name)), .init("shape", .array(shape.map { .integer($0) })),
            .init("nbytes", .integer(byteCount)),
            .init("sha256", sha256.map { .string($0.hex) } ?? .null),
        ])
    }
}

extension ElementDifference {
    fileprivate var json: JSONValue {
        func number(_ value: Double?) -> JSONValue {
            value.flatMap { $0.isFinite ? .number("\($0)") : nil } ?? .null
        }
        return .object([
            .init("count", .integer(count)), .init("differing", .integer(differing)),
            .init("incomparable", .integer(incomparable)), .init("max_abs", number(maximum)),
            .init("mean_abs", number(mean)), .init("relative", number(relative)),
            .init("nan_first", .integer(nansInFirst)), .init("nan_second", .integer(nansInSecond)),
            .init("inf_first", .integer(infinitiesInFirst)),
            .init("inf_second", .integer(infinitiesInSecond)),
        ])
    }
}

extension SideFileDifference {
    fileprivate var json: JSONValue {
        .object([
            .init("name", .string(name)), .init("change", .string(change.rawValue)),
            .init(
                "values",
                .array(
                    values.map { value in
                        var members = [JSONMember("path", .string(value.path))]
                        if let first = value.first { members.append(.init("first", first)) }
                        if let second = value.second { members.append(.init("second", second)) }
                        return .object(members)
                    })),
        ])
    }
}
